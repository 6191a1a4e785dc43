#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Reads before the loop gets its turn again: a flood must not starve timers and other descriptors. */
enum { ROUNDS_A_TURN = 8 };

static void disown(struct nfq_queue *queue) {
  if (--queue->owners > 0) return;
  held_free(&queue->held);
  free(queue->headers);
  free(queue->parts);
  free(queue);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  disown(data);
}

static void on_closed(uv_handle_t *handle) {
  struct nfq_queue *queue = handle->data;
  /* Also tells an environment that is being torn down that it may go on. */
  if (queue->cleanup) napi_remove_async_cleanup_hook(queue->cleanup);
  disown(queue);
}

static void close_handle(struct nfq_queue *queue) {
  queue->closed = true;
  uv_poll_stop(&queue->poll);
  nfq_socket_close(&queue->socket);
  uv_close((uv_handle_t *)&queue->poll, on_closed);
}

static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  struct nfq_queue *queue = data;
  if (!queue->closed) close_handle(queue);
}

void nfq_queue_close(struct nfq_queue *queue) {
  if (queue->closed) return;
  close_handle(queue);
  held_free(&queue->held);
  napi_ref *references[] = {&queue->self, &queue->dispatch, &queue->buffer, &queue->records_ref, &queue->replies_ref};
  for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
    if (*references[i]) napi_delete_reference(queue->env, *references[i]);
    *references[i] = NULL;
  }
  if (queue->context) napi_async_destroy(queue->env, queue->context);
  queue->context = NULL;
}

/*
 * The receive buffer is JavaScript's, and a listener may have transferred it away (postMessage with a transfer list): then
 * there is a new one from now on. NULL if there is no memory for it.
 */
static uint8_t *receive_buffer(struct nfq_queue *queue, napi_value *value) {
  void *data = NULL;
  size_t length = 0, wanted = (size_t)queue->slots * queue->slot_size;
  if (queue->buffer) {
    if (napi_get_reference_value(queue->env, queue->buffer, value) != napi_ok) return NULL;
    napi_get_arraybuffer_info(queue->env, *value, &data, &length);
    if (length == wanted) return data;
    napi_delete_reference(queue->env, queue->buffer);
    queue->buffer = NULL;
  }
  if (napi_create_arraybuffer(queue->env, wanted, &data, value) != napi_ok) return NULL;
  if (napi_create_reference(queue->env, *value, 1, &queue->buffer) != napi_ok) return NULL;
  for (uint32_t i = 0; i < queue->slots; i++) {
    queue->parts[i] = (struct iovec){.iov_base = (uint8_t *)data + (size_t)i * queue->slot_size, .iov_len = queue->slot_size};
    queue->headers[i].msg_hdr = (struct msghdr){.msg_iov = &queue->parts[i], .msg_iovlen = 1};
  }
  return data;
}

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
  napi_make_callback(env, queue->context, self, dispatch, 6, arguments, NULL);
}

/* Takes over what one recvmmsg brought. */
static void take(struct nfq_queue *queue, const uint8_t *data, unsigned count, struct report *report) {
  struct nfq_sink sink = {.packets = queue->records, .replies = queue->replies, .packet_capacity = queue->slots,
                          .reply_capacity = queue->slots};
  for (unsigned i = 0; i < count; i++) {
    uint32_t length = queue->headers[i].msg_len;
    if (length > queue->slot_size) length = queue->slot_size;
    nfq_parse(data, (size_t)i * queue->slot_size, length, &sink);
  }
  for (uint32_t i = 0; i < sink.packet_count; i++) {
    if (held_add(&queue->held, sink.packets[i].id, sink.packets[i].length) < 0) report->error = ENOMEM;
  }
  report->packets = sink.packet_count;
  report->replies = sink.reply_count;
  report->malformed = sink.malformed;
}

