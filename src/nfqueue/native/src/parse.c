#include "parse.h"

#include <string.h>

#include "wire.h"

static uint16_t read16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static uint32_t read32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

/* One attribute's value: where it lies in the receive buffer, and how long it is. */
struct value {
  const uint8_t *data;
  uint32_t length;
  uint32_t offset;
};

/* A walk over the attributes between `at` and `end`. */
struct walk {
  const uint8_t *buffer;
  size_t at;
  size_t end;
};

/* Steps to the next attribute. 1: found; 0: no more; -1: its length is a lie. A payload that was cut is clipped. */
static int next_attribute(struct walk *walk, uint16_t *type, struct value *value) {
  struct wire_attribute header;
  if (walk->end - walk->at < sizeof header) return 0;
  memcpy(&header, walk->buffer + walk->at, sizeof header);
  if (header.length < sizeof header) return -1;
  size_t length = header.length - sizeof header;
  size_t room = walk->end - walk->at - sizeof header;
  *type = header.type & WIRE_TYPE_MASK;
  if (length > room) {
    if (*type != WIRE_A_PAYLOAD) return -1;
    length = room;
  }
  value->offset = (uint32_t)(walk->at + sizeof header);
  value->data = walk->buffer + value->offset;
  value->length = (uint32_t)length;
  size_t step = WIRE_ALIGN(sizeof header + length);
  walk->at = step > walk->end - walk->at ? walk->end : walk->at + step;
  return 1;
}

static void read_word(const struct value *value, uint32_t *word, struct nfq_record *record, uint32_t bit) {
  if (value->length < 4) return;
  *word = read32(value->data);
  record->present |= bit;
}

static void read_region(const struct value *value, uint32_t *offset, uint32_t *length, struct nfq_record *record, uint32_t bit) {
  *offset = value->offset;
  *length = value->length;
  record->present |= bit;
}

static void read_timestamp(const struct value *value, struct nfq_record *record) {
  if (value->length < 16) return;
  record->seconds_high = read32(value->data);
  record->seconds_low = read32(value->data + 4);
  record->microseconds = read32(value->data + 12); /* below 1,000,000: the upper word is 0 */
  record->present |= NFQ_HAS_TIMESTAMP;
}

static void read_hw_address(const struct value *value, struct nfq_record *record) {
  if (value->length < 12) return;
  uint32_t length = read16(value->data);
  record->hw_address_length = length > 8 ? 8 : length;
  record->hw_address_offset = value->offset + 4;
  record->present |= NFQ_HAS_HW_ADDRESS;
}

static void read_vlan(const uint8_t *buffer, const struct value *value, struct nfq_record *record) {
  struct walk walk = {buffer, value->offset, value->offset + value->length};
  struct value inner;
  uint16_t type;
  while (next_attribute(&walk, &type, &inner) > 0) {
    if (inner.length < 2) continue;
    if (type == WIRE_VLAN_PROTO) {
      record->vlan_protocol = read16(inner.data);
      record->present |= NFQ_HAS_VLAN_PROTOCOL;
    } else if (type == WIRE_VLAN_TCI) {
      record->vlan_tci = read16(inner.data);
      record->present |= NFQ_HAS_VLAN_TCI;
    }
  }
}

/* Returns 1 once the packet header was seen: without it there is no id, hence no packet. */
static int read_attribute(const uint8_t *buffer, uint16_t type, const struct value *value, struct nfq_record *record) {
  switch (type) {
    case WIRE_A_PACKET_HDR:
      if (value->length < 7) return 0;
      record->id = read32(value->data);
      record->hw_protocol = read16(value->data + 4);
      record->hook = value->data[6];
      return 1;
    case WIRE_A_MARK: read_word(value, &record->mark, record, NFQ_HAS_MARK); break;
    case WIRE_A_TIMESTAMP: read_timestamp(value, record); break;
    case WIRE_A_INDEV: read_word(value, &record->in_device, record, NFQ_HAS_IN); break;
    case WIRE_A_OUTDEV: read_word(value, &record->out_device, record, NFQ_HAS_OUT); break;
    case WIRE_A_PHYSINDEV: read_word(value, &record->physical_in, record, NFQ_HAS_PHYSICAL_IN); break;
    case WIRE_A_PHYSOUTDEV: read_word(value, &record->physical_out, record, NFQ_HAS_PHYSICAL_OUT); break;
    case WIRE_A_HWADDR: read_hw_address(value, record); break;
    case WIRE_A_PAYLOAD: read_region(value, &record->payload_offset, &record->payload_length, record, NFQ_HAS_PAYLOAD); break;
    case WIRE_A_CT: read_region(value, &record->ct_offset, &record->ct_length, record, NFQ_HAS_CT); break;
    case WIRE_A_CT_INFO: read_word(value, &record->ct_info, record, NFQ_HAS_CT_INFO); break;
    case WIRE_A_CAP_LEN:
      if (value->length >= 4) record->length = read32(value->data);
      break;
    case WIRE_A_SKB_INFO: read_word(value, &record->skb_info, record, NFQ_HAS_SKB_INFO); break;
    case WIRE_A_UID: read_word(value, &record->uid, record, NFQ_HAS_UID); break;
    case WIRE_A_GID: read_word(value, &record->gid, record, NFQ_HAS_GID); break;
    case WIRE_A_SECCTX: read_region(value, &record->secctx_offset, &record->secctx_length, record, NFQ_HAS_SECCTX); break;
    case WIRE_A_VLAN: read_vlan(buffer, value, record); break;
    case WIRE_A_L2HDR: read_region(value, &record->l2_offset, &record->l2_length, record, NFQ_HAS_L2); break;
    case WIRE_A_PRIORITY: read_word(value, &record->priority, record, NFQ_HAS_PRIORITY); break;
    default: break; /* younger than this code */
  }
  return 0;
}

