import { invalid, systemError } from './errors.js';
import { native, type NativeFailure } from './native.js';

/** One message to a subsystem of netfilter (linux/netfilter/nfnetlink.h). */
export interface NetfilterRequest {
  /** NFNL_SUBSYS_*, for example 6 for ipset. */
  readonly subsystem: number;
  /** The subsystem's own number for what is to be done. */
  readonly command: number;
  readonly attributes: readonly NetfilterAttribute[];
  /** Descriptor of another network namespace. */
  readonly netns?: number | undefined;
}

export interface NetfilterAttribute {
  readonly type: number;
  /** A string gets its NUL at the end. */
  readonly value: string | Uint8Array;
}

const HEADER = 4;
const MAX_BYTES = 1024;

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

/** Has a request sent by one of the addon's functions. */
export function sendRequest({ subsystem, command, attributes, netns = -1 }: NetfilterRequest, send: (netns: number, type: number, attributes: Uint8Array) => NativeFailure | undefined): void {
  for (const number of [subsystem, command]) if (!Number.isInteger(number) || number < 0 || number > 255) throw invalid(`${number} is no number of a subsystem or command`);
  const failure = send(netns, subsystem * 256 + command, encode(attributes));
  if (failure === undefined) return;
  const hint = failure.errno === 1 ? { hint: 'the process needs CAP_NET_ADMIN in that network namespace' } : {};
  throw systemError(failure.errno, failure.syscall, `command ${command} of netfilter's subsystem ${subsystem}`, hint);
}

/** struct nlattr: length and type in the host's order, the content, padding to 4 bytes. */
function encode(attributes: readonly NetfilterAttribute[]): Uint8Array {
  const buffer = Buffer.alloc(MAX_BYTES);
  const words = new Uint16Array(buffer.buffer, buffer.byteOffset, MAX_BYTES / 2);
  let at = 0;
  for (const { type, value } of attributes) {
    const content = typeof value === 'string' ? Buffer.from(`${value}\0`) : value;
    if (at + HEADER + content.length > MAX_BYTES) throw invalid(`the attributes take more than ${MAX_BYTES} bytes`);
    words.set([HEADER + content.length, type], at / 2);
    buffer.set(content, at + HEADER);
    at += Math.ceil((HEADER + content.length) / 4) * 4;
  }
  return buffer.subarray(0, Math.min(at, MAX_BYTES));
}
