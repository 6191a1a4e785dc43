import { EventEmitter } from 'node:events';
import { invalid, NfQueueError, systemError } from './errors.js';
import type { NfQueueEvents } from './events.js';
import { Ledger, type QueueStats } from './ledger.js';
import { native, type Dispatch, type NativeQueue } from './native.js';
import { resolveOptions, type OpenOptions, type Settings } from './options.js';
import { explainOpenFailure } from './owner.js';
import { Reading } from './reading.js';
import { rowsFor, type Rows } from './records.js';
import { paceOf, releasePaced, type Pace, type ReleaseOptions, type ReleaseResult } from './release.js';
import { Replies } from './replies.js';
import { sendRequest, type NetfilterRequest } from './request.js';
import { Teller } from './teller.js';
import { checkId, copyIds, isUint32, NO_MARK, toIds, verdictCode, verdictMark, verdictPayload, type PacketVerdictOptions, type VerdictOptions } from './verdicts.js';

export interface PauseOptions {
  /** Microseconds without a packet that make a pause. Default 100. */
  readonly quietUs?: number | undefined;
  /** Microseconds after which the request is sent anyway. Default 2000. */
  readonly withinUs?: number | undefined;
}

export interface CloseOptions {
  /** What becomes of packets that are held. Default `drop`, as when the process ends. */
  readonly held?: 'accept' | 'drop' | undefined;
}

const ASK_ACK = 1;
const ALLOW_BATCH = 2;
/** Of fewer packets each is told whether it was still there: that costs less than the kernel's account, which a batch needs. */
const WORTH_BATCHING = 16;

/**
 * An NFQUEUE of the kernel: `NfQueue.open()`, listen to `packets`, give verdicts. A packet without a verdict is held, in
 * order, until it has one or the queue is closed.
 *
 * Packets wait in the kernel until there is a listener. While nothing is held there is no timer, and the process sleeps.
 */
export class NfQueue extends EventEmitter<NfQueueEvents> implements AsyncDisposable {
  readonly num: number;
  readonly #queue: NativeQueue;
  readonly #netns: number;
  readonly #ledger: Ledger;
  readonly #replies: Replies;
  readonly #teller: Teller;
  readonly #reading: Reading;
  #closed = false;

  private constructor(settings: Settings, queue: NativeQueue, { records, replies }: Rows) {
    super();
    this.num = settings.num;
    this.#queue = queue;
    this.#netns = settings.netns;
    this.#ledger = new Ledger(queue);
    this.#replies = new Replies(replies);
    this.#teller = new Teller(this, this.#ledger);
    this.#reading = new Reading({ num: settings.num, queue, records, ledger: this.#ledger, replies: this.#replies, teller: this.#teller });
    // the event map names what the queue itself tells
    (this as EventEmitter).on('newListener', (event: string | symbol) => {
      if (event === 'packets') this.#start();
    });
    if (queue.receiveBuffer < settings.receiveBuffer) this.#warnOfBuffer(settings);
  }

