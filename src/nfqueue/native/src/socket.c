#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "message.h"
#include "wire.h"

#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

enum { REPLY_TIMEOUT_MS = 5000 };

static int fail(struct nfq_failure *failure, const char *call, int error) {
  failure->call = call;
  failure->error = error;
  return -1;
}

/* Work that has to be done inside another network namespace, on a thread that nobody else uses. */
struct errand {
  int netns;
  int (*run)(struct errand *errand);
  const void *argument;
  void *result;
  int status;
  struct nfq_failure *failure;
};

static void *errand_thread(void *data) {
  struct errand *errand = data;
  if (setns(errand->netns, CLONE_NEWNET) < 0) errand->status = fail(errand->failure, "setns", errno);
  else errand->status = errand->run(errand);
  return NULL;
}

/*
 * A thread that enters a namespace may fail to come back, and Node's threads are not ours to lose: a short-lived one
 * goes there instead. Sockets and files that it opens stay in that namespace.
 */
static int run_in_namespace(struct errand *errand) {
  if (errand->netns < 0) return errand->run(errand);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, errand_thread, errand);
  if (error) return fail(errand->failure, "pthread_create", error);
  pthread_join(thread, NULL);
  return errand->status;
}

static int open_proc(struct errand *errand) {
  char path[96];
  snprintf(path, sizeof path, "/proc/thread-self/net/%s", (const char *)errand->argument);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errand->failure, "open", errno);
  *(int *)errand->result = fd;
  return 0;
}

int nfq_proc_open(int netns, const char *name, struct nfq_failure *failure) {
  int fd = -1;
  struct errand errand = {.netns = netns, .run = open_proc, .argument = name, .result = &fd, .failure = failure};
  return run_in_namespace(&errand) < 0 ? -1 : fd;
}

static void set_receive_buffer(const struct nfq_settings *settings, struct nfq_socket *nfq) {
  int size = (int)(settings->receive_buffer > INT32_MAX / 2 ? INT32_MAX / 2 : settings->receive_buffer);
  nfq->buffer_forced = setsockopt(nfq->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0;
  if (!nfq->buffer_forced) setsockopt(nfq->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  int granted = 0;
  socklen_t length = sizeof granted;
  getsockopt(nfq->fd, SOL_SOCKET, SO_RCVBUF, &granted, &length);
  nfq->receive_buffer = (uint32_t)granted / 2; /* the kernel doubles what is asked, for its own book-keeping */
}

static int make_socket(struct errand *errand) {
  const struct nfq_settings *settings = errand->argument;
  struct nfq_socket *nfq = errand->result;
  nfq->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, WIRE_NETLINK_NETFILTER);
  if (nfq->fd < 0) return fail(errand->failure, "socket", errno);
  set_receive_buffer(settings, nfq);
  struct wire_address address = {.family = AF_NETLINK};
  socklen_t length = sizeof address;
  if (bind(nfq->fd, (struct sockaddr *)&address, sizeof address) < 0) return fail(errand->failure, "bind", errno);
  if (getsockname(nfq->fd, (struct sockaddr *)&address, &length) < 0) return fail(errand->failure, "getsockname", errno);
  nfq->port = address.port;
  /* Statistics are worth having, but a queue works without /proc. */
  struct nfq_failure ignored;
  struct errand proc = {.netns = -1, .argument = "netfilter/nfnetlink_queue", .result = &nfq->statistics, .failure = &ignored};
  if (open_proc(&proc) < 0) nfq->statistics = -1;
  return 0;
}

/* Bind, copy mode, length and flags in one message: no packet can meet a queue that is only half set up. */
static void put_settings(struct message *message, const struct nfq_settings *settings) {
  const uint8_t command[4] = {WIRE_CMD_BIND, 0, 0, 0};
  uint8_t params[5];
  put_be32(params, settings->copy_range);
  params[4] = settings->copy_range ? WIRE_COPY_PACKET : WIRE_COPY_META;
  message_begin(message, WIRE_CONFIG, WIRE_F_REQUEST | WIRE_F_ACK);
  message_put(message, WIRE_CFG_CMD, command, sizeof command);
  message_put(message, WIRE_CFG_PARAMS, params, sizeof params);
  message_put_be32(message, WIRE_CFG_MAXLEN, settings->max_length);
  if (settings->flags) {
    message_put_be32(message, WIRE_CFG_MASK, settings->flags);
    message_put_be32(message, WIRE_CFG_FLAGS, settings->flags);
  }
  message_end(message);
}

/* Waits for the answer to `sequence`. Returns errno, 0 for success. Packets that come first stay in the socket. */
static int await_reply(int fd, uint32_t sequence) {
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  uint8_t buffer[4096];
  for (;;) {
    int ready = poll(&poll_fd, 1, REPLY_TIMEOUT_MS);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return ready < 0 ? errno : ETIMEDOUT;
    ssize_t length = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length < 0) {
      if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) continue;
      return errno;
    }
    struct wire_netlink header, sent;
    int32_t error;
    if ((size_t)length < sizeof header + sizeof error + sizeof sent) continue;
    memcpy(&header, buffer, sizeof header);
    memcpy(&error, buffer + sizeof header, sizeof error);
    memcpy(&sent, buffer + sizeof header + sizeof error, sizeof sent);
    if (header.type == WIRE_MSG_ERROR && sent.sequence == sequence) return -error;
  }
}

