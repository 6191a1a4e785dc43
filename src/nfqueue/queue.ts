import { NfQueue, type NfQueueError, type PacketBatch } from 'node-nfqueue';
import { Subject } from 'rxjs';
import { DaemonError, messageOf } from '../core/errors.js';
import type { QueueEvent } from '../core/events.js';
import type { ClockPort, LogPort, Marks, QueuePort, QueueStats, RuleChange } from '../core/ports.js';
import { HeldPackets } from './held.js';
import type { WakePacket } from '../core/words.js';
import { describePacket, headersOf, isStray } from './packet.js';

export interface HoldQueueOptions {
  readonly tunnel: string;
  /** NFQUEUE number. */
  readonly num: number;
  /** How many packets the kernel holds at most. */
  readonly packets: number;
  /** The tunnel device. */
  readonly device: string;
  readonly marks: Marks;
  /** The answer to held packets is silence: they count as dropped. */
  readonly silent: boolean;
}

export interface HoldQueueMeans {
  readonly clock: ClockPort;
  readonly log: LogPort;
  /** Waited for when all that was held is released, before that is told. */
  readonly othersFirst: () => Promise<void>;
  /** Where somebody plays the kernel's part: see node-nfqueue. */
  readonly played?: string;
}

/** Headers with options and extension headers fit; the kernel keeps the rest. */
const COPY_BYTES = 128;
/** Holds a burst of 20,000 packets while JavaScript is busy (copy range 128). */
const RECEIVE_BUFFER_BYTES = 8 << 20;
/** Packets that are read at once; memory is reserved for so many, in every tunnel. */
const BURST = 64;
/** A tun device's queue is 500 packets and a server's socket buffer 212,992 bytes: so many at once, and then a pause. */
const PACE = { chunk: 64, chunkBytes: 96 * 1024, intervalMs: 2 } as const;
/** Packets that come less often than this are no flow that could be overtaken. */
const FLOW_MS = 10;
/** More than a flood can be chased: after this what arrives is accepted at once, though older packets may still wait. */
const RELEASE_DEADLINE_MS = 2000;

/** One release that is under way. */
interface Releasing {
  /** Ends it between two chunks. */
  stopper?: AbortController;
}

/** Holds the packets of one tunnel in the kernel and gives them their verdicts. */
export class HoldQueue implements QueuePort {
  readonly #events$ = new Subject<QueueEvent>();
  readonly events$ = this.#events$.asObservable();
  readonly #queue: NfQueue;
  readonly #options: HoldQueueOptions;
  readonly #clock: ClockPort;
  readonly #log: LogPort;
  readonly #othersFirst: () => Promise<void>;
  readonly #held = new HeldPackets();
  readonly #counters = { held: 0, released: 0, rejected: 0, dropped: 0, lost: 0 };
  #mode: 'hold' | 'accept' | 'answer' = 'hold';
  #releasing: Releasing | undefined;
  /** The packet that came when nothing was held. */
  #first: WakePacket | undefined;
  /** Not all that is held are strays. */
  #wanted = false;
  #kernelDrops = 0;
  #arrivedAt = -Infinity;
  /** Local packets that were routed into the living tunnel go into it as they come: they were sent before the routes changed. */
  #passesLocal = false;
  /** How many packets had come when the kernel was asked last what it had thrown away. */
  #looked: number | undefined = 0;

