/* The kernel's own account of a queue: its line of /proc/net/netfilter/nfnetlink_queue. */
#ifndef NFQUEUE_STATISTICS_H
#define NFQUEUE_STATISTICS_H

#include <stdint.h>

/* In the order of the line (seqfile of net/netfilter/nfnetlink_queue.c). */
struct nfq_statistics {
  uint32_t queue;
  uint32_t port;
  uint32_t held;
  uint32_t copy_mode;
  uint32_t copy_range;
  uint32_t queue_dropped;
  uint32_t user_dropped;
  uint32_t last_id;
};

/* 1 if the file has a line for `queue`, 0 if it has none, or -errno. `fd` is read from its start. */
int nfq_statistics_read(int fd, uint16_t queue, struct nfq_statistics *statistics);

#endif
