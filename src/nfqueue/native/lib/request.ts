import { invalid, systemError } from './errors.js';
import { native, type NativeFailure } from './native.js';

/** One message to a subsystem of netfilter (linux/netfilter/nfnetlink.h). */
export interface NetfilterRequest {
  /** NFNL_SUBSYS_*, for example 6 for ipset. */
  readonly subsystem: number;
  /** The subsystem's own number for what is to be done. */
  readonly command: number;
  readonly attributes: readonly NetlinkAttribute[];
  /** Descriptor of another network namespace. */
  readonly netns?: number | undefined;
}

export interface NetlinkAttribute {
  readonly type: number;
  /** A string gets its NUL at the end. */
  readonly value: string | Uint8Array;
}

/** One message of rtnetlink(7). */
export interface RouteRequest {
  /** RTM_* of linux/rtnetlink.h, for example 32 (RTM_NEWRULE). */
  readonly type: number;
  /** NLM_F_* of linux/netlink.h, beside REQUEST and ACK. Default 0. */
  readonly flags?: number | undefined;
  /** What comes before the attributes, in the host's order: struct fib_rule_hdr, struct rtmsg. */
  readonly header: Uint8Array;
  readonly attributes: readonly NetlinkAttribute[];
  /** Descriptor of another network namespace. */
  readonly netns?: number | undefined;
}

const PROTOCOL = { route: 0, netfilter: 12 } as const;
/** struct nfgenmsg: no family, version 0, no number of a resource. */
const NETFILTER_HEADER = new Uint8Array(4);

const HEADER = 4;
const MAX_BYTES = 1024;
/** Of what comes before the attributes. */
const MAX_OWN_HEADER = 16;

/**
 * Sends a request and returns when the kernel has carried it out: without a process, and without a turn of the event loop.
 * With `NfQueue.requestInPause` no packet is in the queue just then.
 *
 * @throws NfQueueError with the kernel's errno (subsystems have some of their own, from 4096 on), EPERM without
 * CAP_NET_ADMIN, ERR_INVALID_ARGUMENT
 */
export function netfilterRequest(request: NetfilterRequest): void {
  sendRequest(request, (...words) => native.request(...words));
}

/**
 * The same to rtnetlink: routes, rules, addresses, devices.
 *
 * @throws NfQueueError with the kernel's errno, EPERM without CAP_NET_ADMIN, ERR_INVALID_ARGUMENT
 */
export function routeRequest({ type, flags = 0, header, attributes, netns = -1 }: RouteRequest): void {
  for (const number of [type, flags]) if (!Number.isInteger(number) || number < 0 || number > 0xffff) throw invalid(`${number} is no type or flags of a message`);
  if (header.length > MAX_OWN_HEADER || header.length % 4 !== 0) throw invalid(`the header has ${header.length} bytes, not a multiple of 4 up to ${MAX_OWN_HEADER}`);
  check(native.request(netns, PROTOCOL.route, type, flags, encode(header, attributes)), `message ${type} of rtnetlink`);
}

/** Has a request sent by one of the addon's functions. */
export function sendRequest({ subsystem, command, attributes, netns = -1 }: NetfilterRequest, send: (netns: number, protocol: number, type: number, flags: number, body: Uint8Array) => NativeFailure | undefined): void {
  for (const number of [subsystem, command]) if (!Number.isInteger(number) || number < 0 || number > 255) throw invalid(`${number} is no number of a subsystem or command`);
  check(send(netns, PROTOCOL.netfilter, subsystem * 256 + command, 0, encode(NETFILTER_HEADER, attributes)), `command ${command} of netfilter's subsystem ${subsystem}`);
}

function check(failure: NativeFailure | undefined, what: string): void {
  if (failure === undefined) return;
  const hint = failure.errno === 1 ? { hint: 'the process needs CAP_NET_ADMIN in that network namespace' } : {};
  throw systemError(failure.errno, failure.syscall, what, hint);
}

/** The header, then for each attribute struct nlattr: length and type in the host's order, the content, padding to 4 bytes. */
function encode(header: Uint8Array, attributes: readonly NetlinkAttribute[]): Uint8Array {
  const most = header.length + MAX_BYTES;
  const buffer = Buffer.alloc(most);
  const words = new Uint16Array(buffer.buffer, buffer.byteOffset, most / 2);
  buffer.set(header);
  let at = header.length;
  for (const { type, value } of attributes) {
    const content = typeof value === 'string' ? Buffer.from(`${value}\0`) : value;
    if (at + HEADER + content.length > most) throw invalid(`the attributes take more than ${MAX_BYTES} bytes`);
    words.set([HEADER + content.length, type], at / 2);
    buffer.set(content, at + HEADER);
    at += Math.ceil((HEADER + content.length) / 4) * 4;
  }
  return buffer.subarray(0, Math.min(at, most));
}
