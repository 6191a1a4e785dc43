#include "held.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BITS = 6, BLOCK_IDS = 1 << BLOCK_BITS };

struct held_block {
  uint32_t start; /* its first id */
  uint64_t bits;
  uint32_t lengths[BLOCK_IDS];
};

static uint32_t start_of(uint32_t id) { return id & ~(uint32_t)(BLOCK_IDS - 1); }

static uint64_t bit_of(uint32_t id) { return (uint64_t)1 << (id & (BLOCK_IDS - 1)); }

/* Ids wrap: the difference says which is the later one, as the kernel's own nfq_cmp does. */
static int is_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

static struct held_block *block_at(const struct held *held, size_t i) { return held->blocks[held->first + i]; }

/* Index of the first block that does not start before `start`. */
static size_t lower_bound(const struct held *held, uint32_t start) {
  if (held->used == 0 || is_before(block_at(held, held->used - 1)->start, start)) return held->used;
  size_t low = 0, high = held->used - 1;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (is_before(block_at(held, middle)->start, start)) low = middle + 1;
    else high = middle;
  }
  return low;
}

static struct held_block *find(const struct held *held, uint32_t id, size_t *index) {
  *index = lower_bound(held, start_of(id));
  if (*index == held->used) return NULL;
  struct held_block *block = block_at(held, *index);
  return block->start == start_of(id) ? block : NULL;
}

/* Makes room for one more pointer behind the last. */
static int reserve(struct held *held) {
  if (held->first + held->used < held->capacity) return 0;
  if (held->first > held->used) {
    memmove(held->blocks, held->blocks + held->first, held->used * sizeof *held->blocks);
    held->first = 0;
    return 0;
  }
  size_t capacity = held->capacity ? held->capacity * 2 : 16;
  struct held_block **blocks = realloc(held->blocks, capacity * sizeof *blocks);
  if (!blocks) return -1;
  held->blocks = blocks;
  held->capacity = capacity;
  return 0;
}

static struct held_block *insert(struct held *held, size_t index, uint32_t start) {
  if (reserve(held) < 0) return NULL;
  struct held_block *block = held->spare ? held->spare : malloc(sizeof *block);
  if (!block) return NULL;
  held->spare = NULL;
  block->start = start;
  block->bits = 0;
  struct held_block **at = held->blocks + held->first + index;
  memmove(at + 1, at, (held->used - index) * sizeof *at);
  *at = block;
  held->used++;
  return block;
}

static void retire(struct held *held, struct held_block *block) {
  if (held->spare) free(block);
  else held->spare = block;
}

static void erase(struct held *held, size_t index) {
  struct held_block **at = held->blocks + held->first + index;
  retire(held, *at);
  held->used--;
  if (index == 0) held->first = held->used ? held->first + 1 : 0;
  else memmove(at, at + 1, (held->used - index) * sizeof *at);
}

void held_free(struct held *held) {
  for (size_t i = 0; i < held->used; i++) free(block_at(held, i));
  free(held->spare);
  free(held->blocks);
  memset(held, 0, sizeof *held);
}

int held_add(struct held *held, uint32_t id, uint32_t length) {
  size_t index;
  struct held_block *block = find(held, id, &index);
  if (!block) block = insert(held, index, start_of(id));
  if (!block) return -1;
  block->lengths[id - block->start] = length;
  if (block->bits & bit_of(id)) return 0;
  block->bits |= bit_of(id);
  held->count++;
  return 0;
}

int held_has(const struct held *held, uint32_t id) {
  size_t index;
  const struct held_block *block = find(held, id, &index);
  return block && block->bits & bit_of(id) ? 1 : 0;
}

int held_remove(struct held *held, uint32_t id, uint32_t *length) {
  size_t index;
  struct held_block *block = find(held, id, &index);
  if (!block || !(block->bits & bit_of(id))) return 0;
  *length = block->lengths[id - block->start];
  block->bits &= ~bit_of(id);
  held->count--;
  if (!block->bits) erase(held, index);
  return 1;
}

/* The bits of a block whose ids are not after `id`. */
static uint64_t bits_up_to(const struct held_block *block, uint32_t id) {
  if (is_before(id, block->start)) return 0;
  if (id - block->start >= BLOCK_IDS - 1) return block->bits;
  return block->bits & ((bit_of(id) << 1) - 1);
}

uint32_t held_count_up_to(const struct held *held, uint32_t id) {
  uint32_t count = 0;
  for (size_t i = 0; i < held->used; i++) {
    uint64_t bits = bits_up_to(block_at(held, i), id);
    if (!bits) break;
    count += (uint32_t)__builtin_popcountll(bits);
  }
  return count;
}

uint32_t held_remove_up_to(struct held *held, uint32_t id) {
  uint32_t count = 0;
  while (held->used) {
    struct held_block *block = block_at(held, 0);
    uint64_t bits = bits_up_to(block, id);
    if (!bits) break;
    count += (uint32_t)__builtin_popcountll(bits);
    block->bits &= ~bits;
    if (block->bits) break;
    erase(held, 0);
  }
  held->count -= count;
  return count;
}

uint32_t held_length(const struct held *held, uint32_t id) {
  size_t index;
  const struct held_block *block = find(held, id, &index);
  return block && block->bits & bit_of(id) ? block->lengths[id - block->start] : 0;
}

uint32_t held_ids(const struct held *held, uint32_t *ids, uint32_t capacity) {
  uint32_t count = 0;
  for (size_t i = 0; i < held->used; i++) {
    const struct held_block *block = block_at(held, i);
    for (uint64_t bits = block->bits; bits && count < capacity; bits &= bits - 1) {
      ids[count++] = block->start + (uint32_t)__builtin_ctzll(bits);
    }
  }
  return count;
}
