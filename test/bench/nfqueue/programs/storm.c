/*
 * storm DEVICE MAC SOURCE DESTINATION PORT MILLISECONDS: sends 64-byte UDP/IPv4 frames on a device as fast as it can, past
 * the sending host's own IP layer and queueing, so that the receiver is what is measured. Prints how many were sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { CHUNK = 64, FRAME = 64 };

#ifndef PACKET_QDISC_BYPASS
#define PACKET_QDISC_BYPASS 20
#endif

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint16_t checksum(const uint8_t *data, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i < length; i += 2) sum += (uint32_t)data[i] << 8 | data[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void put16(uint8_t *to, unsigned value) {
  to[0] = (uint8_t)(value >> 8);
  to[1] = (uint8_t)value;
}

static void build(uint8_t *frame, const unsigned *mac, const char *source, const char *destination, unsigned port) {
  memset(frame, 0, FRAME);
  for (int i = 0; i < 6; i++) frame[i] = (uint8_t)mac[i];
  frame[6] = 2;
  put16(frame + 12, ETHERTYPE_IP);
  uint8_t *ip = frame + 14;
  ip[0] = 0x45;
  put16(ip + 2, FRAME - 14);
  ip[8] = 64;
  ip[9] = 17;
  inet_pton(AF_INET, source, ip + 12);
  inet_pton(AF_INET, destination, ip + 16);
  put16(ip + 10, checksum(ip, 20));
  put16(ip + 20, 4000);
  put16(ip + 22, port);
  put16(ip + 24, FRAME - 34); /* without a checksum, as UDP over IPv4 allows */
}

int main(int argc, char **argv) {
  unsigned mac[6];
  if (argc != 7 || sscanf(argv[2], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) return 2;
  uint8_t frame[FRAME];
  build(frame, mac, argv[3], argv[4], (unsigned)atoi(argv[5]));
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1]), .sll_halen = 6};
  int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1, size = 4 << 20;
  if (fd < 0) return perror("socket"), 1;
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  struct mmsghdr headers[CHUNK] = {0};
  struct iovec part = {frame, FRAME};
  for (int i = 0; i < CHUNK; i++) headers[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
  long long sent = 0, end = now_ms() + atoll(argv[6]);
  while (now_ms() < end) {
    int done = sendmmsg(fd, headers, CHUNK, 0);
    if (done > 0) sent += done;
    else if (errno != ENOBUFS && errno != EAGAIN) return perror("sendmmsg"), 1;
  }
  printf("%lld\n", sent);
  return 0;
}
