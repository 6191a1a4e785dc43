/*
 * storm ADDRESS PORT MILLISECONDS: sends UDP/IPv4 packets of 64 bytes (with the Ethernet header) as fast as it can. Many
 * are one call and one way through the sending host (UDP_SEGMENT, linux/udp.h): the kernel parts them where they are
 * queued, so that the receiver is what is measured. Prints how many were sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* 14 bytes of Ethernet, 20 of IPv4 and 8 of UDP stand before the payload. */
enum { PAYLOAD = 64 - 42, SEGMENTS = 64 };

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
  static uint8_t payload[PAYLOAD * SEGMENTS];
  if (argc != 4) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  int fd = socket(AF_INET, SOCK_DGRAM, 0), segment = PAYLOAD, size = 4 << 20;
  if (fd < 0) return perror("socket"), 1;
  if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0) return perror("UDP_SEGMENT"), 1;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) return perror("connect"), 1;
  long long sent = 0, end = now_ms() + atoll(argv[3]);
  while (now_ms() < end) {
    if (send(fd, payload, sizeof payload, 0) >= 0) sent += SEGMENTS;
    else if (errno != ENOBUFS && errno != EAGAIN) return perror("send"), 1;
  }
  printf("%lld\n", sent);
  return 0;
}
