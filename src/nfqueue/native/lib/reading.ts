import { PacketBatch } from './batch.js';
import { NfQueueError, systemError } from './errors.js';
import type { Ledger } from './ledger.js';
import { native, type NativeQueue } from './native.js';
import type { Frame } from './packet.js';
import type { Replies } from './replies.js';
import type { Teller } from './teller.js';

/** Bits of a call of Dispatch. */
const OVERFLOWED = 1;
const FAILED = 2;
/** How long a flush or a full queue stays unnoticed at most, while packets are held and nothing happens. */
const WATCH_MS = 1000;

/** What the reading of a queue needs of it. */
export interface ReadQueue {
  readonly num: number;
  readonly queue: NativeQueue;
  /** The addon's rows of packets. */
  readonly records: Uint32Array;
  readonly ledger: Ledger;
  readonly replies: Replies;
  readonly teller: Teller;
}

/** What comes out of the socket, burst by burst: packets and answers to verdicts; and a look at the kernel's account while packets are held. */
export class Reading {
  /** Whether a burst is being told, of whatever queue: what it lies in belongs to its listeners until they return. */
  static live = false;
  readonly #of: ReadQueue;
  readonly #frame: Frame;
  readonly #batch: PacketBatch;
  readonly #names = new Map<number, string | undefined>();
  #buffer: ArrayBuffer | undefined;
  #watch: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(of: ReadQueue) {
    this.#of = of;
    this.#frame = { records: of.records, bytes: new Uint8Array(0), live: false, deviceName: (index) => this.#deviceName(index) };
    this.#batch = new PacketBatch(this.#frame);
  }

  /** The queue is about to be closed. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#watch);
  }

  /** Takes over what the addon has read: see Dispatch. */
  dispatch(packets: number, replies: number, flags: number, malformed: number, errno: number, buffer: ArrayBuffer): void {
    Reading.live = true;
    try {
      this.#tell(packets, replies, flags, malformed, errno, buffer);
    } finally {
      Reading.live = false;
    }
  }

  #tell(packets: number, replies: number, flags: number, malformed: number, errno: number, buffer: ArrayBuffer): void {
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#frame.bytes = new Uint8Array(buffer);
    }
    if (replies > 0) this.#takeReplies(replies);
    if (packets > 0) this.#deliver(packets);
    if (malformed > 0) this.#takeMalformed(malformed);
    if ((flags & OVERFLOWED) !== 0) this.#overflowed();
    if (errno !== 0) this.#takeErrno(errno, (flags & FAILED) !== 0);
  }

  #deliver(packets: number): void {
    const { ledger, teller } = this.#of;
    ledger.count.packets += packets;
    ledger.count.bursts++;
    if (this.#names.size > 0) this.#names.clear();
    this.#frame.live = true;
    try {
      teller.packets(this.#batch, packets);
    } finally {
      this.#frame.live = false;
    }
    if (!this.#ended && ledger.held > 0) this.#keepWatch();
  }

  #takeReplies(count: number): void {
    const { ledger, replies, teller } = this.#of;
    const { gone, errors } = replies.take(count);
    ledger.count.gone += gone;
    const flushed = gone > 0 ? ledger.refused(gone) : undefined;
    teller.findings({ flushed, overflow: undefined });
    for (const error of errors) teller.warning(error);
  }

  #takeMalformed(count: number): void {
    const { ledger, teller } = this.#of;
    ledger.count.malformed += count;
    teller.warning(new NfQueueError('ERR_MALFORMED', `${count} messages of the kernel could not be read`));
  }

  #overflowed(): void {
    const { ledger, replies, teller } = this.#of;
    ledger.count.overflows++;
    replies.giveUp();
    if (this.#ended) return;
    const { overflow, flushed } = ledger.compare();
    teller.findings({ overflow: overflow ?? { userDropped: 0, queueDropped: 0 }, flushed });
  }

  #takeErrno(errno: number, fatal: boolean): void {
    const { num, replies, teller } = this.#of;
    const error = systemError(errno, fatal ? 'recvmmsg' : 'malloc', `queue ${num}`);
    if (fatal) {
      replies.fail(error);
      teller.failure(error);
    } else {
      teller.warning(error);
    }
  }

  #keepWatch(): void {
    if (this.#watch !== undefined) return;
    this.#watch = setTimeout(() => {
      const { ledger, teller } = this.#of;
      this.#watch = undefined;
      teller.findings(ledger.compare());
      if (!this.#ended && ledger.held > 0) this.#keepWatch();
    }, WATCH_MS).unref();
  }

  #deviceName(index: number): string | undefined {
    if (this.#ended) return undefined;
    if (!this.#names.has(index)) this.#names.set(index, native.deviceName(this.#of.queue, index));
    return this.#names.get(index);
  }
}
