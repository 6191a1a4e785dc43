/* What JavaScript calls. Arguments come from lib/native.ts only, which has checked them; see there for the signatures. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue.h"
#include "reader.h"
#include "statistics.h"
#include "verdict.h"

enum { MAX_ARGUMENTS = 8 };

struct call {
  napi_env env;
  napi_value arguments[MAX_ARGUMENTS];
  struct nfq_queue *queue;
};

static bool read_call(napi_env env, napi_callback_info info, struct call *call) {
  size_t count = MAX_ARGUMENTS;
  call->env = env;
  call->queue = NULL;
  return napi_get_cb_info(env, info, &count, call->arguments, NULL, NULL) == napi_ok;
}

/* For calls whose first argument is an open queue. A closed one is refused in JavaScript already. */
static bool read_queue_call(napi_env env, napi_callback_info info, struct call *call) {
  if (!read_call(env, info, call)) return false;
  if (napi_unwrap(env, call->arguments[0], (void **)&call->queue) != napi_ok || call->queue->closed) {
    napi_throw_error(env, NULL, "not an open queue");
    return false;
  }
  return true;
}

static uint32_t get_u32(const struct call *call, int i) {
  uint32_t value = 0;
  napi_get_value_uint32(call->env, call->arguments[i], &value);
  return value;
}

static double get_double(const struct call *call, int i) {
  double value = 0;
  napi_get_value_double(call->env, call->arguments[i], &value);
  return value;
}

static const uint32_t *get_words(const struct call *call, int i, size_t *count) {
  void *data = NULL;
  *count = 0;
  napi_get_typedarray_info(call->env, call->arguments[i], NULL, count, &data, NULL, NULL);
  return data;
}

static napi_value number(napi_env env, int64_t value) {
  napi_value result;
  return napi_create_int64(env, value, &result) == napi_ok ? result : NULL;
}

static void set(napi_env env, napi_value object, const char *name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

static napi_value string(napi_env env, const char *text) {
  napi_value result;
  return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result) == napi_ok ? result : NULL;
}

static napi_value failed(napi_env env, const struct nfq_failure *failure) {
  napi_value result;
  if (napi_create_object(env, &result) != napi_ok) return NULL;
  set(env, result, "errno", number(env, failure->error));
  set(env, result, "syscall", string(env, failure->call));
  return result;
}

/* open(settings: Float64Array of 9, dispatch, records, replies, played?) */
static napi_value open_queue(napi_env env, napi_callback_info info) {
  struct call call;
  double *values = NULL;
  size_t count = 0;
  if (!read_call(env, info, &call)) return NULL;
  napi_get_typedarray_info(env, call.arguments[0], NULL, &count, (void **)&values, NULL, NULL);
  if (count < 9) return NULL;
  char played[128];
  size_t length;
  bool is_played = napi_get_value_string_utf8(env, call.arguments[4], played, sizeof played, &length) == napi_ok;
  const struct nfq_settings settings = {
      .queue = (uint16_t)values[0], .copy_range = (uint32_t)values[1], .max_length = (uint32_t)values[2],
      .receive_buffer = (uint32_t)values[3], .flags = (uint32_t)values[4], .netns = (int)values[5],
      .played = is_played ? played : NULL};
  struct nfq_socket socket;
  struct nfq_failure failure;
  if (nfq_socket_open(&settings, &socket, &failure) < 0) return failed(env, &failure);
  napi_value self;
  if (napi_create_object(env, &self) != napi_ok) {
    nfq_socket_close(&socket);
    return NULL;
  }
  const struct nfq_reading reading = {.slots = (uint32_t)values[6], .slot_size = (uint32_t)values[7], .coalesce_us = (uint32_t)values[8]};
  if (!nfq_queue_create(env, &socket, &reading, self, call.arguments[1], call.arguments[2], call.arguments[3])) return NULL;
  set(env, self, "port", number(env, socket.port));
  set(env, self, "receiveBuffer", number(env, socket.receive_buffer));
  set(env, self, "bufferForced", number(env, socket.buffer_forced));
  return self;
}