static int configure(struct nfq_socket *nfq, const struct nfq_settings *settings, struct nfq_failure *failure) {
  uint8_t space[128];
  struct message message;
  message_init(&message, space, sizeof space, nfq->queue, nfq->sequence);
  put_settings(&message, settings);
  nfq->sequence = message.sequence;
  if (message_send(&message, nfq->fd) < 0) return fail(failure, "sendmsg", errno);
  int error = await_reply(nfq->fd, nfq->sequence);
  return error ? fail(failure, "bind queue", error) : 0;
}

/* Whoever plays the kernel may be this very thread: it is not waited for. */
static int connect_played(const struct nfq_settings *settings, struct nfq_socket *nfq, struct nfq_failure *failure) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(settings->played) >= sizeof address.sun_path) return fail(failure, "connect", ENAMETOOLONG);
  strcpy(address.sun_path, settings->played);
  nfq->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (nfq->fd < 0) return fail(failure, "socket", errno);
  if (connect(nfq->fd, (struct sockaddr *)&address, sizeof address) < 0) return fail(failure, "connect", errno);
  nfq->receive_buffer = settings->receive_buffer;
  return 0;
}

static int open_socket(const struct nfq_settings *settings, struct nfq_socket *nfq, struct nfq_failure *failure) {
  if (settings->played) return connect_played(settings, nfq, failure);
  struct errand errand = {.netns = settings->netns, .run = make_socket, .argument = settings, .result = nfq, .failure = failure};
  return run_in_namespace(&errand) < 0 ? -1 : configure(nfq, settings, failure);
}

int nfq_socket_open(const struct nfq_settings *settings, struct nfq_socket *nfq, struct nfq_failure *failure) {
  memset(nfq, 0, sizeof *nfq);
  nfq->fd = nfq->statistics = -1;
  nfq->queue = settings->queue;
  if (open_socket(settings, nfq, failure) == 0) return 0;
  if (nfq->fd >= 0) close(nfq->fd);
  if (nfq->statistics >= 0) close(nfq->statistics);
  nfq->fd = nfq->statistics = -1;
  return -1;
}

void nfq_socket_close(struct nfq_socket *nfq) {
  if (nfq->fd >= 0) {
    const uint8_t command[4] = {WIRE_CMD_UNBIND, 0, 0, 0};
    uint8_t space[64];
    struct message message;
    message_init(&message, space, sizeof space, nfq->queue, nfq->sequence);
    message_begin(&message, WIRE_CONFIG, WIRE_F_REQUEST);
    message_put(&message, WIRE_CFG_CMD, command, sizeof command);
    message_end(&message);
    message_send(&message, nfq->fd);
    close(nfq->fd);
  }
  if (nfq->statistics >= 0) close(nfq->statistics);
  nfq->fd = nfq->statistics = -1;
}

int nfq_device_name(const struct nfq_socket *nfq, uint32_t index, char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_ifindex = (int)index;
  if (ioctl(nfq->fd, SIOCGIFNAME, &request) < 0) return -1;
  memcpy(name, request.ifr_name, IFNAMSIZ);
  name[IFNAMSIZ - 1] = 0;
  return 0;
}

static int open_bare(struct errand *errand) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, *(const int *)errand->argument);
  if (fd < 0) return fail(errand->failure, "socket", errno);
  *(int *)errand->result = fd;
  return 0;
}

int nfq_request_open(struct nfq_request *request, struct nfq_failure *failure) {
  struct errand errand = {.netns = request->netns, .run = open_bare, .argument = &request->protocol, .result = &request->fd, .failure = failure};
  return run_in_namespace(&errand);
}

int nfq_request_send(const struct nfq_request *request, struct nfq_failure *failure) {
  uint8_t space[NFQ_REQUEST_MAX + 64];
  struct message message;
  message_init(&message, space, sizeof space, 0, 0);
  message_begin_bare(&message, request->type, WIRE_F_REQUEST | WIRE_F_ACK | request->flags);
  message_append(&message, request->body, request->length);
  message_end(&message);
  if (message_send(&message, request->fd) < 0) return fail(failure, "sendmsg", errno);
  int error = await_reply(request->fd, message.sequence);
  return error ? fail(failure, "netlink request", error) : 0;
}

void nfq_request_close(struct nfq_request *request) {
  close(request->fd);
  request->fd = -1;
}
