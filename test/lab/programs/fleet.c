/*
 * fleet: many OpenVPNs that answer at once, for tests of many tunnels. In C and in one process, so that next to nothing
 * of what is measured is theirs.
 *
 *   fleet run COUNT FOLDER          makes tun devices fleet0 … and management sockets FOLDER/0.sock …, each in hold;
 *                                   says "ready" on standard error. `hold release` is answered by CONNECTED, SIGUSR1
 *                                   leads back into hold. On SIGUSR1 a line of JSON for each on standard output, and "told":
 *                                   {"released": S, "connected": S, "packets": N}, seconds since the epoch of the last
 *                                   `hold release` and of the CONNECTED that followed, N what came out of the device
 *   fleet send COUNT PORT [ROUNDS]  one UDP datagram to every 10.100.i.1 (10.101.i.1 … from the 250th on), at once;
 *                                   so often, a millisecond apart. Then prints when it sent the first one to each,
 *                                   one line each: seconds since the epoch
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PER_NET 250

enum kind { LISTENER, CLIENT, DEVICE };

struct openvpn {
    int index, client, holding;
    size_t length;
    char line[1024];
    double released, connected;
    long packets;
    /* what epoll points at */
    struct end { struct openvpn *openvpn; enum kind kind; int fd; } ends[3];
};

static volatile sig_atomic_t asked;
static int poller;

static void on_signal(int number) { (void)number; asked = 1; }

static void die(const char *what)
{
    fprintf(stderr, "fleet: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void watch(struct openvpn *openvpn, enum kind kind, int fd)
{
    struct end *end = &openvpn->ends[kind];
    *end = (struct end){openvpn, kind, fd};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void say(struct openvpn *openvpn, const char *text)
{
    if (write(openvpn->client, text, strlen(text)) < 0 && errno != EPIPE) die("write");
}

static void say_state(struct openvpn *openvpn, const char *state)
{
    char text[160];
    snprintf(text, sizeof text, ">STATE:%ld,%s,,\r\n", (long)time(NULL), state);
    say(openvpn, text);
}

static void say_held(struct openvpn *openvpn)
{
    openvpn->holding = 1;
    say(openvpn, ">HOLD:Waiting for hold release:0\r\n");
}

static void connected(struct openvpn *openvpn)
{
    char state[64];
    openvpn->holding = 0;
    openvpn->released = now_s();
    say(openvpn, "SUCCESS: hold release succeeded\r\n");
    snprintf(state, sizeof state, "CONNECTED,SUCCESS,10.8.%d.%d,192.0.2.1,1194", openvpn->index / PER_NET, openvpn->index % PER_NET + 1);
    openvpn->connected = now_s();
    say_state(openvpn, state);
}

static void command(struct openvpn *openvpn, const char *line)
{
    if (!strcmp(line, "hold release")) {
        connected(openvpn);
    } else if (!strcmp(line, "signal SIGUSR1")) {
        say(openvpn, "SUCCESS: signal SIGUSR1 thrown\r\n");
        say_state(openvpn, "RECONNECTING,SIGUSR1,,,");
        say_held(openvpn);
    } else if (!strcmp(line, "state")) {
        say(openvpn, "END\r\n");
    } else {
        say(openvpn, "SUCCESS: done\r\n");
    }
}

static void hear(struct openvpn *openvpn)
{
    char text[512];
    ssize_t got = read(openvpn->client, text, sizeof text);
    if (got <= 0) {
        close(openvpn->client);
        return;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (text[i] == '\n') {
            openvpn->line[openvpn->length] = 0;
            openvpn->length = 0;
            command(openvpn, openvpn->line);
        } else if (text[i] != '\r' && openvpn->length < sizeof openvpn->line - 1) {
            openvpn->line[openvpn->length++] = text[i];
        }
    }
}

static void serve(struct end *end)
{
    struct openvpn *openvpn = end->openvpn;
    char packet[2048];
    switch (end->kind) {
    case LISTENER:
        openvpn->client = accept(end->fd, NULL, NULL);
        if (openvpn->client < 0) die("accept");
        openvpn->length = 0;
        watch(openvpn, CLIENT, openvpn->client);
        say(openvpn, ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n");
        if (openvpn->holding) say_held(openvpn);
        break;
    case CLIENT:
        hear(openvpn);
        break;
    case DEVICE:
        /* the kernel itself sends IPv6 there: reports and solicitations */
        while (read(end->fd, packet, sizeof packet) > 0) openvpn->packets += packet[0] >> 4 == 4;
        break;
    }
}

static void start(struct openvpn *openvpn, const char *folder)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof request.ifr_name, "fleet%d", openvpn->index);
    if (device < 0 || ioctl(device, TUNSETIFF, &request) < 0) die(request.ifr_name);
    watch(openvpn, DEVICE, device);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%d.sock", folder, openvpn->index);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4) < 0) die(address.sun_path);
    watch(openvpn, LISTENER, listener);
    openvpn->holding = 1;
}

static void tell(const struct openvpn *all, int count)
{
    asked = 0;
    for (int i = 0; i < count; i++) printf("{\"released\":%.6f,\"connected\":%.6f,\"packets\":%ld}\n", all[i].released, all[i].connected, all[i].packets);
    puts("told");
    fflush(stdout);
}

static void run(int count, const char *folder)
{
    struct openvpn *all = calloc(count, sizeof *all);
    struct rlimit files = {3 * count + 64, 3 * count + 64};
    struct epoll_event events[64];
    if (!all || setrlimit(RLIMIT_NOFILE, &files) < 0) die("setrlimit");
    signal(SIGPIPE, SIG_IGN);
    /* interrupts epoll_wait */
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
    poller = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        all[i].index = i;
        start(&all[i], folder);
    }
    fputs("ready\n", stderr);
    for (;;) {
        int ready = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < ready; i++) serve(events[i].data.ptr);
        if (asked) tell(all, count);
    }
}

static void send_all(int count, int port, int rounds)
{
    int sender = socket(AF_INET, SOCK_DGRAM, 0);
    double *sent = calloc(count, sizeof *sent);
    struct timespec pause = {.tv_nsec = 1000000};
    if (sender < 0 || !sent) die("socket");
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(10u << 24 | (100u + i / PER_NET) << 16 | (unsigned)(i % PER_NET) << 8 | 1)};
            if (round == 0) sent[i] = now_s();
            if (sendto(sender, "fleet", 5, 0, (struct sockaddr *)&to, sizeof to) < 0) die("sendto");
        }
        if (round < rounds - 1) nanosleep(&pause, NULL);
    }
    for (int i = 0; i < count; i++) printf("%.6f\n", sent[i]);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "run")) run(atoi(argv[2]), argv[3]);
    else if (argc >= 4 && !strcmp(argv[1], "send")) send_all(atoi(argv[2]), atoi(argv[3]), argc > 4 ? atoi(argv[4]) : 1);
    else return 2;
    return 0;
}
