/* The netlink socket of one queue: made, configured, closed. No Node here. */
#ifndef NFQUEUE_SOCKET_H
#define NFQUEUE_SOCKET_H

#include <stddef.h>
#include <stdint.h>

struct nfq_settings {
  uint16_t queue;
  uint32_t copy_range; /* bytes; 0: packet headers of netfilter only, nothing of the packet */
  uint32_t max_length; /* packets */
  uint32_t receive_buffer; /* bytes */
  uint32_t flags;      /* NFQA_CFG_F_* */
  int netns;           /* descriptor of a network namespace, or -1 for this thread's */
  const char *played;  /* path of a stream socket where somebody else plays the kernel, or NULL */
};

/* What failed: the system call (or step), and errno. */
struct nfq_failure {
  const char *call;
  int error;
};

struct nfq_socket {
  int fd;
  int statistics; /* /proc/net/netfilter/nfnetlink_queue of the socket's namespace, or -1 */
  uint16_t queue;
  uint32_t port;  /* netlink port id: how the kernel names the queue's owner */
  uint32_t receive_buffer; /* bytes, as granted */
  uint32_t sequence; /* of the last message sent */
  int buffer_forced; /* 0 if only SO_RCVBUF was allowed, which the administrator limits */
};

/* 0, or -1 with `failure` filled in and nothing left open. */
int nfq_socket_open(const struct nfq_settings *settings, struct nfq_socket *socket, struct nfq_failure *failure);

/* Unbinds the queue at once (a copy of the descriptor in a child would keep it alive) and closes everything. */
void nfq_socket_close(struct nfq_socket *socket);

enum { NFQ_REQUEST_MAX = 1040 }; /* bytes of a request's body */

/* One message to a part of the kernel, by a socket of its own. */
struct nfq_request {
  int protocol;  /* NETLINK_ROUTE, NETLINK_NETFILTER */
  uint16_t type;
  uint16_t flags; /* NLM_F_*, beside those that every request has */
  int netns;     /* descriptor of a network namespace, or -1 for this thread's */
  const void *body; /* the protocol's own header, and attributes */
  size_t length; /* bytes, NFQ_REQUEST_MAX at most */
  int fd;
};

/* Opens the socket. 0, or -1 with `failure` filled in. */
int nfq_request_open(struct nfq_request *request, struct nfq_failure *failure);

/* Sends the message and waits for the kernel's answer, which comes when all is done. 0, or -1 with `failure` filled in. */
int nfq_request_send(const struct nfq_request *request, struct nfq_failure *failure);

void nfq_request_close(struct nfq_request *request);

/*
 * Opens /proc/thread-self/net/<name> as seen in a network namespace (-1: this thread's).
 * The descriptor, or -1 with `failure` filled in.
 */
int nfq_proc_open(int netns, const char *name, struct nfq_failure *failure);

/* Name of a network device in the socket's namespace, now. 0, or -1 if there is none. `name` holds 16 bytes. */
int nfq_device_name(const struct nfq_socket *socket, uint32_t index, char *name);

#endif
