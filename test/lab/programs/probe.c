/*
 * probe: what the lab sends and receives. In C for its timing, and since it can ask the kernel (TCP_INFO) whether a
 * SYN was retransmitted. Results are one line of JSON on standard output; addresses are numeric, IPv4 or IPv6.
 *
 *   probe serve PORT                             accepts TCP and answers every line and every UDP datagram by "ack\n"
 *   probe connect ADDRESS PORT TIMEOUT_MS        one TCP connect, one line, one answer
 *   probe ask ADDRESS PORT TIMEOUT_MS            one UDP datagram, one answer
 *   probe ping ADDRESS TIMEOUT_MS                one ICMP echo request, one reply
 *   probe send ADDRESS PORT COUNT RATE SIZE      COUNT numbered UDP datagrams of one flow, RATE a second (0: at once)
 *   probe receive PORT COUNT QUIET_MS            receives such a flow; ends after COUNT, or QUIET_MS without a packet,
 *                                                or on SIGTERM
 *
 * serve and receive say "ready" on standard error when their sockets are bound.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>

#define MAX_CLIENTS 256
#define BUFFER_BYTES (64 << 20)

/* What a flow's datagram begins with; the rest of it is padding. */
struct numbered { uint32_t magic, sequence; };
#define MAGIC 0x6f6f6431u

static volatile sig_atomic_t stopped;

static void on_signal(int number) { (void)number; stopped = 1; }

static double now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

static void die(const char *what)
{
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_storage parse(const char *address, const char *port, socklen_t *length)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM}, *found;
    struct sockaddr_storage storage = {0};
    if (getaddrinfo(address, port, &hints, &found) != 0) {
        fprintf(stderr, "probe: %s is not a numeric address\n", address);
        exit(2);
    }
    memcpy(&storage, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return storage;
}

/* A socket of both families, bound to the port. */
static int bound(int type, const char *port)
{
    int fd = socket(AF_INET6, type, 0), off = 0, on = 1, bytes = BUFFER_BYTES;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port)), .sin6_addr = in6addr_any};
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0) die("bind");
    return fd;
}