  /**
   * Binds a queue. Rejects with NfQueueError: EPERM (a capability is missing), EBUSY (another process has it; `owner`),
   * ENOTSUP (a flag that the kernel does not know), ERR_INVALID_ARGUMENT.
   */
  static async open(options: OpenOptions): Promise<NfQueue> {
    const settings = resolveOptions(options);
    const { num, copyRange, maxLength, receiveBuffer, flagBits, netns, played, slots, slotSize, coalesceUs } = settings;
    const rows = rowsFor(slots);
    const opened: { queue?: NfQueue } = {};
    const dispatch: Dispatch = (...burst) => {
      if (opened.queue !== undefined) opened.queue.#reading.dispatch(...burst);
    };
    const words = Float64Array.of(num, copyRange, maxLength, receiveBuffer, flagBits, netns, slots, slotSize, coalesceUs);
    const result = native.open(words, dispatch, rows.records, rows.replies, played);
    if ('errno' in result) throw await explainOpenFailure(result, settings);
    opened.queue = new NfQueue(settings, result, rows);
    return opened.queue;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Packets without a verdict, by own count. */
  get held(): number {
    return this.#closed ? 0 : this.#ledger.held;
  }

  /** Their ids, oldest first. */
  heldIds(): Uint32Array {
    this.#assertOpen();
    const ids = new Uint32Array(native.heldCount(this.#queue));
    return ids.subarray(0, native.heldIds(this.#queue, ids));
  }

  /** Settles one packet. False if it is not held (counted in `stats().unknown`): settled before, or never seen. */
  verdict(id: number, options: PacketVerdictOptions): boolean {
    checkId(id);
    return this.#settled(native.verdict(this.#open(), id, verdictCode(options), verdictMark(options), verdictPayload(options)), 1) === 1;
  }

  /** Settles packets in the order given, many in one system call. Returns how many of them were held. */
  verdicts(ids: Iterable<number>, options: VerdictOptions): number {
    const list = toIds(ids);
    const queue = this.#open();
    return this.#settled(native.verdicts(queue, list, this.#batching(), verdictCode(options), verdictMark(options)), list.length);
  }

  /** Settles everything up to `id`, in order, by one message: the kernel's batch verdict. Returns how many that were. */
  verdictUpTo(id: number, options: VerdictOptions): number {
    checkId(id);
    const settled = this.#settled(native.verdictUpTo(this.#open(), id, verdictCode(options), verdictMark(options)), 1);
    this.#ledger.settled();
    return settled;
  }

  /**
   * Settles packets in the order given at a pace that what is behind the queue can take: a tun device holds 500 packets.
   * Where the ids are all that is held up to the last of them, the kernel's batch verdict is used.
   */
  async release(ids: Iterable<number>, options: ReleaseOptions): Promise<ReleaseResult> {
    const [code, mark, pace] = [verdictCode(options), verdictMark(options), paceOf(options)];
    const list = copyIds(ids);
    this.#assertOpen();
    this.#start();
    const settle = (chunk: Uint32Array): Promise<number> => this.#settleChunk(chunk, code, mark);
    const chunkEnd = (all: Uint32Array, from: number, { chunk, chunkBytes }: Pace): number => native.chunkEnd(this.#open(), all, from, chunk, chunkBytes);
    return releasePaced({ settle, chunkEnd, isOpen: () => !this.#closed }, list, pace, options.signal);
  }

  /**
   * Changes netfilter's rules at a moment when no packet is in the queue: reads and delivers what arrives (the listener has
   * to settle it) until nothing has come for `quietUs`, sends the request, and reads again what came just then. So packets
   * that pass directly from then on don't overtake others of their flow. Blocks the event loop until then.
   *
   * @throws NfQueueError as `netfilterRequest` does; ERR_INVALID_ARGUMENT inside a listener of any queue, whose burst
   * comes first
   */
  requestInPause(request: NetfilterRequest, { quietUs = 100, withinUs = 2000 }: PauseOptions = {}): void {
    const queue = this.#open();
    if (Reading.live) throw invalid('a request from inside a listener: what it was called with comes first');
    for (const time of [quietUs, withinUs]) if (!isUint32(time)) throw invalid(`${String(time)} is not a number of microseconds`);
    const { netns = this.#netns, ...rest } = request;
    sendRequest({ netns, ...rest }, (...words) => native.requestInPause(queue, ...words, quietUs, withinUs));
  }

  /** Own counters and the kernel's; tells of a flush or an overflow that it finds. */
  stats(): QueueStats {
    const kernel = this.#closed ? undefined : this.#ledger.kernel();
    if (kernel !== undefined) this.#teller.findingsLater(this.#ledger.compare(kernel));
    return { ...this.#ledger.count, held: this.held, flushed: this.#ledger.flushed, receiveBuffer: this.#queue.receiveBuffer, kernel };
  }

  /** Lets the process live as long as the queue is open (the default). */
  ref(): this {
    if (!this.#closed) native.ref(this.#queue, 1);
    return this;
  }

  /** Lets the process end although the queue is open. */
  unref(): this {
    if (!this.#closed) native.ref(this.#queue, 0);
    return this;
  }

  /** Unbinds the queue. Again: does nothing. A release under way ends as if it were aborted. */
  async close({ held = 'drop' }: CloseOptions = {}): Promise<void> {
    if (this.#closed) return;
    if (held === 'accept') this.#acceptAll();
    this.#closed = true;
    this.#reading.end();
    native.close(this.#queue);
    this.#replies.giveUp();
    // the loop lets go of the descriptor's handle in its next turn
    await new Promise((resolve) => setImmediate(resolve));
    this.emit('close');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(): NativeQueue {
    this.#assertOpen();
    return this.#queue;
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  #start(): void {
    if (!this.#closed) native.start(this.#queue);
  }

  #acceptAll(): void {
    // the kernel's last id covers what was not read yet
    const last = this.#ledger.kernel()?.lastId ?? this.heldIds().at(-1);
    if (last !== undefined) native.verdictAll(this.#queue, last, verdictCode({ verdict: 'accept' }), NO_MARK);
  }

  /** Counts what the addon says of verdicts; throws if the kernel did not take them. */
  #settled(result: number, asked: number): number {
    if (result < 0) throw systemError(-result, 'sendmsg', 'verdict not sent');
    this.#ledger.count.verdicts += result;
    if (result < asked) this.#ledger.count.unknown += asked - result;
    return result;
  }

  /** A batch verdict does not say which packets were not there any more: not while some are known to be gone. */
  #batching(): number {
    return this.#ledger.uncertain ? 0 : ALLOW_BATCH;
  }

  async #settleChunk(ids: Uint32Array, code: number, mark: number): Promise<number> {
    const queue = this.#open();
    const batching = ids.length >= WORTH_BATCHING;
    if (batching) this.#teller.findingsLater(this.#ledger.compare());
    const before = native.sequence(queue);
    const settled = this.#settled(native.verdicts(queue, ids, (batching ? this.#batching() : 0) | ASK_ACK, code, mark), ids.length);
    if (settled === 0) return 0;
    const first = (before + 1) >>> 0;
    const last = native.sequence(queue);
    const refused = await this.#replies.wait(first, last);
    // a batch verdict is refused if it met no packet at all
    return first === last && refused > 0 ? 0 : settled - refused;
  }

  #warnOfBuffer({ receiveBuffer }: Settings): void {
    const granted = this.#queue.receiveBuffer;
    const warning = new NfQueueError('EPERM', `receive buffer of ${granted} bytes instead of ${receiveBuffer}`, {
      errno: 1,
      syscall: 'setsockopt(SO_RCVBUFFORCE)',
      hint: 'raise net.core.rmem_max, or give the process CAP_NET_ADMIN outside of any user namespace',
    });
    setImmediate(() => { this.#teller.warning(warning); });
  }
}

function closedError(): NfQueueError {
  return new NfQueueError('ERR_CLOSED', 'the queue is closed');
}
