/* Reading a queue in the event loop, burst by burst. */
#ifndef NFQUEUE_READER_H
#define NFQUEUE_READER_H

#include "queue.h"

/* Flags of a call of `dispatch`. */
enum { NFQ_OVERFLOW = 1, NFQ_FAILED = 2 };

/* Begins to read. Until then packets wait in the kernel, and the loop does not know of the queue. */
void nfq_reader_start(struct nfq_queue *queue);

/* When a request is sent: after so long without a packet, or at the latest. Microseconds. */
struct nfq_pause {
  uint32_t quiet_us;
  uint32_t within_us;
};

/*
 * Sends a request to netfilter at a moment when nothing is in the queue, as far as that can be: reads before it, until
 * there is a pause, and right after it, calling `dispatch` as the loop would. 0, or -1 with `failure` filled in.
 */
int nfq_reader_request(struct nfq_queue *queue, struct nfq_request *request, const struct nfq_pause *pause, struct nfq_failure *failure);

#endif
