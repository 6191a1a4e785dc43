import { invalid } from './errors.js';
import { isUint32 } from './verdicts.js';

/** How much of a packet comes with it: nothing, its headers (128 bytes), all of it, or a number of bytes. */
export type CopyMode = 'none' | 'headers' | 'whole' | number;

export interface QueueFlags {
  /** Large packets (GSO) as they are, not cut into frames first. */
  readonly gso?: boolean | undefined;
  /** What does not fit in the queue is accepted instead of dropped; it overtakes what is held. */
  readonly failOpen?: boolean | undefined;
  /** `uid` and `gid` of local senders. */
  readonly uidGid?: boolean | undefined;
  /** `conntrack` of packets. */
  readonly conntrack?: boolean | undefined;
  /** `securityContext` of packets. */
  readonly secctx?: boolean | undefined;
}

export interface OpenOptions {
  /** Number of the queue, 0–65535, as in `-j NFQUEUE --queue-num`. */
  readonly num: number;
  /** Default `headers`. */
  readonly copy?: CopyMode | undefined;
  /** Packets that the kernel holds at most; what comes then is dropped. Default 1024. */
  readonly maxLength?: number | undefined;
  /**
   * Bytes of the socket's receive buffer, where packets wait until they are read (the event loop may be busy). The default
   * has room for `maxLength` packets. More than net.core.rmem_max needs CAP_NET_ADMIN outside of any user namespace.
   */
  readonly receiveBuffer?: number | undefined;
  readonly flags?: QueueFlags | undefined;
  /**
   * Microseconds between two reads while more than 40 packets come in a millisecond, 0–10,000; default 100. Being woken for
   * every packet costs more than the packet does. Below that rate, and with 0, packets are read as they come.
   */
  readonly coalesceUs?: number | undefined;
  /**
   * Packets that one call of the listeners brings at most, 1–1024; default 256 (64 where more than 4 KiB are copied). Memory is
   * reserved for so many, about 1 KiB each: a process with hundreds of queues may want less.
   */
  readonly burst?: number | undefined;
  /** Descriptor of the network namespace to open the queue in (`/run/netns/NAME`); needs CAP_SYS_ADMIN. */
  readonly netns?: number | undefined;
  /**
   * Path of a stream socket where somebody else plays the kernel's part, for tests and rehearsals: he sends what nfnetlink_queue would,
   * whole messages at a time, and gets the verdicts. Nothing of the kernel is touched then, and `stats().kernel` is undefined.
   */
  readonly played?: string | undefined;
}

export interface Settings {
  readonly num: number;
  readonly copyRange: number;
  readonly maxLength: number;
  readonly receiveBuffer: number;
  readonly flags: QueueFlags;
  readonly flagBits: number;
  readonly coalesceUs: number;
  /** -1 for this process's own. */
  readonly netns: number;
  /** Where somebody plays the kernel. */
  readonly played: string | undefined;
  /** Packets a read. */
  readonly slots: number;
  /** Bytes that one packet with all that comes with it takes at most. */
  readonly slotSize: number;
}

// NFQA_CFG_F_* of linux/netfilter/nfnetlink_queue.h
const flagBits: Readonly<Record<keyof QueueFlags, number>> = { failOpen: 1, conntrack: 2, gso: 4, uidGid: 8, secctx: 16 };

const HEADERS_BYTES = 128;
/** Longest payload of a netlink attribute. */
const WHOLE_BYTES = 0xffff - 4;

function copyRange(copy: CopyMode): number {
  if (copy === 'none') return 0;
  if (copy === 'headers') return HEADERS_BYTES;
  if (copy === 'whole') return WHOLE_BYTES;
  if (!isUint32(copy) || copy < 1 || copy > WHOLE_BYTES) {
    throw invalid(`copy is ${JSON.stringify(copy)}, not 'none', 'headers', 'whole' or 1 to ${WHOLE_BYTES} bytes`);
  }
  return copy;
}

function integer(name: string, value: number, min: number, max: number): number {
  if (!isUint32(value) || value < min || value > max) throw invalid(`${name} is ${value}, not an integer from ${min} to ${max}`);
  return value;
}

/**
 * A packet costs the receive buffer 832 bytes with up to 128 bytes copied (measured on Linux 6.18), and about what is
 * copied beyond that. Half as much again is left for larger headers.
 */
function defaultReceiveBuffer(maxLength: number, range: number): number {
  const perPacket = 1280 + Math.min(range, 1500);
  return Math.min(Math.max(maxLength * perPacket, 256 * 1024), 128 * 1024 * 1024);
}

/** Fills in the defaults. @throws NfQueueError ERR_INVALID_ARGUMENT */
export function resolveOptions(options: OpenOptions): Settings {
  const { flags = {}, receiveBuffer } = options;
  const range = copyRange(options.copy ?? 'headers');
  const maxLength = integer('maxLength', options.maxLength ?? 1024, 1, 0x7fffffff);
  let bits = 0;
  for (const [name, bit] of Object.entries(flagBits)) if (flags[name as keyof QueueFlags] === true) bits |= bit;
  for (const name of Object.keys(flags)) if (!Object.hasOwn(flagBits, name)) throw invalid(`there is no flag ${name}`);
  const netns = options.netns === undefined ? -1 : integer('netns', options.netns, 0, 0x7fffffff);
  // what comes with a packet: about 200 bytes, a connection's attributes about 400, a security label up to a page
  const besides = 512 + (flags.conntrack === true ? 1024 : 0) + (flags.secctx === true ? 4096 : 0);
  return {
    num: integer('num', options.num, 0, 0xffff),
    copyRange: range,
    maxLength,
    receiveBuffer: receiveBuffer === undefined ? defaultReceiveBuffer(maxLength, range) : integer('receiveBuffer', receiveBuffer, 1, 0x3fffffff),
    flags,
    flagBits: bits,
    coalesceUs: integer('coalesceUs', options.coalesceUs ?? 100, 0, 10_000),
    netns,
    played: options.played,
    slots: integer('burst', options.burst ?? (range > 4096 ? 64 : 256), 1, 1024),
    slotSize: (range + besides + 63) & ~63,
  };
}
