/*
 * flood ADDRESS PORT SIZE COUNT: sends COUNT UDP datagrams of SIZE bytes of payload, each with its number in front, as fast
 * as it can. Prints how many were sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { CHUNK = 64, MAX_SIZE = 2048 };

static uint8_t data[CHUNK][MAX_SIZE];

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  size_t size = (size_t)atoi(argv[3]);
  long long count = atoll(argv[4]), sent = 0;
  if (size < 4 || size > MAX_SIZE) return 2;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  int buffer = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) return perror("connect"), 1;
  struct mmsghdr headers[CHUNK] = {0};
  struct iovec parts[CHUNK];
  for (int i = 0; i < CHUNK; i++) {
    parts[i] = (struct iovec){data[i], size};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  while (sent < count) {
    int chunk = count - sent < CHUNK ? (int)(count - sent) : CHUNK;
    for (int i = 0; i < chunk; i++) {
      uint32_t number = htonl((uint32_t)(sent + i));
      memcpy(data[i], &number, sizeof number);
    }
    int done = sendmmsg(fd, headers, (unsigned)chunk, 0);
    if (done > 0) sent += done;
    else if (errno != ENOBUFS && errno != EAGAIN) return perror("sendmmsg"), 1;
  }
  printf("%lld\n", sent);
  return 0;
}
