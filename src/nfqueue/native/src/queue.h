/* One open queue inside a Node environment: its descriptor in the environment's own loop, its buffers, its life. */
#ifndef NFQUEUE_QUEUE_H
#define NFQUEUE_QUEUE_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "held.h"
#include "memory.h"
#include "parse.h"
#include "socket.h"

/* How packets are read. */
struct nfq_reading {
  uint32_t slots;       /* datagrams a read */
  uint32_t slot_size;   /* bytes */
  uint32_t coalesce_us; /* under a flood: time between two reads; 0: packets are read as they come */
};

struct nfq_queue {
  napi_env env;
  uv_poll_t poll; /* of the socket */
  uv_poll_t tick; /* of `timer` */
  int timer;      /* timerfd, armed under a flood only */
  uint32_t coalesce_us;
  uint64_t window_start; /* ns; since when `window_packets` are counted */
  uint32_t window_packets;
  uint64_t last_packets; /* ns; when packets were read last */
  bool started;
  bool failed; /* nothing more can be read */
  struct nfq_socket socket;
  struct held held;
  struct nfq_memory *memory; /* until it is closed */
  struct nfq_record *records; /* memory of a typed array that `records_ref` keeps */
  struct nfq_reply *replies;
  napi_ref self;
  napi_ref dispatch;
  napi_ref records_ref;
  napi_ref replies_ref;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  unsigned handles; /* of the loop, that are not closed yet */
  unsigned owners; /* the loop's handles and the JavaScript object: the last one frees */
  bool closed;
};

/*
 * Takes over an open socket. `self` becomes the JavaScript object of the queue; `dispatch` is called with (packets,
 * replies, flags, malformed, errno, buffer) for each burst. Both typed arrays hold one row per slot. NULL with a pending
 * exception if that fails; the socket is closed then.
 */
struct nfq_queue *nfq_queue_create(napi_env env, const struct nfq_socket *socket, const struct nfq_reading *reading,
                                   napi_value self, napi_value dispatch, napi_value records, napi_value replies);

/* Whether the loop lives as long as the queue is read. */
void nfq_queue_ref(struct nfq_queue *queue, bool on);

/* Closes the socket now and the loop's handles with the next turn. Again: does nothing. */
void nfq_queue_close(struct nfq_queue *queue);

#endif
