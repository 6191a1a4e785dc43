#include "verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "message.h"
#include "wire.h"

/* A verdict message without payload: headers 20, verdict 12, mark 8. */
enum { VERDICT_SIZE = 40, VERDICTS_A_CALL = 1024 };

static void build(struct message *message, uint16_t type, uint32_t id, const struct nfq_verdict *verdict) {
  uint8_t header[8];
  put_be32(header, verdict->code);
  put_be32(header + 4, id);
  message_begin(message, type, WIRE_F_REQUEST);
  message_put(message, WIRE_A_VERDICT_HDR, header, sizeof header);
  if (verdict->has_mark) message_put_be32(message, WIRE_A_MARK, verdict->mark);
  message_end(message);
}

static int send_built(struct nfq_socket *socket, const struct message *message) {
  if (message_send(message, socket->fd) < 0) return -errno;
  socket->sequence = message->sequence;
  return 0;
}

int64_t nfq_verdict_one(struct nfq_socket *socket, struct held *held, uint32_t id, const struct nfq_verdict *verdict,
                        const void *payload, size_t payload_length) {
  if (!held_has(held, id)) return 0;
  uint8_t small[VERDICT_SIZE];
  size_t capacity = payload ? VERDICT_SIZE + 8 + payload_length : sizeof small;
  uint8_t *space = payload ? malloc(capacity) : small;
  if (!space) return -ENOMEM;
  struct message message;
  message_init(&message, space, capacity, socket->queue, socket->sequence);
  build(&message, WIRE_VERDICT, id, verdict);
  if (payload) {
    message_put(&message, WIRE_A_PAYLOAD, payload, payload_length);
    message_end(&message);
  }
  int status = send_built(socket, &message);
  if (payload) free(space);
  uint32_t length;
  return status < 0 ? status : held_remove(held, id, &length);
}

static int64_t send_batch(struct nfq_socket *socket, uint32_t id, const struct nfq_verdict *verdict, int flags) {
  uint8_t space[VERDICT_SIZE];
  struct message message;
  message_init(&message, space, sizeof space, socket->queue, socket->sequence);
  build(&message, WIRE_VERDICT_BATCH, id, verdict);
  if (flags & NFQ_ASK_ACK) message_ask_ack(&message);
  return send_built(socket, &message);
}

int64_t nfq_verdict_up_to(struct nfq_socket *socket, struct held *held, uint32_t id, const struct nfq_verdict *verdict) {
  if (held_count_up_to(held, id) == 0) return 0;
  int64_t status = send_batch(socket, id, verdict, 0);
  return status < 0 ? status : (int64_t)held_remove_up_to(held, id);
}

/* Whether `ids` ascend, are all held, and nothing else is held up to the last: then a batch verdict means the same. */
static int is_prefix(const struct held *held, const uint32_t *ids, size_t count) {
  if (count < 2 || held_count_up_to(held, ids[count - 1]) != count) return 0;
  for (size_t i = 0; i < count; i++) {
    if (!held_has(held, ids[i]) || (i > 0 && (int32_t)(ids[i] - ids[i - 1]) <= 0)) return 0;
  }
  return 1;
}

/* Sends what was built and takes the packets off the table, or puts them back if the kernel would not have it. */
static int64_t flush(struct nfq_socket *socket, struct held *held, struct message *message, const uint32_t *ids,
                     const uint32_t *lengths, size_t count) {
  int status = send_built(socket, message);
  if (status == 0) return (int64_t)count;
  for (size_t i = 0; i < count; i++) held_add(held, ids[i], lengths[i]);
  return status;
}

int64_t nfq_verdict_many(struct nfq_socket *socket, struct held *held, const uint32_t *ids, size_t count,
                         const struct nfq_verdict *verdict, int flags) {
  if ((flags & NFQ_ALLOW_BATCH) && is_prefix(held, ids, count)) {
    int64_t status = send_batch(socket, ids[count - 1], verdict, flags);
    return status < 0 ? status : (int64_t)held_remove_up_to(held, ids[count - 1]);
  }
  uint8_t space[VERDICTS_A_CALL * VERDICT_SIZE];
  uint32_t taken[VERDICTS_A_CALL], lengths[VERDICTS_A_CALL];
  int64_t settled = 0;
  for (size_t i = 0; i < count;) {
    struct message message;
    size_t n = 0;
    message_init(&message, space, sizeof space, socket->queue, socket->sequence);
    for (; i < count && n < VERDICTS_A_CALL; i++) {
      if (!held_remove(held, ids[i], &lengths[n])) continue; /* not held: a second verdict on it is not sent */
      taken[n++] = ids[i];
      build(&message, WIRE_VERDICT, ids[i], verdict);
    }
    if (n == 0) break;
    if (flags & NFQ_ASK_ACK) message_ask_ack(&message); /* each call: what is left may turn out not to be held */
    int64_t status = flush(socket, held, &message, taken, lengths, n);
    if (status < 0) return status;
    settled += status;
  }
  return settled;
}

int nfq_verdict_all(struct nfq_socket *socket, struct held *held, uint32_t last, const struct nfq_verdict *verdict) {
  int64_t status = send_batch(socket, last, verdict, 0);
  if (status == 0) held_free(held);
  return (int)status;
}
