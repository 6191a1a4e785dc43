/*
 * enter NETNS COMMAND [ARGUMENT ...]: becomes the command, in the network namespace of that name (as `ip netns` has it).
 * What `nsenter` and `ip netns exec` do, without mounts and without a dynamic linker: on an emulated machine that is most
 * of what a short program takes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096];
    int fd;
    if (argc < 3) return fprintf(stderr, "usage: enter NETNS COMMAND [ARGUMENT ...]\n"), 2;
    snprintf(path, sizeof path, "/run/netns/%s", argv[1]);
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 || setns(fd, CLONE_NEWNET) < 0) return fprintf(stderr, "enter: %s: %s\n", path, strerror(errno)), 1;
    execvp(argv[2], argv + 2);
    fprintf(stderr, "enter: failed to execute %s: %s\n", argv[2], strerror(errno));
    return 127;
}
