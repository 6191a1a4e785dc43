/* One open queue inside a Node environment: its descriptor in the environment's own loop, its buffers, its life. */
#ifndef NFQUEUE_QUEUE_H
#define NFQUEUE_QUEUE_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "held.h"
#include "parse.h"
#include "socket.h"

struct nfq_queue {
  napi_env env;
  uv_poll_t poll;
  struct nfq_socket socket;
  struct held held;
  struct mmsghdr *headers;
  struct iovec *parts;
  struct nfq_record *records; /* memory of a typed array that `records_ref` keeps */
  struct nfq_reply *replies;
  uint32_t slots;     /* datagrams a read */
  uint32_t slot_size; /* bytes */
  napi_ref self;
  napi_ref dispatch;
  napi_ref buffer;
  napi_ref records_ref;
  napi_ref replies_ref;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  unsigned owners; /* the loop's handle and the JavaScript object: the last one frees */
  bool closed;
};

/* Flags of a call of `dispatch`. */
enum { NFQ_OVERFLOW = 1, NFQ_FAILED = 2 };

/*
 * Takes over an open socket. `self` becomes the JavaScript object of the queue; `dispatch` is called with (packets,
 * replies, flags, malformed, errno, buffer) for each burst. Both typed arrays hold one row per slot. NULL with a pending
 * exception if that fails; the socket is closed then.
 */
struct nfq_queue *nfq_queue_create(napi_env env, const struct nfq_socket *socket, uint32_t slots, uint32_t slot_size,
                                   napi_value self, napi_value dispatch, napi_value records, napi_value replies);

/* Begins to read. Until then packets wait in the kernel, and the loop does not know of the queue. */
void nfq_queue_start(struct nfq_queue *queue);

/* Closes the socket now and the loop's handle with the next turn. Again: does nothing. */
void nfq_queue_close(struct nfq_queue *queue);

#endif
