import { native, type NativeQueue } from './native.js';

/** The kernel's line about the queue in /proc/net/netfilter/nfnetlink_queue. */
export interface KernelStats {
  /** Netlink port id of the owner. */
  readonly portId: number;
  /** Packets without a verdict now; includes those that were not read yet. */
  readonly held: number;
  readonly copyMode: 'none' | 'meta' | 'packet';
  /** Bytes. */
  readonly copyRange: number;
  /** Dropped since the queue was full. */
  readonly queueDropped: number;
  /** Dropped since the socket's receive buffer was full. */
  readonly userDropped: number;
  /** Id of the newest packet. */
  readonly lastId: number;
}

/** Own counters since the queue was opened, and the kernel's. */
export interface QueueStats {
  /** Packets given to listeners. */
  readonly packets: number;
  /** Calls of listeners. */
  readonly bursts: number;
  /** Packets without a verdict, by own count. */
  readonly held: number;
  /** Packets that had a verdict sent. */
  readonly verdicts: number;
  /** Verdicts asked for on ids that were not held: never seen, or settled before. Not sent. */
  readonly unknown: number;
  /** Verdicts that the kernel refused, since it had dropped the packet meanwhile. */
  readonly gone: number;
  /** Packets that the kernel dropped while they were held. */
  readonly flushed: number;
  /** Times that the receive buffer overflowed. */
  readonly overflows: number;
  /** Messages of the kernel that could not be read. */
  readonly malformed: number;
  /** Errors that listeners threw. */
  readonly listenerErrors: number;
  /** Bytes of receive buffer that the kernel granted. */
  readonly receiveBuffer: number;
  /** Undefined where /proc can't be read, or the queue is closed. */
  readonly kernel: KernelStats | undefined;
}

/** Packets were lost on their way to the listener. Numbers count from the last time that it was told. */
export interface Overflow {
  /** Dropped since the socket's receive buffer was full: read faster, copy less, or give it a larger `receiveBuffer`. */
  readonly userDropped: number;
  /** Dropped since the queue was full: settle sooner, or give it a larger `maxLength`. */
  readonly queueDropped: number;
}

/** The kernel dropped packets that were held: their device went away, or a chain was deleted. */
export interface Flushed {
  /** Newly found missing. */
  readonly packets: number;
  /** Still held. */
  readonly remaining: number;
}

export interface Findings {
  readonly overflow: Overflow | undefined;
  readonly flushed: Flushed | undefined;
}

const copyModes = ['none', 'meta', 'packet'] as const;

/** Own account of what is held, set against the kernel's. */
export class Ledger {
  readonly #queue: NativeQueue;
  readonly #words = new Uint32Array(8);
  /** Ids on our list that the kernel has dropped; which of them is not known before their verdict fails. */
  #missing = 0;
  #toldQueueDropped = 0;
  #toldUserDropped = 0;
  /** Counted since the queue was opened: see QueueStats. */
  readonly count = { packets: 0, bursts: 0, verdicts: 0, unknown: 0, gone: 0, overflows: 0, malformed: 0, listenerErrors: 0 };
  flushed = 0;

  constructor(queue: NativeQueue) {
    this.#queue = queue;
  }

  get held(): number {
    return native.heldCount(this.#queue) - this.#missing;
  }

  /** Whether some of the ids on our list are known to be void. */
  get uncertain(): boolean {
    return this.#missing > 0;
  }

  kernel(): KernelStats | undefined {
    if (native.statistics(this.#queue, this.#words) !== 1) return undefined;
    const [, portId = 0, held = 0, copyMode = 0, copyRange = 0, queueDropped = 0, userDropped = 0, lastId = 0] = this.#words;
    return { portId, held, copyMode: copyModes[copyMode] ?? 'none', copyRange, queueDropped, userDropped, lastId };
  }

  /** The kernel refused `count` verdicts: those packets were not there. Says how many of them are news. */
  refused(count: number): Flushed | undefined {
    const known = Math.min(count, this.#missing);
    this.#missing -= known;
    const packets = count - known;
    this.flushed += packets;
    return packets > 0 ? { packets, remaining: this.held } : undefined;
  }

  /** After verdicts of which the kernel does not say whom they met. */
  settled(): void {
    if (this.#missing > 0) this.#missing = Math.min(this.#missing, native.heldCount(this.#queue));
  }

  /** Compares with the kernel's account, and says what is new. */
  compare(kernel = this.kernel()): Findings {
    if (kernel === undefined) return { overflow: undefined, flushed: undefined };
    return { overflow: this.#compareDrops(kernel), flushed: this.#compareHeld(kernel) };
  }

  #compareDrops(kernel: KernelStats): Overflow | undefined {
    // the kernel's counters have 32 bits and wrap
    const userDropped = (kernel.userDropped - this.#toldUserDropped) >>> 0;
    const queueDropped = (kernel.queueDropped - this.#toldQueueDropped) >>> 0;
    this.#toldUserDropped = kernel.userDropped;
    this.#toldQueueDropped = kernel.queueDropped;
    return userDropped + queueDropped > 0 ? { userDropped, queueDropped } : undefined;
  }

  #compareHeld(kernel: KernelStats): Flushed | undefined {
    // what the kernel holds is what we hold and what was not read yet, so less is a flush, more says nothing
    const packets = this.held - kernel.held;
    if (packets <= 0) return undefined;
    this.flushed += packets;
    this.#missing += packets;
    if (kernel.held === 0) {
      native.forget(this.#queue);
      this.#missing = 0;
    }
    return { packets, remaining: kernel.held };
  }
}