/* One read and one call of JavaScript. Whether there may be more to read. */
static bool read_burst(struct nfq_queue *queue) {
  napi_value buffer;
  struct report report = {0};
  uint8_t *data = receive_buffer(queue, &buffer);
  if (!data) return false;
  int count = recvmmsg(queue->socket.fd, queue->headers, queue->slots, MSG_DONTWAIT, NULL);
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
    uv_poll_stop(&queue->poll);
  }
  tell(queue, &report, buffer);
  return !queue->closed && !(report.flags & NFQ_FAILED) && (count < 0 || (uint32_t)count == queue->slots);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
  (void)status; /* an error condition of the socket shows in the read */
  (void)events;
  struct nfq_queue *queue = handle->data;
  for (int round = 0; round < ROUNDS_A_TURN; round++) {
    napi_handle_scope scope;
    if (napi_open_handle_scope(queue->env, &scope) != napi_ok) return;
    bool more = read_burst(queue);
    napi_close_handle_scope(queue->env, scope);
    if (!more) return;
  }
}

static bool keep(struct nfq_queue *queue, napi_value self, napi_value dispatch, napi_value records, napi_value replies) {
  napi_env env = queue->env;
  napi_value name;
  size_t record_words = 0, reply_words = 0;
  void *record_data, *reply_data;
  if (napi_get_typedarray_info(env, records, NULL, &record_words, &record_data, NULL, NULL) != napi_ok) return false;
  if (napi_get_typedarray_info(env, replies, NULL, &reply_words, &reply_data, NULL, NULL) != napi_ok) return false;
  if (record_words * 4 < queue->slots * sizeof *queue->records || reply_words * 4 < queue->slots * sizeof *queue->replies) return false;
  queue->records = record_data;
  queue->replies = reply_data;
  return napi_create_reference(env, self, 1, &queue->self) == napi_ok &&
         napi_create_reference(env, dispatch, 1, &queue->dispatch) == napi_ok &&
         napi_create_reference(env, records, 1, &queue->records_ref) == napi_ok &&
         napi_create_reference(env, replies, 1, &queue->replies_ref) == napi_ok &&
         napi_create_string_utf8(env, "NFQUEUE", NAPI_AUTO_LENGTH, &name) == napi_ok &&
         napi_async_init(env, self, name, &queue->context) == napi_ok &&
         napi_add_async_cleanup_hook(env, on_environment_end, queue, &queue->cleanup) == napi_ok;
}

/* Before the loop's handle exists: gives everything back. */
static struct nfq_queue *refuse(struct nfq_queue *queue, struct nfq_socket *socket, napi_env env) {
  nfq_socket_close(socket);
  if (queue) {
    free(queue->headers);
    free(queue->parts);
    free(queue);
  }
  napi_throw_error(env, NULL, "queue: out of memory");
  return NULL;
}

struct nfq_queue *nfq_queue_create(napi_env env, const struct nfq_socket *socket, uint32_t slots, uint32_t slot_size,
                                   napi_value self, napi_value dispatch, napi_value records, napi_value replies) {
  struct nfq_socket owned = *socket;
  struct nfq_queue *queue = calloc(1, sizeof *queue);
  uv_loop_t *loop;
  if (!queue) return refuse(NULL, &owned, env);
  queue->env = env;
  queue->slots = slots;
  queue->slot_size = slot_size;
  queue->headers = calloc(slots, sizeof *queue->headers);
  queue->parts = calloc(slots, sizeof *queue->parts);
  if (!queue->headers || !queue->parts) return refuse(queue, &owned, env);
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || uv_poll_init(loop, &queue->poll, owned.fd) != 0) return refuse(queue, &owned, env);
  queue->socket = owned;
  queue->poll.data = queue;
  queue->owners = 1;
  if (!keep(queue, self, dispatch, records, replies) || napi_wrap(env, self, queue, finalize, NULL, NULL) != napi_ok) {
    nfq_queue_close(queue);
    napi_throw_error(env, NULL, "queue: not created");
    return NULL;
  }
  queue->owners = 2;
  return queue;
}

void nfq_queue_start(struct nfq_queue *queue) {
  if (!queue->closed && !uv_is_active((uv_handle_t *)&queue->poll)) uv_poll_start(&queue->poll, UV_READABLE, on_readable);
}
