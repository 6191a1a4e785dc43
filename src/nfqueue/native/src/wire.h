/*
 * The words of the kernel's netlink and nfnetlink_queue protocol, written down here so that the package needs no kernel
 * headers (musl's compilers come without them) and knows attributes that are younger than the build machine's headers.
 * Source: include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nfnetlink_queue.h of the kernel.
 */
#ifndef NFQUEUE_WIRE_H
#define NFQUEUE_WIRE_H

#include <stdint.h>

struct wire_netlink {
  uint32_t length; /* of the message, this header included */
  uint16_t type;
  uint16_t flags;
  uint32_t sequence;
  uint32_t port;
};

struct wire_nfgen {
  uint8_t family;
  uint8_t version;
  uint16_t queue; /* big endian */
};

struct wire_attribute {
  uint16_t length; /* of the attribute, this header included, without padding */
  uint16_t type;
};

/* sockaddr_nl */
struct wire_address {
  uint16_t family;
  uint16_t pad;
  uint32_t port;
  uint32_t groups;
};

#define WIRE_ALIGN(n) (((n) + 3u) & ~3u)
#define WIRE_TYPE_MASK 0x3fff /* without NLA_F_NESTED and NLA_F_NET_BYTEORDER */

enum { WIRE_NETLINK_NETFILTER = 12 };
enum { WIRE_SOL_NETLINK = 270, WIRE_NETLINK_EXT_ACK = 11 };
enum { WIRE_F_REQUEST = 0x01, WIRE_F_ACK = 0x04 };
enum { WIRE_MSG_NOOP = 1, WIRE_MSG_ERROR = 2, WIRE_MSG_DONE = 3, WIRE_MSG_OVERRUN = 4 };

/* Message types: NFNL_SUBSYS_QUEUE << 8 | nfqnl_msg_types */
enum { WIRE_PACKET = 0x300, WIRE_VERDICT = 0x301, WIRE_CONFIG = 0x302, WIRE_VERDICT_BATCH = 0x303 };

enum {
  WIRE_A_PACKET_HDR = 1,
  WIRE_A_VERDICT_HDR = 2,
  WIRE_A_MARK = 3,
  WIRE_A_TIMESTAMP = 4,
  WIRE_A_INDEV = 5,
  WIRE_A_OUTDEV = 6,
  WIRE_A_PHYSINDEV = 7,
  WIRE_A_PHYSOUTDEV = 8,
  WIRE_A_HWADDR = 9,
  WIRE_A_PAYLOAD = 10,
  WIRE_A_CT = 11,
  WIRE_A_CT_INFO = 12,
  WIRE_A_CAP_LEN = 13,
  WIRE_A_SKB_INFO = 14,
  WIRE_A_UID = 16,
  WIRE_A_GID = 17,
  WIRE_A_SECCTX = 18,
  WIRE_A_VLAN = 19,
  WIRE_A_L2HDR = 20,
  WIRE_A_PRIORITY = 21,
};

enum { WIRE_VLAN_PROTO = 1, WIRE_VLAN_TCI = 2 };

enum { WIRE_CFG_CMD = 1, WIRE_CFG_PARAMS = 2, WIRE_CFG_MAXLEN = 3, WIRE_CFG_MASK = 4, WIRE_CFG_FLAGS = 5 };
enum { WIRE_CMD_BIND = 1, WIRE_CMD_UNBIND = 2 };
enum { WIRE_COPY_META = 1, WIRE_COPY_PACKET = 2 };

/* The most that the kernel copies of a packet: what fits in one attribute. */
enum { WIRE_COPY_MAX = 0xffff - 4 };

#endif
