/* What bursts are read into. A burst is done with before the next one is read, so queues that read alike share it. */
#ifndef NFQUEUE_MEMORY_H
#define NFQUEUE_MEMORY_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct nfq_memory {
  napi_env env;
  uint32_t slots;     /* datagrams a read */
  uint32_t slot_size; /* bytes */
  struct mmsghdr *headers; /* for recvmmsg(2), one per slot */
  struct iovec *parts;
  napi_ref buffer;
  unsigned users;
  struct nfq_memory *next; /* of the same environment */
};

/* Once per environment, before anything is shared in it. */
bool nfq_memory_init(napi_env env);

/* The environment's memory of this shape. NULL if there is none left. */
struct nfq_memory *nfq_memory_share(napi_env env, uint32_t slots, uint32_t slot_size);

/* The last one frees it. */
void nfq_memory_leave(struct nfq_memory *memory);

/* The receive buffer, and as JavaScript's value; made when it is wanted first. NULL if there is no memory for it. */
uint8_t *nfq_memory_buffer(struct nfq_memory *memory, napi_value *value);

#endif
