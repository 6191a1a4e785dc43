#include "reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Reads before the loop gets its turn again: a flood must not starve timers and other descriptors. */
enum { ROUNDS_A_TURN = 8 };

/* A flood is 40 packets a millisecond, over half a millisecond at least. */
enum { WINDOW_NS = 500000, FLOOD_PER_MS = 40 };

/* Under a flood a tick that brings less than this ends it. */
enum { CALM_PACKETS = 2 };

struct report {
  uint32_t packets;
  uint32_t replies;
  uint32_t flags;
  uint32_t malformed;
  uint32_t error;
};

static void tell(struct nfq_queue *queue, const struct report *report, napi_value buffer) {
  napi_value self, dispatch, arguments[6];
  napi_env env = queue->env;
  if (napi_get_reference_value(env, queue->self, &self) != napi_ok) return;
  if (napi_get_reference_value(env, queue->dispatch, &dispatch) != napi_ok) return;
  const uint32_t numbers[] = {report->packets, report->replies, report->flags, report->malformed, report->error};
  for (size_t i = 0; i < 5; i++) {
    if (napi_create_uint32(env, numbers[i], &arguments[i]) != napi_ok) return;
  }
  arguments[5] = buffer;
  if (napi_make_callback(env, queue->context, self, dispatch, 6, arguments, NULL) != napi_pending_exception) return;
  /* A listener of 'error' threw, or there was none: as with any emitter, that is the process's to know. */
  napi_value exception;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

/* Takes over what one recvmmsg brought. */
static void take(struct nfq_queue *queue, const uint8_t *data, unsigned count, struct report *report) {
  const struct nfq_memory *memory = queue->memory;
  struct nfq_sink sink = {.packets = queue->records, .replies = queue->replies, .packet_capacity = memory->slots, .reply_capacity = memory->slots};
  for (unsigned i = 0; i < count; i++) {
    uint32_t length = memory->headers[i].msg_len;
    if (length > memory->slot_size) length = memory->slot_size;
    nfq_parse(data, (size_t)i * memory->slot_size, length, &sink);
  }
  for (uint32_t i = 0; i < sink.packet_count; i++) {
    if (held_add(&queue->held, sink.packets[i].id, sink.packets[i].length) < 0) report->error = ENOMEM;
  }
  report->packets = sink.packet_count;
  report->replies = sink.reply_count;
  report->malformed = sink.malformed;
}

/* One read and one call of JavaScript. Whether there may be more to read; adds what came to `packets`. */
static bool read_burst(struct nfq_queue *queue, uint32_t *packets) {
  napi_value buffer;
  struct report report = {0};
  uint8_t *data = nfq_memory_buffer(queue->memory, &buffer);
  if (!data) return false;
  int count = recvmmsg(queue->socket.fd, queue->memory->headers, queue->memory->slots, MSG_DONTWAIT, NULL);
  if (count > 0 && queue->memory->headers[0].msg_len == 0) { /* whoever played the kernel is gone */
    count = -1;
    errno = ECONNRESET;
  }
  if (count > 0) {
    take(queue, data, (unsigned)count, &report);
  } else if (errno == EINTR) {
    return true;
  } else if (errno == ENOBUFS) {
    report.flags = NFQ_OVERFLOW;
  } else if (errno == EAGAIN) {
    return false;
  } else {
    report.flags = NFQ_FAILED;
    report.error = (uint32_t)errno;
    queue->failed = true;
    uv_poll_stop(&queue->poll);
    uv_poll_stop(&queue->tick);
  }
  *packets += report.packets;
  if (report.packets > 0) queue->last_packets = uv_hrtime();
  tell(queue, &report, buffer);
  return !queue->closed && !queue->failed && (count < 0 || (uint32_t)count == queue->memory->slots);
}

/* Reads what there is, within limits. Whether there is more. */
static bool read_turn(struct nfq_queue *queue, uint32_t *packets) {
  bool more = true;
  for (int round = 0; more && round < ROUNDS_A_TURN; round++) {
    napi_handle_scope scope;
    if (napi_open_handle_scope(queue->env, &scope) != napi_ok) return false;
    more = read_burst(queue, packets);
    napi_close_handle_scope(queue->env, scope);
  }
  return more;
}

static void arm(struct nfq_queue *queue, long nanoseconds) {
  const struct itimerspec time = {.it_value.tv_nsec = nanoseconds};
  timerfd_settime(queue->timer, 0, &time, NULL);
}

static void on_readable(uv_poll_t *handle, int status, int events);

/*
 * Under a flood, being woken costs more than reading: then the socket is left alone for a moment, and the timer says when
 * to read what has come. Like a network card's interrupt moderation, and the event loop is free meanwhile.
 */
static void on_tick(uv_poll_t *handle, int status, int events) {
  (void)status;
  (void)events;
  struct nfq_queue *queue = handle->data;
  uint64_t expirations;
  uint32_t packets = 0;
  if (read(queue->timer, &expirations, sizeof expirations) < 0) return;
  bool more = read_turn(queue, &packets);
  if (queue->closed || queue->failed) return;
  if (packets >= CALM_PACKETS) {
    arm(queue, more ? 1 : (long)queue->coalesce_us * 1000);
    return;
  }
  queue->window_start = 0;
  uv_poll_stop(&queue->tick);
  uv_poll_start(&queue->poll, UV_READABLE, on_readable);
}

static bool is_flood(struct nfq_queue *queue, uint32_t packets) {
  uint64_t now = uv_hrtime();
  uint64_t elapsed = now - queue->window_start;
  queue->window_packets += packets;
  if (elapsed < WINDOW_NS) return false;
  bool flood = queue->window_packets >= elapsed / 1000000.0 * FLOOD_PER_MS;
  queue->window_start = now;
  queue->window_packets = 0;
  return flood;
}

static void on_readable(uv_poll_t *handle, int status, int events) {
  (void)events;
  struct nfq_queue *queue = handle->data;
  uint32_t packets = 0;
  bool more = read_turn(queue, &packets);
  if (queue->closed || queue->failed) return;
  /* libuv lets go of a descriptor with an error condition; ours is ENOBUFS mostly, and passes with the read. */
  if (status < 0) uv_poll_start(handle, UV_READABLE, on_readable);
  if (more || queue->coalesce_us == 0 || !is_flood(queue, packets)) return;
  uv_poll_stop(&queue->poll);
  uv_poll_start(&queue->tick, UV_READABLE, on_tick);
  arm(queue, (long)queue->coalesce_us * 1000);
}

void nfq_reader_start(struct nfq_queue *queue) {
  if (queue->closed || queue->started) return;
  queue->started = true;
  uv_poll_start(&queue->poll, UV_READABLE, on_readable);
}

/*
 * Reads, and lets JavaScript settle what it reads, until nothing has come for a while or time is up. The while may have
 * been before: then one look is enough.
 */
static void await_quiet(struct nfq_queue *queue, const struct nfq_pause *pause) {
  const uint64_t start = uv_hrtime();
  for (uint64_t now = start; !queue->closed && !queue->failed && now - start < pause->within_us * 1000ull; now = uv_hrtime()) {
    uint32_t packets = 0;
    read_turn(queue, &packets);
    if (packets == 0 && uv_hrtime() - queue->last_packets >= pause->quiet_us * 1000ull) return;
  }
}

int nfq_reader_request(struct nfq_queue *queue, struct nfq_request *request, const struct nfq_pause *pause, struct nfq_failure *failure) {
  uint32_t packets = 0;
  if (nfq_request_open(request, failure) < 0) return -1;
  if (queue->started) await_quiet(queue, pause);
  int status = nfq_request_send(request, failure);
  if (queue->started && !queue->closed && !queue->failed) read_turn(queue, &packets);
  nfq_request_close(request);
  return status;
}
