/* Verdicts: what becomes of held packets. No Node here. */
#ifndef NFQUEUE_VERDICT_H
#define NFQUEUE_VERDICT_H

#include <stddef.h>
#include <stdint.h>

#include "held.h"
#include "socket.h"

struct nfq_verdict {
  uint32_t code; /* NF_ACCEPT and the like, for NF_QUEUE with the queue's number in the upper half */
  uint32_t mark;
  int has_mark;
};

enum {
  NFQ_ASK_ACK = 1,    /* the last message of the call is to be acknowledged */
  NFQ_ALLOW_BATCH = 2 /* one batch verdict may stand for all, where it means the same */
};

/*
 * All of these return how many held packets were settled (0: none was held, nothing was sent), or -errno; after an error
 * the table tells which are still held.
 */

/* One packet; `payload` replaces its content unless NULL. */
int64_t nfq_verdict_one(struct nfq_socket *socket, struct held *held, uint32_t id, const struct nfq_verdict *verdict,
                        const void *payload, size_t payload_length);

/* Everything held with an id up to `id`, by the kernel's batch verdict. */
int64_t nfq_verdict_up_to(struct nfq_socket *socket, struct held *held, uint32_t id, const struct nfq_verdict *verdict);

/* Those of `ids` that are held, in the order given; one system call per 1024. */
int64_t nfq_verdict_many(struct nfq_socket *socket, struct held *held, const uint32_t *ids, size_t count,
                         const struct nfq_verdict *verdict, int flags);

/*
 * Everything that the kernel holds, read by us or not, up to the kernel's own last id. `last` comes from the kernel's
 * statistics. 0 or -errno; the table of held packets is emptied.
 */
int nfq_verdict_all(struct nfq_socket *socket, struct held *held, uint32_t last, const struct nfq_verdict *verdict);

#endif
