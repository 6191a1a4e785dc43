import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

declare const queueBrand: unique symbol;

/** An open queue, as the addon knows it. */
export interface NativeQueue {
  readonly [queueBrand]: true;
  /** Netlink port id: how the kernel names the queue's owner. */
  readonly port: number;
  /** Bytes granted by the kernel. */
  readonly receiveBuffer: number;
  /** 0 if SO_RCVBUFFORCE was not allowed. */
  readonly bufferForced: number;
}

export interface NativeFailure {
  readonly errno: number;
  readonly syscall: string;
}

/** Called for each burst, from the event loop. `flags`: 1 the receive buffer overflowed (ENOBUFS), 2 the socket failed. */
export type Dispatch = (packets: number, replies: number, flags: number, malformed: number, errno: number, buffer: ArrayBuffer) => void;

/**
 * What src/addon.c exports. Numbers that say how many packets were settled are negative errnos where the kernel refused.
 * `mark` is -1 for none.
 */
export interface NativeBinding {
  /** settings: queue, copy range, maximal length, receive buffer, flags, netns descriptor or -1, slots, bytes of a slot, coalescing in µs. played: see OpenOptions */
  open(settings: Float64Array, dispatch: Dispatch, records: Uint32Array, replies: Uint32Array, played: string | undefined): NativeQueue | NativeFailure;
  /** Begins to read; before, the event loop does not know of the queue. */
  start(queue: NativeQueue): void;
  close(queue: NativeQueue): void;
  ref(queue: NativeQueue, on: 0 | 1): void;
  verdict(queue: NativeQueue, id: number, code: number, mark: number, payload?: Uint8Array): number;
  verdictUpTo(queue: NativeQueue, id: number, code: number, mark: number): number;
  /** flags: 1 ask for an ACK, 2 one batch verdict may stand for all where it means the same */
  verdicts(queue: NativeQueue, ids: Uint32Array, flags: number, code: number, mark: number): number;
  verdictAll(queue: NativeQueue, lastId: number, code: number, mark: number): number;
  chunkEnd(queue: NativeQueue, ids: Uint32Array, from: number, maxPackets: number, maxBytes: number): number;
  heldCount(queue: NativeQueue): number;
  heldIds(queue: NativeQueue, ids: Uint32Array): number;
  forget(queue: NativeQueue): void;
  /** Of the last message sent. */
  sequence(queue: NativeQueue): number;
  deviceName(queue: NativeQueue, index: number): string | undefined;
  /** 1 and the words filled in; 0 if the kernel has no such queue; or a negative errno. */
  statistics(queue: NativeQueue, words: Uint32Array): number;
  /** One message of a netlink protocol, 1040 bytes of body at most: its own header, and attributes. flags: NLM_F_*, REQUEST and ACK go without saying. */
  request(netns: number, protocol: number, type: number, flags: number, body: Uint8Array): undefined | NativeFailure;
  /** Dispatches what it reads before and after. Not inside of a dispatch. */
  requestInPause(queue: NativeQueue, netns: number, protocol: number, type: number, flags: number, body: Uint8Array, quietUs: number, withinUs: number): undefined | NativeFailure;
  readNet(netns: number, name: string): string | NativeFailure;
}

const require = createRequire(import.meta.url);
const load = require('node-gyp-build') as (directory: string) => NativeBinding;

/** The addon: a prebuilt binary for this platform, or the one that was built at installation. */
export const native: NativeBinding = load(fileURLToPath(new URL('..', import.meta.url)));
