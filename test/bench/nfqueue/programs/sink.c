/*
 * sink udp ADDRESS PORT COUNT PAUSE_US     receives numbered datagrams on a socket
 * sink tun DEVICE -    COUNT PAUSE_US      makes a tun device and reads numbered UDP/IPv4 packets from it
 *
 * PAUSE_US: time that each packet costs (busy, as a tunnel's encryption is). Prints "ready"; then, when COUNT packets came
 * or none for 2 s after the first: received, out of order, nanoseconds of CLOCK_MONOTONIC at the first and the last.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int open_udp(const char *address, int port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, address, &at.sin_addr);
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 64 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) perror("SO_RCVBUFFORCE");
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) return perror("bind"), -1;
  return fd;
}

static int open_tun(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int fd = open("/dev/net/tun", O_RDWR);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) return perror("tun"), -1;
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  int is_tun = strcmp(argv[1], "tun") == 0;
  int fd = is_tun ? open_tun(argv[2]) : open_udp(argv[2], atoi(argv[3]));
  if (fd < 0) return 1;
  long long count = atoll(argv[4]), pause = atoll(argv[5]) * 1000, received = 0, disordered = 0, first = 0, last = 0;
  uint32_t expected = 0;
  size_t offset = is_tun ? 28 : 0;
  uint8_t data[2048];
  puts("ready");
  fflush(stdout);
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  while (received < count) {
    if (poll(&poll_fd, 1, received ? 2000 : -1) <= 0) break;
    ssize_t length = read(fd, data, sizeof data);
    if (length < (ssize_t)offset + 4 || (is_tun && (data[0] >> 4 != 4 || data[9] != 17))) continue;
    uint32_t number;
    memcpy(&number, data + offset, sizeof number);
    number = ntohl(number);
    last = now_ns();
    if (!received) first = last;
    received++;
    if (number < expected) disordered++;
    else expected = number + 1;
    while (pause && now_ns() - last < pause) continue;
  }
  printf("%lld %lld %lld %lld\n", received, disordered, first, last);
  return 0;
}
