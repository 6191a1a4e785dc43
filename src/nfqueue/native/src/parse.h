/* Reading what the kernel sends on an NFQUEUE socket: pure functions over bytes, without Node and without system calls. */
#ifndef NFQUEUE_PARSE_H
#define NFQUEUE_PARSE_H

#include <stddef.h>
#include <stdint.h>

/*
 * One packet as a row of 32-bit words that JavaScript reads in place; lib/records.ts holds the same list. A word whose
 * bit in `present` is not set is stale. Offsets count from the start of the receive buffer.
 */
struct nfq_record {
  uint32_t id;
  uint32_t present;
  uint32_t hook;
  uint32_t hw_protocol;
  uint32_t mark;
  uint32_t length; /* of the packet in the kernel, in bytes; 0 if the kernel did not tell */
  uint32_t payload_offset;
  uint32_t payload_length;
  uint32_t in_device;
  uint32_t out_device;
  uint32_t physical_in;
  uint32_t physical_out;
  uint32_t uid;
  uint32_t gid;
  uint32_t seconds_high;
  uint32_t seconds_low;
  uint32_t microseconds;
  uint32_t skb_info;
  uint32_t vlan_protocol;
  uint32_t vlan_tci;
  uint32_t priority;
  uint32_t hw_address_length;
  uint32_t hw_address_offset;
  uint32_t ct_info;
  uint32_t ct_offset;
  uint32_t ct_length;
  uint32_t secctx_offset;
  uint32_t secctx_length;
  uint32_t l2_offset;
  uint32_t l2_length;
  uint32_t family;
  uint32_t reserved;
};

enum {
  NFQ_HAS_MARK = 1 << 0,
  NFQ_HAS_PAYLOAD = 1 << 1,
  NFQ_HAS_IN = 1 << 2,
  NFQ_HAS_OUT = 1 << 3,
  NFQ_HAS_PHYSICAL_IN = 1 << 4,
  NFQ_HAS_PHYSICAL_OUT = 1 << 5,
  NFQ_HAS_UID = 1 << 6,
  NFQ_HAS_GID = 1 << 7,
  NFQ_HAS_TIMESTAMP = 1 << 8,
  NFQ_HAS_SKB_INFO = 1 << 9,
  NFQ_HAS_VLAN_PROTOCOL = 1 << 10,
  NFQ_HAS_VLAN_TCI = 1 << 11,
  NFQ_HAS_PRIORITY = 1 << 12,
  NFQ_HAS_HW_ADDRESS = 1 << 13,
  NFQ_HAS_CT_INFO = 1 << 14,
  NFQ_HAS_CT = 1 << 15,
  NFQ_HAS_SECCTX = 1 << 16,
  NFQ_HAS_L2 = 1 << 17,
};

/* The kernel's answer to something that we sent. */
struct nfq_reply {
  uint32_t sequence;
  uint32_t error; /* errno, 0 for an ACK */
  uint32_t type;  /* message type of what was sent; 0 if the answer is too short to tell */
  uint32_t id;    /* packet id of a verdict; 0 if there was none */
};

/* Where a read cycle collects what it found. */
struct nfq_sink {
  struct nfq_record *packets;
  struct nfq_reply *replies;
  uint32_t packet_capacity;
  uint32_t reply_capacity;
  uint32_t packet_count;
  uint32_t reply_count;
  uint32_t malformed; /* messages that made no sense or did not fit */
};

/*
 * Reads one datagram of `length` bytes that lies at `offset` of the receive buffer `buffer`. Never reads outside of it,
 * whatever it says. A message that was cut (the datagram was longer than its slot) yields what is whole.
 */
void nfq_parse(const uint8_t *buffer, size_t offset, size_t length, struct nfq_sink *sink);

#endif
