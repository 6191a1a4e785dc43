#include "statistics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int parse_line(const char *line, uint16_t queue, struct nfq_statistics *s) {
  int fields = sscanf(line, "%u %u %u %u %u %u %u %u", &s->queue, &s->port, &s->held, &s->copy_mode, &s->copy_range,
                      &s->queue_dropped, &s->user_dropped, &s->last_id);
  return fields == 8 && s->queue == queue;
}

int nfq_statistics_read(int fd, uint16_t queue, struct nfq_statistics *statistics) {
  char buffer[4096];
  size_t used = 0;
  if (fd < 0) return -ENOENT;
  if (lseek(fd, 0, SEEK_SET) < 0) return -errno;
  for (;;) {
    ssize_t length = read(fd, buffer + used, sizeof buffer - 1 - used);
    if (length < 0) return -errno;
    if (length == 0) return 0;
    used += (size_t)length;
    buffer[used] = 0;
    char *line = buffer, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
      *end = 0;
      if (parse_line(line, queue, statistics)) return 1;
    }
    used -= (size_t)(line - buffer);
    if (used == sizeof buffer - 1) return -EPROTO; /* a line that long is not this file's */
    memmove(buffer, line, used);
  }
}
