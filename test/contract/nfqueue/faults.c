/*
 * Faults on purpose, to see that asan.sh and valgrind.sh find what they are there to find. Linked into a copy of the addon
 * in place of held_free (-Wl,--wrap=held_free), so that each queue that is closed commits the one that NFQUEUE_FAULT names, or all.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../../src/nfqueue/native/src/held.h"

void __real_held_free(struct held *held);
void __wrap_held_free(struct held *held);

static volatile int sink;
static void *volatile lost;

static void fault_read(void) {
  uint8_t *block = malloc(8), *volatile beyond = block + 8;
  sink = *beyond;
  free(block);
}

static void fault_leak(void) {
  for (int i = 0; i < 8; i++) lost = malloc(77);
  lost = NULL;
}

static void fault_undefined(void) {
  volatile int most = INT_MAX;
  sink = most + 1;
}

static void fault_uninitialised(void) {
  volatile int *block = malloc(sizeof *block);
  if (*block == 7) sink++;
  free((void *)block);
}

static int is_asked_for(const char *fault) {
  const char *wanted = getenv("NFQUEUE_FAULT");
  return wanted && (strcmp(wanted, fault) == 0 || strcmp(wanted, "all") == 0);
}

void __wrap_held_free(struct held *held) {
  if (is_asked_for("read")) fault_read();
  if (is_asked_for("leak")) fault_leak();
  if (is_asked_for("undefined")) fault_undefined();
  if (is_asked_for("uninitialised")) fault_uninitialised();
  __real_held_free(held);
}
