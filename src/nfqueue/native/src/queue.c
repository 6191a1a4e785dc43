#include "queue.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "reader.h"

static void disown(struct nfq_queue *queue) {
  if (--queue->owners > 0) return;
  held_free(&queue->held);
  free(queue);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  disown(data);
}

static void on_closed(uv_handle_t *handle) {
  struct nfq_queue *queue = handle->data;
  if (--queue->handles > 0) return;
  /* Also tells an environment that is being torn down that it may go on. */
  if (queue->cleanup) napi_remove_async_cleanup_hook(queue->cleanup);
  disown(queue);
}

static void close_handle(struct nfq_queue *queue) {
  bool has_tick = queue->handles == 2;
  queue->closed = true;
  uv_poll_stop(&queue->poll);
  if (has_tick) uv_poll_stop(&queue->tick);
  nfq_socket_close(&queue->socket);
  close(queue->timer);
  uv_close((uv_handle_t *)&queue->poll, on_closed);
  if (has_tick) uv_close((uv_handle_t *)&queue->tick, on_closed);
}

void nfq_queue_close(struct nfq_queue *queue) {
  if (queue->closed) return;
  close_handle(queue);
  held_free(&queue->held);
  napi_ref *references[] = {&queue->self, &queue->dispatch, &queue->records_ref, &queue->replies_ref};
  for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
    if (*references[i]) napi_delete_reference(queue->env, *references[i]);
    *references[i] = NULL;
  }
  if (queue->context) napi_async_destroy(queue->env, queue->context);
  queue->context = NULL;
  nfq_memory_leave(queue->memory);
  queue->memory = NULL;
}

/* The environment's own references would go with it, but not the memory of ours. */
static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  nfq_queue_close(data);
}

static bool keep(struct nfq_queue *queue, napi_value self, napi_value dispatch, napi_value records, napi_value replies) {
  napi_env env = queue->env;
  napi_value name;
  size_t record_words = 0, reply_words = 0;
  void *record_data, *reply_data;
  if (napi_get_typedarray_info(env, records, NULL, &record_words, &record_data, NULL, NULL) != napi_ok) return false;
  if (napi_get_typedarray_info(env, replies, NULL, &reply_words, &reply_data, NULL, NULL) != napi_ok) return false;
  const size_t slots = queue->memory->slots;
  if (record_words * 4 < slots * sizeof *queue->records || reply_words * 4 < slots * sizeof *queue->replies) return false;
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

/* Before the loop's handles exist: gives everything back. */
static struct nfq_queue *refuse(struct nfq_queue *queue, struct nfq_socket *socket, napi_env env) {
  nfq_socket_close(socket);
  if (queue) {
    if (queue->timer >= 0) close(queue->timer);
    if (queue->memory) nfq_memory_leave(queue->memory);
    free(queue);
  }
  napi_throw_error(env, NULL, "queue: out of memory or descriptors");
  return NULL;
}

static struct nfq_queue *allocate(napi_env env, const struct nfq_reading *reading) {
  struct nfq_queue *queue = calloc(1, sizeof *queue);
  if (!queue) return NULL;
  queue->coalesce_us = reading->coalesce_us;
  queue->memory = nfq_memory_share(env, reading->slots, reading->slot_size);
  queue->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  return queue;
}

struct nfq_queue *nfq_queue_create(napi_env env, const struct nfq_socket *socket, const struct nfq_reading *reading,
                                   napi_value self, napi_value dispatch, napi_value records, napi_value replies) {
  struct nfq_socket owned = *socket;
  struct nfq_queue *queue = allocate(env, reading);
  uv_loop_t *loop;
  if (!queue || !queue->memory || queue->timer < 0) return refuse(queue, &owned, env);
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return refuse(queue, &owned, env);
  if (uv_poll_init(loop, &queue->poll, owned.fd) != 0) return refuse(queue, &owned, env);
  queue->env = env;
  queue->socket = owned;
  queue->poll.data = queue->tick.data = queue;
  queue->handles = queue->owners = 1;
  if (uv_poll_init(loop, &queue->tick, queue->timer) == 0) queue->handles = 2;
  if (queue->handles < 2 || !keep(queue, self, dispatch, records, replies) || napi_wrap(env, self, queue, finalize, NULL, NULL) != napi_ok) {
    nfq_queue_close(queue);
    napi_throw_error(env, NULL, "queue: not created");
    return NULL;
  }
  queue->owners = 2;
  return queue;
}

void nfq_queue_ref(struct nfq_queue *queue, bool on) {
  uv_handle_t *handles[] = {(uv_handle_t *)&queue->poll, (uv_handle_t *)&queue->tick};
  for (size_t i = 0; i < 2; i++) {
    if (on) uv_ref(handles[i]);
    else uv_unref(handles[i]);
  }
}
