#include "message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "wire.h"

enum { HEADERS = sizeof(struct wire_netlink) + sizeof(struct wire_nfgen) };

void put_be32(uint8_t *to, uint32_t value) {
  to[0] = (uint8_t)(value >> 24);
  to[1] = (uint8_t)(value >> 16);
  to[2] = (uint8_t)(value >> 8);
  to[3] = (uint8_t)value;
}

void message_init(struct message *message, void *space, size_t capacity, uint16_t queue, uint32_t sequence) {
  *message = (struct message){.space = space, .capacity = capacity, .queue = queue, .sequence = sequence};
}

int message_fits(const struct message *message, size_t size) {
  return message->capacity - message->length >= HEADERS + size;
}

void message_begin_bare(struct message *message, uint16_t type, uint16_t flags) {
  struct wire_netlink header = {.type = type, .flags = flags, .sequence = ++message->sequence};
  message->start = message->length;
  message_append(message, &header, sizeof header);
}

void message_begin(struct message *message, uint16_t type, uint16_t flags) {
  message_begin_bare(message, type, flags);
  uint8_t *at = message->space + message->length;
  at[0] = 0; /* AF_UNSPEC */
  at[1] = 0; /* NFNETLINK_V0 */
  at[2] = (uint8_t)(message->queue >> 8);
  at[3] = (uint8_t)message->queue;
  message->length += sizeof(struct wire_nfgen);
}

void message_put(struct message *message, uint16_t type, const void *data, size_t size) {
  struct wire_attribute header = {.length = (uint16_t)(sizeof header + size), .type = type};
  uint8_t *at = message->space + message->length;
  size_t padded = WIRE_ALIGN(sizeof header + size);
  memcpy(at, &header, sizeof header);
  memcpy(at + sizeof header, data, size);
  memset(at + sizeof header + size, 0, padded - sizeof header - size);
  message->length += padded;
}

void message_append(struct message *message, const void *data, size_t size) {
  memcpy(message->space + message->length, data, size);
  message->length += size;
}

void message_put_be32(struct message *message, uint16_t type, uint32_t value) {
  uint8_t bytes[4];
  put_be32(bytes, value);
  message_put(message, type, bytes, sizeof bytes);
}

void message_end(struct message *message) {
  uint32_t length = (uint32_t)(message->length - message->start);
  memcpy(message->space + message->start + offsetof(struct wire_netlink, length), &length, sizeof length);
}

void message_ask_ack(struct message *message) {
  uint16_t flags = WIRE_F_REQUEST | WIRE_F_ACK;
  memcpy(message->space + message->start + offsetof(struct wire_netlink, flags), &flags, sizeof flags);
}

int message_send(const struct message *message, int fd) {
  ssize_t sent;
  /* Without an address a netlink socket sends to the kernel (netlink(7): port 0). */
  do sent = send(fd, message->space, message->length, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -1 : 0;
}
