#include "memory.h"

#include <stdlib.h>

static void finalize(napi_env env, void *first, void *hint) {
  (void)env;
  (void)hint;
  free(first);
}

bool nfq_memory_init(napi_env env) {
  struct nfq_memory **first = calloc(1, sizeof *first);
  if (!first) return false;
  if (napi_set_instance_data(env, first, finalize, NULL) == napi_ok) return true;
  free(first);
  return false;
}

static struct nfq_memory **first_of(napi_env env) {
  void *first = NULL;
  napi_get_instance_data(env, &first);
  return first;
}

static void dispose(struct nfq_memory *memory) {
  if (memory->buffer) napi_delete_reference(memory->env, memory->buffer);
  free(memory->headers);
  free(memory->parts);
  free(memory);
}

struct nfq_memory *nfq_memory_share(napi_env env, uint32_t slots, uint32_t slot_size) {
  struct nfq_memory **first = first_of(env);
  for (struct nfq_memory *each = *first; each; each = each->next) {
    if (each->slots != slots || each->slot_size != slot_size) continue;
    each->users++;
    return each;
  }
  struct nfq_memory *memory = calloc(1, sizeof *memory);
  if (!memory) return NULL;
  *memory = (struct nfq_memory){.env = env, .slots = slots, .slot_size = slot_size, .users = 1, .next = *first,
                                .headers = calloc(slots, sizeof *memory->headers), .parts = calloc(slots, sizeof *memory->parts)};
  if (!memory->headers || !memory->parts) {
    dispose(memory);
    return NULL;
  }
  return *first = memory;
}

void nfq_memory_leave(struct nfq_memory *memory) {
  if (--memory->users > 0) return;
  for (struct nfq_memory **at = first_of(memory->env); *at; at = &(*at)->next) {
    if (*at != memory) continue;
    *at = memory->next;
    break;
  }
  dispose(memory);
}

/*
 * The buffer is JavaScript's, and a listener may have transferred it away (postMessage with a transfer list): then there is
 * a new one from now on.
 */
uint8_t *nfq_memory_buffer(struct nfq_memory *memory, napi_value *value) {
  void *data = NULL;
  size_t length = 0, wanted = (size_t)memory->slots * memory->slot_size;
  if (memory->buffer) {
    if (napi_get_reference_value(memory->env, memory->buffer, value) != napi_ok) return NULL;
    napi_get_arraybuffer_info(memory->env, *value, &data, &length);
    if (length == wanted) return data;
    napi_delete_reference(memory->env, memory->buffer);
    memory->buffer = NULL;
  }
  if (napi_create_arraybuffer(memory->env, wanted, &data, value) != napi_ok) return NULL;
  if (napi_create_reference(memory->env, *value, 1, &memory->buffer) != napi_ok) return NULL;
  for (uint32_t i = 0; i < memory->slots; i++) {
    memory->parts[i] = (struct iovec){.iov_base = (uint8_t *)data + (size_t)i * memory->slot_size, .iov_len = memory->slot_size};
    memory->headers[i].msg_hdr = (struct msghdr){.msg_iov = &memory->parts[i], .msg_iovlen = 1};
  }
  return data;
}