  private constructor(queue: NfQueue, options: HoldQueueOptions, { clock, log, othersFirst }: HoldQueueMeans) {
    this.#queue = queue;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#othersFirst = othersFirst;
    queue.on('packets', (batch) => { this.#arrived(batch); });
    queue.on('overflow', () => {
      this.#looked = undefined;
      this.#countDrops();
    });
    queue.on('flushed', ({ packets, remaining }) => { this.#flushed(packets, remaining); });
    queue.on('warning', (warning) => { this.#warn('queue.warning', messageOf(warning)); });
    queue.on('error', (error) => { this.#failed(error); });
  }

  /** Binds the queue. Rejects with QUEUE_IN_USE, NOT_PERMITTED or QUEUE_FAILED. */
  static async open(options: HoldQueueOptions, means: HoldQueueMeans): Promise<HoldQueue> {
    try {
      const queue = await NfQueue.open({ num: options.num, copy: COPY_BYTES, maxLength: options.packets, receiveBuffer: RECEIVE_BUFFER_BYTES, burst: BURST, flags: { uidGid: true, gso: true }, played: means.played });
      return new HoldQueue(queue, options, means);
    } catch (cause) {
      throw queueError(cause, options);
    }
  }

  remind(): void {
    if (this.#held.size === 0 || !this.#first) return;
    const held = { type: 'packets-held', count: this.#held.size, first: this.#first } as const;
    this.#events$.next(this.#wanted ? held : { ...held, strays: this.#held.filter(() => true).map(({ id }) => id) });
  }

  hold(): void {
    this.#mode = 'hold';
    this.#passesLocal = false;
    this.#looked = undefined;
    this.#releasing?.stopper?.abort();
    this.#releasing = undefined;
  }

  release(): void {
    this.hold();
    const releasing: Releasing = {};
    this.#releasing = releasing;
    this.#releaseAll(releasing).catch((error: unknown) => {
      this.#events$.next({ type: 'queue-failed', detail: messageOf(error) });
    });
  }

  async releaseLocal(): Promise<void> {
    for (let local = this.#intoTunnel(); local.length > 0; local = this.#intoTunnel()) {
      this.#held.delete(local);
      // Without a mark: the route that they have is the one into the living tunnel.
      const { sent } = await this.#queue.release(local, { verdict: 'accept', ...PACE });
      this.#counters.released += sent;
    }
    // Some may be on their way from the kernel to here.
    this.#passesLocal = this.#mode === 'hold';
  }

  answer(): void {
    this.hold();
    this.#mode = 'answer';
    for (const { mark, ids } of this.#held.runs()) {
      this.#queue.verdicts(ids, { verdict: 'accept', mark: this.#marked(mark, this.#options.marks.reject) });
      this.#held.delete(ids);
      this.#answered(ids.length);
    }
  }

  drop(packets: readonly number[]): void {
    const ids = packets.filter((id) => this.#held.has(id));
    this.#held.delete(ids);
    this.#queue.verdicts(ids, { verdict: 'drop' });
    this.#counters.dropped += ids.length;
  }

  carryOut(change: RuleChange): void {
    // Only what is accepted as it comes can be waited for, if anything comes; a closing gate must not wait for anything.
    const flows = this.#mode === 'accept' && this.#clock.now() - this.#arrivedAt < FLOW_MS;
    this.#queue.requestInPause(change, flows ? {} : { withinUs: 0 });
  }

  stats(): QueueStats {
    this.#countDrops();
    const { held, released, rejected, dropped, lost } = this.#counters;
    const { oldest } = this.#held;
    return { packets: this.#held.size, oldestMs: oldest ? Math.round(this.#clock.now() - oldest.heldAt) : 0, held, released, rejected, dropped: dropped + lost + this.#kernelDrops };
  }

  async close(): Promise<void> {
    this.hold();
    await this.#queue.close({ held: 'drop' });
    this.#events$.complete();
  }

  #arrived(batch: PacketBatch): void {
    this.#arrivedAt = this.#clock.now();
    this.#counters.held += batch.length;
    if (this.#mode === 'hold') this.#keep(batch);
    else this.#pass(batch, this.#mode);
  }

  #keep(batch: PacketBatch): void {
    const heldAt = this.#clock.now();
    const none = this.#held.size === 0;
    let first: WakePacket | undefined;
    let waking = false;
    const late: number[] = [];
    for (const packet of batch) {
      const local = packet.hook === 'output';
      const outDevice = local ? packet.outDevice : undefined;
      if (this.#passesLocal && outDevice === this.#options.device) {
        late.push(packet.id);
        continue;
      }
      if (!waking) {
        const headers = headersOf(packet);
        waking = !isStray(packet, headers);
        if (waking || !first) first = describePacket(packet, headers);
      }
      this.#held.add({ id: packet.id, mark: packet.mark, local, outDevice, heldAt });
    }
    if (late.length > 0) this.#queue.verdicts(late, { verdict: 'accept' });
    this.#counters.released += late.length;
    if (!first) return;
    if (none) [this.#first, this.#wanted] = [first, false];
    if (waking) this.#wanted = true;
    const held = { type: 'packets-held', count: batch.length - late.length, first } as const;
    this.#events$.next(waking ? held : { ...held, strays: [...batch.ids()].filter((id) => this.#held.has(id)) });
  }

  /** What is held and was routed into the tunnel device, oldest first. */
  #intoTunnel(): readonly number[] {
    return this.#held.filter(({ local, outDevice }) => local && outDevice === this.#options.device).map(({ id }) => id);
  }

  /** Verdicts on arrival, one system call for neighbours with the same mark. */
  #pass(batch: PacketBatch, mode: 'accept' | 'answer'): void {
    const passing = new HeldPackets();
    for (const { id, mark } of batch) passing.add({ id, mark, local: false, outDevice: undefined, heldAt: 0 });
    const bits = mode === 'accept' ? this.#options.marks.release : this.#options.marks.reject;
    for (const { mark, ids } of passing.runs()) this.#queue.verdicts(ids, { verdict: 'accept', mark: this.#marked(mark, bits) });
    if (mode === 'accept') this.#counters.released += batch.length;
    else this.#answered(batch.length);
  }

  async #releaseAll(releasing: Releasing): Promise<void> {
    const deadline = this.#clock.now() + RELEASE_DEADLINE_MS;
    let released = 0;
    // What arrives meanwhile is released behind what was there: nothing overtakes anything.
    while (this.#held.size > 0) {
      if (this.#clock.now() > deadline) this.#mode = 'accept';
      for (const { mark, ids } of this.#held.runs()) {
        released += await this.#releaseRun(ids, mark, releasing);
        if (this.#releasing !== releasing) return;
      }
    }
    this.#mode = 'accept';
    // Of many that wake together, those that still wait for their verdict go first.
    await this.#othersFirst();
    if (this.#releasing !== releasing) return;
    this.#releasing = undefined;
    this.#events$.next({ type: 'released', packets: released });
  }

  async #releaseRun(ids: readonly number[], mark: number, releasing: Releasing): Promise<number> {
    // One packet goes at once: there is nothing to be stopped, and a controller costs more than a verdict.
    const signal = ids.length > 1 ? (releasing.stopper ??= new AbortController()).signal : undefined;
    const { sent, remaining } = await this.#queue.release(ids, { verdict: 'accept', mark: this.#marked(mark, this.#options.marks.release), ...PACE, signal });
    this.#held.delete(ids.slice(0, ids.length - remaining));
    this.#counters.released += sent;
    return sent;
  }

  #answered(packets: number): void {
    if (this.#options.silent) this.#counters.dropped += packets;
    else this.#counters.rejected += packets;
  }

  #flushed(packets: number, remaining: number): void {
    // Which they were is not told; where none is left it is clear.
    if (remaining === 0) this.#held.clear();
    this.#counters.lost += packets;
    this.#warn('queue.flushed', `the kernel threw ${packets} held packets away (their device went, or somebody rebuilt the firewall)`);
    this.#events$.next({ type: 'flushed', packets });
  }

  /** The kernel only counts what it throws away; it is told when somebody looks. */
  #countDrops(): void {
    // Nothing is held and nothing has come since: a thousand tunnels are asked for a status.
    if (this.#held.size === 0 && this.#looked === this.#counters.held) return;
    this.#looked = this.#counters.held;
    const { queueDropped, userDropped } = this.#queue.stats().kernel ?? { queueDropped: 0, userDropped: 0 };
    const more = queueDropped + userDropped - this.#kernelDrops;
    if (more <= 0) return;
    this.#kernelDrops += more;
    this.#warn('queue.overflow', `${more} packets were dropped: more than ${this.#options.packets} (\`hold.packets\`) would have been held`);
    this.#events$.next({ type: 'overflow', packets: more });
  }

  /** The packet's own mark with our bits in it. */
  #marked(mark: number, bits: number): number {
    return ((mark & ~this.#options.marks.mask) | bits) >>> 0;
  }

  /** What a listener of ours threw is a defect, but the queue goes on, and so do we. */
  #failed(error: NfQueueError): void {
    if (error.code === 'ERR_LISTENER') this.#log.error({ event: 'queue.defect', tunnel: this.#options.tunnel, stack: error.stack }, error.message);
    else this.#events$.next({ type: 'queue-failed', detail: error.message });
  }

  #warn(event: string, message: string): void {
    this.#log.warn({ event, tunnel: this.#options.tunnel }, message);
  }
}

function queueError(cause: unknown, { num, tunnel }: HoldQueueOptions): DaemonError {
  const code = (cause as { code?: unknown }).code;
  const hint = (cause as { hint?: string }).hint;
  const place = `tunnel ${tunnel}, queue ${num}`;
  const details = { cause, place, ...(hint === undefined ? {} : { hint }) };
  if (code === 'EBUSY') return new DaemonError('QUEUE_IN_USE', messageOf(cause), { ...details, hint: `${hint ?? 'another process has it'}; choose another number with \`queue\`` });
  return new DaemonError(code === 'EPERM' ? 'NOT_PERMITTED' : 'QUEUE_FAILED', messageOf(cause), details);
}
