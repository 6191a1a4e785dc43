/*
 * Which packets are held: the ids that the kernel gave us and that have had no verdict yet, with each packet's length.
 * Ids come in ascending order modulo 2^32 and mostly go in that order, so they lie in blocks of 64 (a bit each) in a
 * sorted list; memory follows what is held, not how long the oldest has been held.
 */
#ifndef NFQUEUE_HELD_H
#define NFQUEUE_HELD_H

#include <stddef.h>
#include <stdint.h>

struct held_block;

struct held {
  struct held_block **blocks; /* blocks[first..first+used), ascending */
  size_t first;
  size_t used;
  size_t capacity;
  struct held_block *spare; /* one emptied block, so that accept-at-once allocates nothing */
  uint32_t count;
};

/* An empty table needs no initialisation but zeroes. */
void held_free(struct held *held);

/* 0, or -1 if memory ran out. An id that is there already only gets the new length. */
int held_add(struct held *held, uint32_t id, uint32_t length);

int held_has(const struct held *held, uint32_t id);

/* 1 and the length if the id was held, else 0. */
int held_remove(struct held *held, uint32_t id, uint32_t *length);

/* Number of held ids that are not after `id`. */
uint32_t held_count_up_to(const struct held *held, uint32_t id);

/* Removes them; returns how many. */
uint32_t held_remove_up_to(struct held *held, uint32_t id);

/* Length of a held packet, 0 if it is not held. */
uint32_t held_length(const struct held *held, uint32_t id);

/* Writes up to `capacity` held ids, oldest first; returns how many. */
uint32_t held_ids(const struct held *held, uint32_t *ids, uint32_t capacity);

#endif
