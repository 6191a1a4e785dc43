/*
 * The C peer: NFQUEUE by hand, as the kernel's documentation and headers describe it, with nothing between it and the
 * kernel. peer QUEUE MODE MAXLEN, where MODE is
 *
 *   single   whole packets, one recv and one verdict a packet (what libnetfilter_queue's example does)
 *   batch    128 bytes a packet, recv until there is nothing more or 64 packets, then one batch verdict
 *   mmsg     128 bytes a packet, one recvmmsg of up to 256 packets, then one batch verdict
 *   hold     as batch, but verdicts wait for SIGUSR1: then one batch verdict for all
 *
 * Prints "ready", and with `hold` the nanoseconds of CLOCK_MONOTONIC at which it released. Ends on SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, BURST = 256, SLOT = 1024 };

static int fd;
static uint16_t queue_number;
static uint8_t whole[65536 + 1024];
static uint8_t slots[BURST][SLOT];
static volatile sig_atomic_t released;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void *attribute(uint8_t *message, uint16_t type, size_t size) {
  struct nlmsghdr *header = (void *)message;
  struct nlattr *attr = (void *)(message + header->nlmsg_len);
  attr->nla_type = type;
  attr->nla_len = (uint16_t)(NLA_HDRLEN + size);
  header->nlmsg_len += NLA_ALIGN(attr->nla_len);
  return (uint8_t *)attr + NLA_HDRLEN;
}

static void begin(uint8_t *message, uint16_t type) {
  struct nlmsghdr *header = (void *)message;
  struct nfgenmsg *nfgen = (void *)(message + NLMSG_HDRLEN);
  memset(message, 0, NLMSG_HDRLEN + sizeof *nfgen);
  header->nlmsg_len = NLMSG_HDRLEN + sizeof *nfgen;
  header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
  header->nlmsg_flags = NLM_F_REQUEST;
  nfgen->res_id = htons(queue_number);
}

static void transmit(const uint8_t *message) {
  const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (sendto(fd, message, ((const struct nlmsghdr *)message)->nlmsg_len, 0, (const void *)&kernel, sizeof kernel) < 0) die("sendto");
}

static void configure(uint32_t range, uint32_t max_length) {
  uint8_t message[256] = {0};
  begin(message, NFQNL_MSG_CONFIG);
  struct nfqnl_msg_config_cmd *command = attribute(message, NFQA_CFG_CMD, sizeof *command);
  *command = (struct nfqnl_msg_config_cmd){.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params *params = attribute(message, NFQA_CFG_PARAMS, sizeof *params);
  params->copy_range = htonl(range);
  params->copy_mode = NFQNL_COPY_PACKET;
  *(uint32_t *)attribute(message, NFQA_CFG_QUEUE_MAXLEN, 4) = htonl(max_length);
  transmit(message);
}

static void verdict(uint16_t type, uint32_t id) {
  uint8_t message[64];
  begin(message, type);
  struct nfqnl_msg_verdict_hdr *header = attribute(message, NFQA_VERDICT_HDR, sizeof *header);
  header->verdict = htonl(NF_ACCEPT);
  header->id = htonl(id);
  transmit(message);
}

/* The id in a packet message, by a walk over its attributes. 0: it is something else. */
static uint32_t packet_id(const uint8_t *message, size_t length) {
  const struct nlmsghdr *header = (const void *)message;
  if (length < NLMSG_HDRLEN || header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) return 0;
  size_t at = NLMSG_HDRLEN + sizeof(struct nfgenmsg);
  while (at + NLA_HDRLEN <= length) {
    const struct nlattr *attr = (const void *)(message + at);
    if (attr->nla_len < NLA_HDRLEN) return 0;
    if ((attr->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
      return ntohl(((const struct nfqnl_msg_packet_hdr *)(message + at + NLA_HDRLEN))->packet_id);
    }
    at += NLA_ALIGN(attr->nla_len);
  }
  return 0;
}

static void run_single(void) {
  for (;;) {
    ssize_t length = recv(fd, whole, sizeof whole, 0);
    if (length < 0 && errno != ENOBUFS) die("recv");
    if (length < 0) continue;
    uint32_t id = packet_id(whole, (size_t)length);
    if (id) verdict(NFQNL_MSG_VERDICT, id);
  }
}

static void run_batch(void) {
  for (;;) {
    uint32_t last = 0;
    for (int i = 0; i < BATCH; i++) {
      ssize_t length = recv(fd, whole, SLOT, i == 0 ? 0 : MSG_DONTWAIT);
      if (length < 0 && errno == EAGAIN) break;
      if (length < 0 && errno != ENOBUFS) die("recv");
      uint32_t id = length < 0 ? 0 : packet_id(whole, (size_t)length);
      if (id) last = id;
    }
    if (last) verdict(NFQNL_MSG_VERDICT_BATCH, last);
  }
}

static void run_mmsg(void) {
  static struct mmsghdr headers[BURST];
  static struct iovec parts[BURST];
  for (int i = 0; i < BURST; i++) {
    parts[i] = (struct iovec){slots[i], SLOT};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  for (;;) {
    uint32_t last = 0;
    int count = recvmmsg(fd, headers, BURST, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != ENOBUFS) die("recvmmsg");
    for (int i = 0; i < count; i++) {
      uint32_t id = packet_id(slots[i], headers[i].msg_len);
      if (id) last = id;
    }
    if (last) verdict(NFQNL_MSG_VERDICT_BATCH, last);
  }
}

static void on_release(int number) {
  (void)number;
  released = 1;
}

static void run_hold(void) {
  struct sigaction action = {.sa_handler = on_release};
  sigaction(SIGUSR1, &action, NULL);
  uint32_t last = 0;
  for (;;) {
    ssize_t length = recv(fd, whole, SLOT, 0);
    uint32_t id = length < 0 ? 0 : packet_id(whole, (size_t)length);
    if (id) last = id;
    if (length < 0 && errno != ENOBUFS && errno != EINTR) die("recv");
    if (!released) continue;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    verdict(NFQNL_MSG_VERDICT_BATCH, last);
    printf("%lld\n", (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(stdout);
    released = 0;
  }
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  queue_number = (uint16_t)atoi(argv[1]);
  const char *mode = argv[2];
  fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  if (fd < 0) die("socket");
  int size = 64 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) die("SO_RCVBUFFORCE");
  configure(strcmp(mode, "single") == 0 ? 0xffff : 128, (uint32_t)atoi(argv[3]));
  puts("ready");
  fflush(stdout);
  if (strcmp(mode, "single") == 0) run_single();
  if (strcmp(mode, "batch") == 0) run_batch();
  if (strcmp(mode, "mmsg") == 0) run_mmsg();
  if (strcmp(mode, "hold") == 0) run_hold();
  return 2;
}