static int serve(const char *port)
{
    struct pollfd set[MAX_CLIENTS + 2];
    nfds_t count = 2;
    char line[65536];
    set[0] = (struct pollfd){.fd = bound(SOCK_STREAM, port), .events = POLLIN};
    set[1] = (struct pollfd){.fd = bound(SOCK_DGRAM, port), .events = POLLIN};
    if (listen(set[0].fd, 1024) < 0) die("listen");
    fprintf(stderr, "ready\n");
    while (!stopped && poll(set, count, -1) >= 0) {
        if (set[0].revents && count < MAX_CLIENTS + 2) {
            int fd = accept(set[0].fd, NULL, NULL);
            if (fd >= 0) set[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
        if (set[1].revents) {
            struct sockaddr_storage from;
            socklen_t length = sizeof from;
            if (recvfrom(set[1].fd, line, sizeof line, 0, (struct sockaddr *)&from, &length) >= 0)
                sendto(set[1].fd, "ack\n", 4, 0, (struct sockaddr *)&from, length);
        }
        for (nfds_t i = 2; i < count; i++) {
            if (!set[i].revents) continue;
            if (read(set[i].fd, line, sizeof line) > 0 && send(set[i].fd, "ack\n", 4, MSG_NOSIGNAL) == 4) continue;
            close(set[i].fd);
            set[i--] = set[--count];
        }
    }
    return 0;
}

/* Waits until the descriptor is ready; false, with errno ETIMEDOUT, after the deadline. */
static int ready(int fd, short events, double deadline)
{
    struct pollfd set = {.fd = fd, .events = events};
    double left = deadline - now_ms();
    int got = poll(&set, 1, left > 0 ? (int)left + 1 : 0);
    if (got == 0) errno = ETIMEDOUT;
    return got > 0;
}

static int report_failure(const char *step, double start)
{
    printf("{\"ok\":false,\"step\":\"%s\",\"error\":\"%s\",\"ms\":%.3f}\n", step, strerrorname_np(errno), now_ms() - start);
    return 0;
}

static void print_source(int fd)
{
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    char host[64] = "";
    getsockname(fd, (struct sockaddr *)&own, &length);
    getnameinfo((struct sockaddr *)&own, length, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    printf(",\"source\":\"%s\"", host);
}

static int connect_tcp(const char *address, const char *port, const char *timeout)
{
    socklen_t length, size = sizeof(int);
    struct sockaddr_storage to = parse(address, port, &length);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    double start = now_ms(), deadline = start + atof(timeout), connected, answered;
    struct tcp_info info = {0};
    char line[16];
    if (connect(fd, (struct sockaddr *)&to, length) < 0 && errno != EINPROGRESS) return report_failure("connect", start);
    if (!ready(fd, POLLOUT, deadline)) return report_failure("connect", start);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if ((errno = error)) return report_failure("connect", start);
    connected = now_ms();
    size = sizeof info;
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    if (send(fd, "hello\n", 6, MSG_NOSIGNAL) < 0) return report_failure("send", start);
    if (!ready(fd, POLLIN, deadline) || read(fd, line, sizeof line) <= 0) return report_failure("answer", start);
    answered = now_ms();
    /* A polite end: when the other side has ended, too, nothing of this connection comes after. */
    shutdown(fd, SHUT_WR);
    while (ready(fd, POLLIN, deadline) && read(fd, line, sizeof line) > 0) continue;
    printf("{\"ok\":true,\"ms\":%.3f,\"answerMs\":%.3f,\"retransmits\":%u", connected - start, answered - start, info.tcpi_total_retrans);
    print_source(fd);
    printf("}\n");
    return 0;
}

static int ask(const char *address, const char *port, const char *timeout)
{
    socklen_t length;
    struct sockaddr_storage to = parse(address, port, &length);
    int fd = socket(to.ss_family, SOCK_DGRAM, 0);
    double start = now_ms();
    char line[16];
    if (connect(fd, (struct sockaddr *)&to, length) < 0) return report_failure("connect", start);
    if (send(fd, "hello\n", 6, 0) < 0) return report_failure("send", start);
    if (!ready(fd, POLLIN, start + atof(timeout)) || recv(fd, line, sizeof line, 0) < 0) return report_failure("answer", start);
    printf("{\"ok\":true,\"ms\":%.3f", now_ms() - start);
    print_source(fd);
    printf("}\n");
    return 0;
}

static uint16_t checksum(const void *data, size_t bytes)
{
    const uint16_t *word = data;
    uint32_t sum = 0;
    for (; bytes > 1; bytes -= 2) sum += *word++;
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)~(sum + (sum >> 16));
}

static int ping(const char *address, const char *timeout)
{
    socklen_t length;
    struct sockaddr_storage to = parse(address, "0", &length);
    int six = to.ss_family == AF_INET6;
    int fd = socket(to.ss_family, SOCK_RAW, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    double start = now_ms();
    struct icmphdr request = {.type = six ? ICMP6_ECHO_REQUEST : ICMP_ECHO, .un.echo = {.id = htons((uint16_t)getpid()), .sequence = htons(1)}};
    uint8_t packet[1500];
    if (fd < 0) die("socket");
    if (!six) request.checksum = checksum(&request, sizeof request); /* the kernel does it for ICMPv6 */
    ((struct sockaddr_in6 *)&to)->sin6_port = 0;
    if (connect(fd, (struct sockaddr *)&to, length) < 0) return report_failure("connect", start);
    if (send(fd, &request, sizeof request, 0) < 0) return report_failure("send", start);
    while (ready(fd, POLLIN, start + atof(timeout))) {
        ssize_t bytes = recv(fd, packet, sizeof packet, 0);
        if (bytes < 0) return report_failure("answer", start);
        struct icmphdr *reply = (struct icmphdr *)(packet + (six ? 0 : 4 * (packet[0] & 15)));
        if (reply->type == (six ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) && reply->un.echo.id == request.un.echo.id) {
            printf("{\"ok\":true,\"ms\":%.3f", now_ms() - start);
            print_source(fd);
            printf("}\n");
            return 0;
        }
    }
    return report_failure("answer", start);
}

static int send_flow(const char *address, const char *port, uint32_t count, double rate, size_t size)
{
    socklen_t length;
    struct sockaddr_storage to = parse(address, port, &length);
    int fd = socket(to.ss_family, SOCK_DGRAM, 0), bytes = BUFFER_BYTES, last_error = 0;
    uint8_t packet[65536] = {0};
    struct numbered *head = (struct numbered *)packet;
    uint32_t sent = 0, failed = 0;
    double start = now_ms();
    int on = 1;
    if (size < sizeof *head) size = sizeof *head;
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    if (connect(fd, (struct sockaddr *)&to, length) < 0) return report_failure("connect", start);
    head->magic = htonl(MAGIC);
    for (uint32_t i = 0; i < count && !stopped; i++) {
        double due = rate > 0 ? start + i * 1e3 / rate : 0, wait;
        while (!stopped && (wait = due - now_ms()) > 0) {
            /* ticks of at least 1 ms: a few packets each where the rate is high */
            struct timespec pause = {.tv_sec = (time_t)(wait / 1e3), .tv_nsec = (long)((wait < 1 ? 1 : wait - (time_t)(wait / 1e3) * 1e3) * 1e6)};
            nanosleep(&pause, NULL);
        }
        head->sequence = htonl(i);
        if (send(fd, packet, size, 0) == (ssize_t)size) sent++;
        else failed++, last_error = errno;
    }
    printf("{\"ok\":%s,\"sent\":%u,\"failed\":%u,\"error\":\"%s\",\"ms\":%.3f}\n", failed ? "false" : "true", sent, failed,
           last_error ? strerrorname_np(last_error) : "", now_ms() - start);
    return 0;
}

static int receive_flow(const char *port, uint32_t count, int quiet_ms)
{
    int fd = bound(SOCK_DGRAM, port);
    uint32_t received = 0, out_of_order = 0, duplicates = 0, next = 0, overtaken_first = 0, overtaken_last = 0;
    uint8_t *seen = calloc(count, 1), packet[65536];
    struct numbered *head = (struct numbered *)packet;
    double first = 0, last = 0, longest = 0;
    fprintf(stderr, "ready\n");
    while (!stopped && received < count) {
        struct pollfd set = {.fd = fd, .events = POLLIN};
        /* the quiet time counts from the first packet on */
        if (poll(&set, 1, received ? quiet_ms : -1) <= 0) break;
        ssize_t bytes = recv(fd, packet, sizeof packet, 0);
        uint32_t sequence = ntohl(head->sequence);
        double at = now_ms();
        if (bytes < (ssize_t)sizeof *head || head->magic != htonl(MAGIC) || sequence >= count) continue;
        if (seen[sequence]) { duplicates++; continue; }
        seen[sequence] = 1;
        if (sequence < next) {
            if (!out_of_order++) overtaken_first = sequence;
            overtaken_last = sequence;
        }
        else next = sequence + 1;
        if (!received++) first = at;
        else if (at - last > longest) longest = at - last;
        last = at;
    }
    printf("{\"received\":%u,\"missing\":%u,\"outOfOrder\":%u,\"overtaken\":[%u,%u],\"duplicates\":%u,\"spanMs\":%.3f,\"longestGapMs\":%.3f}\n", received,
           count - received, out_of_order, overtaken_first, overtaken_last, duplicates, last - first, longest);
    free(seen);
    return 0;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end */
    const char *verb = argc > 1 ? argv[1] : "";
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (!strcmp(verb, "serve") && argc == 3) return serve(argv[2]);
    if (!strcmp(verb, "connect") && argc == 5) return connect_tcp(argv[2], argv[3], argv[4]);
    if (!strcmp(verb, "ask") && argc == 5) return ask(argv[2], argv[3], argv[4]);
    if (!strcmp(verb, "ping") && argc == 4) return ping(argv[2], argv[3]);
    if (!strcmp(verb, "send") && argc == 7) return send_flow(argv[2], argv[3], (uint32_t)atol(argv[4]), atof(argv[5]), (size_t)atol(argv[6]));
    if (!strcmp(verb, "receive") && argc == 5) return receive_flow(argv[2], (uint32_t)atol(argv[3]), atoi(argv[4]));
    fprintf(stderr, "probe: serve | connect | ask | ping | send | receive, see probe.c\n");
    return 2;
}