static napi_value close_queue(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  nfq_queue_close(call.queue);
  return NULL;
}

static napi_value start_queue(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  nfq_reader_start(call.queue);
  return NULL;
}

static napi_value ref_queue(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  nfq_queue_ref(call.queue, get_u32(&call, 1) != 0);
  return NULL;
}

/* Arguments i and i+1: code, and mark or -1 for none. */
static struct nfq_verdict get_verdict(const struct call *call, int i) {
  double mark = get_double(call, i + 1);
  return (struct nfq_verdict){.code = get_u32(call, i), .mark = mark < 0 ? 0 : (uint32_t)mark, .has_mark = mark >= 0};
}

/* verdict(queue, id, code, mark, payload?) */
static napi_value verdict(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  const struct nfq_verdict verdict = get_verdict(&call, 2);
  void *payload = NULL;
  size_t length = 0;
  bool has_payload = false;
  napi_is_typedarray(env, call.arguments[4], &has_payload);
  if (has_payload) napi_get_typedarray_info(env, call.arguments[4], NULL, &length, &payload, NULL, NULL);
  if (has_payload && !payload) payload = ""; /* an empty array has no memory */
  return number(env, nfq_verdict_one(&call.queue->socket, &call.queue->held, get_u32(&call, 1), &verdict, payload, length));
}

/* verdictUpTo(queue, id, code, mark) */
static napi_value verdict_up_to(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  const struct nfq_verdict verdict = get_verdict(&call, 2);
  return number(env, nfq_verdict_up_to(&call.queue->socket, &call.queue->held, get_u32(&call, 1), &verdict));
}

/* verdicts(queue, ids, flags, code, mark) */
static napi_value verdicts(napi_env env, napi_callback_info info) {
  struct call call;
  size_t count;
  if (!read_queue_call(env, info, &call)) return NULL;
  const uint32_t *ids = get_words(&call, 1, &count);
  const struct nfq_verdict verdict = get_verdict(&call, 3);
  return number(env, nfq_verdict_many(&call.queue->socket, &call.queue->held, ids, count, &verdict, (int)get_u32(&call, 2)));
}

/* verdictAll(queue, lastId, code, mark) */
static napi_value verdict_all(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  const struct nfq_verdict verdict = get_verdict(&call, 2);
  return number(env, nfq_verdict_all(&call.queue->socket, &call.queue->held, get_u32(&call, 1), &verdict));
}

/* chunkEnd(queue, ids, from, maxPackets, maxBytes): where a chunk that begins at `from` ends; one packet at least. */
static napi_value chunk_end(napi_env env, napi_callback_info info) {
  struct call call;
  size_t count;
  if (!read_queue_call(env, info, &call)) return NULL;
  const uint32_t *ids = get_words(&call, 1, &count);
  size_t from = get_u32(&call, 2), end = from;
  double packets = get_double(&call, 3), bytes = get_double(&call, 4);
  while (end < count && packets >= 1) {
    bytes -= held_length(&call.queue->held, ids[end]);
    if (bytes < 0 && end > from) break;
    packets--;
    end++;
  }
  return number(env, (int64_t)end);
}

static napi_value held_count_of(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  return number(env, call.queue->held.count);
}

/* heldIds(queue, ids): fills it, oldest first. */
static napi_value held_ids_of(napi_env env, napi_callback_info info) {
  struct call call;
  size_t count;
  if (!read_queue_call(env, info, &call)) return NULL;
  const uint32_t *ids = get_words(&call, 1, &count);
  return number(env, held_ids(&call.queue->held, (uint32_t *)ids, (uint32_t)count));
}

/* forget(queue): the kernel holds none of them any more. */
static napi_value forget(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  held_free(&call.queue->held);
  return NULL;
}

static napi_value sequence(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  return number(env, call.queue->socket.sequence);
}

/* deviceName(queue, index): string or undefined */
static napi_value device_name(napi_env env, napi_callback_info info) {
  struct call call;
  char name[16];
  if (!read_queue_call(env, info, &call)) return NULL;
  if (nfq_device_name(&call.queue->socket, get_u32(&call, 1), name) < 0) return NULL;
  return string(env, name);
}

