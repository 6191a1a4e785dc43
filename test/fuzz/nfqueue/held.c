/*
 * Fuzzes the table of held packets (src/nfqueue/native/src/held.c) against a plain one. The input is a list of steps of
 * three bytes: what to do, and an id near to a start that lies before the point where ids wrap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../src/nfqueue/native/src/held.h"

enum { IDS = 4096 };

static const uint32_t start = 0xfffff800u; /* half of the ids lie behind the wrap */

static void require(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

struct model {
  uint8_t held[IDS];
  uint32_t lengths[IDS];
};

static uint32_t count_up_to(const struct model *model, uint32_t last) {
  uint32_t count = 0;
  for (uint32_t i = 0; i <= last; i++) count += model->held[i];
  return count;
}

static void check_ids(const struct held *held, const struct model *model) {
  uint32_t *ids = malloc((held->count + 1) * sizeof *ids);
  require(held_ids(held, ids, held->count + 1) == held->count, "as many ids as are counted");
  uint32_t n = 0;
  for (uint32_t i = 0; i < IDS; i++) {
    if (model->held[i]) require(ids[n++] == start + i, "ids come oldest first");
  }
  require(n == held->count, "the count is right");
  free(ids);
}

static void step(struct held *held, struct model *model, uint8_t what, uint32_t i) {
  uint32_t id = start + i, length = 0;
  switch (what % 6) {
    case 0:
    case 1:
      require(held_add(held, id, i * 3u + what) == 0, "there is memory");
      model->held[i] = 1;
      model->lengths[i] = i * 3u + what;
      break;
    case 2:
      require(held_remove(held, id, &length) == model->held[i], "what is held can be removed");
      require(!model->held[i] || length == model->lengths[i], "with its length");
      model->held[i] = 0;
      break;
    case 3:
      require(held_remove_up_to(held, id) == count_up_to(model, i), "all that is older goes");
      memset(model->held, 0, i + 1);
      break;
    case 4:
      require(held_count_up_to(held, id) == count_up_to(model, i), "older ones are counted");
      break;
    default:
      require(held_has(held, id) == model->held[i], "it is known whether an id is held");
      require(held_length(held, id) == (model->held[i] ? model->lengths[i] : 0), "and how long the packet is");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct model model;
  struct held held = {0};
  memset(&model, 0, sizeof model);
  for (; size >= 3; data += 3, size -= 3) step(&held, &model, data[0], (uint32_t)(data[1] << 8 | data[2]) % IDS);
  check_ids(&held, &model);
  held_free(&held);
  return 0;
}
