/* Fuzzes what reads the kernel's messages: src/nfqueue/native/src/parse.c. The first byte says where the datagram lies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../src/nfqueue/native/src/parse.h"

enum { CAPACITY = 4 };

static void require(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

static void check_region(const struct nfq_record *record, uint32_t bit, uint32_t start, uint32_t length, size_t from, size_t to) {
  if (!(record->present & bit)) return;
  require(start >= from && start <= to && length <= to - start, "a region lies inside of its datagram");
}

static void check_record(const struct nfq_record *record, size_t from, size_t to) {
  check_region(record, NFQ_HAS_PAYLOAD, record->payload_offset, record->payload_length, from, to);
  check_region(record, NFQ_HAS_CT, record->ct_offset, record->ct_length, from, to);
  check_region(record, NFQ_HAS_SECCTX, record->secctx_offset, record->secctx_length, from, to);
  check_region(record, NFQ_HAS_L2, record->l2_offset, record->l2_length, from, to);
  check_region(record, NFQ_HAS_HW_ADDRESS, record->hw_address_offset, record->hw_address_length, from, to);
  require(record->payload_length == 0 || (record->present & NFQ_HAS_PAYLOAD), "a payload has a place");
  require(record->length >= record->payload_length, "no more is copied than there is");
  require(record->hw_protocol <= 0xffff && record->hook <= 0xff && record->vlan_tci <= 0xffff, "narrow fields are narrow");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  size_t offset = data[0] & 0x3c, length = size - 1;
  /* exactly as much memory as there is, so that AddressSanitizer sees a read beyond it */
  uint8_t *buffer = malloc(offset + length + !length);
  struct nfq_record *records = malloc(CAPACITY * sizeof *records);
  struct nfq_reply *replies = malloc(CAPACITY * sizeof *replies);
  memset(buffer, 0xa5, offset);
  memcpy(buffer + offset, data + 1, length);
  memset(records, 0, CAPACITY * sizeof *records);
  struct nfq_sink sink = {.packets = records, .replies = replies, .packet_capacity = CAPACITY, .reply_capacity = CAPACITY};
  nfq_parse(buffer, offset, length, &sink);
  require(sink.packet_count <= CAPACITY && sink.reply_count <= CAPACITY, "no more is told than there is room for");
  for (uint32_t i = 0; i < sink.packet_count; i++) check_record(&records[i], offset, offset + length);
  free(buffer);
  free(records);
  free(replies);
  return 0;
}