/* statistics(queue, words: Uint32Array of 8): 1, 0 if the kernel has no such queue, or -errno */
static napi_value statistics(napi_env env, napi_callback_info info) {
  struct call call;
  size_t count;
  if (!read_queue_call(env, info, &call)) return NULL;
  void *words = (void *)get_words(&call, 1, &count);
  struct nfq_statistics read;
  int status = nfq_statistics_read(call.queue->socket.statistics, call.queue->socket.queue, &read);
  if (status > 0 && count * 4 >= sizeof read) memcpy(words, &read, sizeof read);
  return number(env, status);
}

/* readNet(netns, name): what /proc/net/<name> says in that namespace, or {errno, syscall} */
static napi_value read_net(napi_env env, napi_callback_info info) {
  struct call call;
  char name[64], *text = NULL;
  size_t length = 0, used = 0, capacity = 0;
  if (!read_call(env, info, &call)) return NULL;
  napi_get_value_string_utf8(env, call.arguments[1], name, sizeof name, &length);
  struct nfq_failure failure;
  int fd = nfq_proc_open((int)get_double(&call, 0), name, &failure);
  if (fd < 0) return failed(env, &failure);
  for (;;) {
    if (used == capacity) {
      char *larger = realloc(text, capacity += 65536);
      if (!larger) break;
      text = larger;
    }
    ssize_t got = read(fd, text + used, capacity - used);
    if (got <= 0) break;
    used += (size_t)got;
  }
  close(fd);
  napi_value result = NULL;
  napi_create_string_utf8(env, text ? text : "", used, &result);
  free(text);
  return result;
}

/* Arguments i to i+4: netns, protocol, type, flags, body. */
static struct nfq_request get_request(const struct call *call, int i) {
  struct nfq_request request = {.netns = (int)get_double(call, i), .protocol = (int)get_u32(call, i + 1), .type = (uint16_t)get_u32(call, i + 2),
                                .flags = (uint16_t)get_u32(call, i + 3), .fd = -1};
  request.body = get_words(call, i + 4, &request.length);
  return request;
}

/* request(netns, protocol, type, flags, body: Uint8Array): nothing, or {errno, syscall} */
static napi_value request(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_call(env, info, &call)) return NULL;
  struct nfq_request request = get_request(&call, 0);
  struct nfq_failure failure;
  if (nfq_request_open(&request, &failure) < 0) return failed(env, &failure);
  int status = nfq_request_send(&request, &failure);
  nfq_request_close(&request);
  return status < 0 ? failed(env, &failure) : NULL;
}

/* requestInPause(queue, netns, protocol, type, flags, body: Uint8Array, quietUs, withinUs): nothing, or {errno, syscall} */
static napi_value request_in_pause(napi_env env, napi_callback_info info) {
  struct call call;
  if (!read_queue_call(env, info, &call)) return NULL;
  struct nfq_request request = get_request(&call, 1);
  const struct nfq_pause pause = {.quiet_us = get_u32(&call, 6), .within_us = get_u32(&call, 7)};
  struct nfq_failure failure;
  return nfq_reader_request(call.queue, &request, &pause, &failure) < 0 ? failed(env, &failure) : NULL;
}

NAPI_MODULE_INIT() {
  if (!nfq_memory_init(env)) return NULL;
  const struct {
    const char *name;
    napi_callback callback;
  } functions[] = {
      {"open", open_queue},          {"close", close_queue},     {"ref", ref_queue},
      {"start", start_queue},        {"request", request},      {"requestInPause", request_in_pause},
      {"verdict", verdict},          {"verdictUpTo", verdict_up_to}, {"verdicts", verdicts},
      {"verdictAll", verdict_all},   {"chunkEnd", chunk_end},    {"heldCount", held_count_of},
      {"heldIds", held_ids_of},      {"forget", forget},         {"sequence", sequence},
      {"deviceName", device_name},   {"statistics", statistics}, {"readNet", read_net},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].callback, NULL, &function) != napi_ok) return NULL;
    set(env, exports, functions[i].name, function);
  }
  return exports;
}
