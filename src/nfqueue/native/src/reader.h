/* Reading a queue in the event loop, burst by burst. */
#ifndef NFQUEUE_READER_H
#define NFQUEUE_READER_H

#include "queue.h"

/* Flags of a call of `dispatch`. */
enum { NFQ_OVERFLOW = 1, NFQ_FAILED = 2 };

/* Begins to read. Until then packets wait in the kernel, and the loop does not know of the queue. */
void nfq_reader_start(struct nfq_queue *queue);

/* Reads now, whatever the loop does, and calls `dispatch` as the loop would; at most a turn's worth. How many packets came. */
uint32_t nfq_reader_poll(struct nfq_queue *queue);

#endif