static void parse_packet(const uint8_t *buffer, size_t at, size_t end, struct nfq_sink *sink) {
  struct wire_nfgen nfgen;
  if (end - at < sizeof nfgen || sink->packet_count == sink->packet_capacity) {
    sink->malformed++;
    return;
  }
  memcpy(&nfgen, buffer + at, sizeof nfgen);
  struct nfq_record *record = &sink->packets[sink->packet_count];
  record->present = 0;
  record->length = 0;
  record->payload_length = 0;
  record->family = nfgen.family;

  struct walk walk = {buffer, at + sizeof nfgen, end};
  struct value value;
  uint16_t type;
  int found, identified = 0;
  while ((found = next_attribute(&walk, &type, &value)) > 0) identified |= read_attribute(buffer, type, &value, record);
  if (found < 0 || !identified) sink->malformed++;
  if (!identified) return;
  /* The kernel tells the length only where it copied less than all. */
  if (record->length < record->payload_length) record->length = record->payload_length;
  sink->packet_count++;
}

/* The answer carries what was sent: its header, and the rest of it if it was refused. */
static void parse_reply(const uint8_t *buffer, size_t at, size_t end, struct nfq_sink *sink) {
  int32_t error;
  struct wire_netlink sent;
  if (end - at < sizeof error + sizeof sent || sink->reply_count == sink->reply_capacity) {
    sink->malformed++;
    return;
  }
  memcpy(&error, buffer + at, sizeof error);
  memcpy(&sent, buffer + at + sizeof error, sizeof sent);
  struct nfq_reply *reply = &sink->replies[sink->reply_count++];
  /* -(uint32_t) and not -error: INT32_MIN has no opposite */
  reply->error = error < 0 ? -(uint32_t)error : 0;
  reply->sequence = sent.sequence;
  reply->type = sent.type;
  reply->id = 0;

  size_t body = at + sizeof error + sizeof sent + sizeof(struct wire_nfgen);
  if ((sent.type != WIRE_VERDICT && sent.type != WIRE_VERDICT_BATCH) || body > end) return;
  struct walk walk = {buffer, body, end};
  struct value value;
  uint16_t type;
  while (next_attribute(&walk, &type, &value) > 0) {
    if (type == WIRE_A_VERDICT_HDR && value.length >= 8) reply->id = read32(value.data + 4);
  }
}

void nfq_parse(const uint8_t *buffer, size_t offset, size_t length, struct nfq_sink *sink) {
  size_t at = offset, end = offset + length;
  while (end - at >= sizeof(struct wire_netlink)) {
    struct wire_netlink header;
    memcpy(&header, buffer + at, sizeof header);
    if (header.length < sizeof header) break;
    size_t size = header.length > end - at ? end - at : header.length;
    size_t body = at + sizeof header, body_end = at + size;
    if (header.type == WIRE_PACKET) {
      parse_packet(buffer, body, body_end, sink);
    } else if (header.type == WIRE_MSG_ERROR) {
      parse_reply(buffer, body, body_end, sink);
    } else if (header.type != WIRE_MSG_NOOP && header.type != WIRE_MSG_DONE) {
      sink->malformed++;
    }
    size_t step = WIRE_ALIGN(size);
    if (step >= end - at) return;
    at += step;
  }
  sink->malformed++; /* what is left over is not a message */
}
