/* Building netlink messages in a fixed space, and sending them to the kernel in one system call. */
#ifndef NFQUEUE_MESSAGE_H
#define NFQUEUE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

struct message {
  uint8_t *space;
  size_t capacity;
  size_t length;   /* of all messages so far */
  size_t start;    /* of the current one */
  uint16_t queue;
  uint32_t sequence; /* of the current one */
};

void put_be32(uint8_t *to, uint32_t value);

/* `sequence` is the last one used before. */
void message_init(struct message *message, void *space, size_t capacity, uint16_t queue, uint32_t sequence);

/* Whether a message with attributes of `size` bytes (headers and padding included) still fits. */
int message_fits(const struct message *message, size_t size);

/* One of nfnetlink_queue's. */
void message_begin(struct message *message, uint16_t type, uint16_t flags);
/* One of any kind, whose own header is to be appended. */
void message_begin_bare(struct message *message, uint16_t type, uint16_t flags);
void message_put(struct message *message, uint16_t type, const void *data, size_t size);
/* What is in the kernel's form already. */
void message_append(struct message *message, const void *data, size_t size);
void message_put_be32(struct message *message, uint16_t type, uint32_t value);
void message_end(struct message *message);

/* Asks for an ACK of the message that was ended last. */
void message_ask_ack(struct message *message);

/* Sends everything built so far. 0, or -1 with errno. */
int message_send(const struct message *message, int fd);

#endif
