import { closeSync, openSync } from 'node:fs';
import { decodePacket, NfQueue, type PacketBatch } from 'node-nfqueue';
import { domainQueue } from '../core/domains.js';
import { DaemonError, messageOf } from '../core/errors.js';
import type { CarryOut, Marks, Prefix } from '../core/ports.js';
import { formatNet, parseNet, type Net } from '../core/prefix.js';
import type { Plan } from './plan.js';
import { hasDomains } from './planned-tunnel.js';

/** Packets to addresses that are not learned yet, in the kernel. */
const MOST_WAITING = 1024;
/** Few come, and memory is reserved for so many. */
const BURST = 64;

/** Packets that wait for their addresses to be learned. */
export interface Waiting {
  /** Makes a change at a moment when no packet is on its way to us. */
  readonly carryOut: CarryOut;
  /**
   * Packets to these addresses, those that wait and those that come until they are learned, pass on: to where they are routed
   * (accept), to the tunnel's queue (queue), or to the rules once more (repeat).
   */
  pass(addresses: readonly Net[], verdict: Passing['verdict']): void;
}

interface Passing {
  readonly prefixes: ReadonlySet<Prefix>;
  readonly verdict: 'accept' | 'queue' | 'repeat';
}

export interface LearnersOptions {
  readonly marks: Marks;
  /** The file of another network namespace. */
  readonly netns: string | undefined;
  readonly warn: (event: string, message: string) => void;
  /** Makes these addresses the tunnel's, as far as they can be, and lets their packets pass; the others' are dropped when it is done. */
  readonly learn: (tunnel: string, addresses: readonly Net[], waiting: Waiting) => Promise<void>;
}

/**
 * What dnsmasq adds to a tunnel's sets has no route yet, and whether it is told or not it is there: so the rules send the first
 * packets to such an address here. Each tunnel with domains has a queue for them.
 */
export class Learners {
  readonly #options: LearnersOptions;
  readonly #queues = new Map<number, Learner>();
  /** By tunnel, since the start. */
  readonly #dropped = new Map<string, number>();

  constructor(options: LearnersOptions) {
    this.#options = options;
  }

  /** Binds what the plan's tunnels need, all or none. Rejects with QUEUE_IN_USE, NOT_PERMITTED or QUEUE_FAILED. */
  async open(plan: Plan): Promise<void> {
    const opened: number[] = [];
    try {
      for (const { tunnel: { name, queue } } of plan.tunnels.filter(hasDomains)) {
        if (this.#queues.get(queue)?.tunnel === name) continue;
        await this.#close(queue);
        this.#queues.set(queue, await Learner.open(name, domainQueue(queue), this.#options, (packets) => { this.#dropped.set(name, this.dropped(name) + packets); }));
        opened.push(queue);
      }
    } catch (error) {
      for (const queue of opened) await this.#close(queue);
      throw error;
    }
  }

  /** Only the plan's tunnels' are left. */
  async keep(plan: Plan): Promise<void> {
    const wanted = new Set(plan.tunnels.filter(hasDomains).map(({ tunnel: { queue } }) => queue));
    for (const queue of [...this.#queues.keys()].filter((each) => !wanted.has(each))) await this.#close(queue);
  }

  /** Packets of the tunnel that were thrown away here. */
  dropped(tunnel: string): number {
    return this.#dropped.get(tunnel) ?? 0;
  }

  async close(): Promise<void> {
    for (const queue of [...this.#queues.keys()]) await this.#close(queue);
  }

  async #close(queue: number): Promise<void> {
    await this.#queues.get(queue)?.close();
    this.#queues.delete(queue);
  }
}

interface WaitingPacket {
  readonly id: number;
  readonly mark: number;
  /** Made on this host: it has a route already, and must get another one. */
  readonly local: boolean;
  readonly net: Net;
  readonly prefix: Prefix;
}

/** The queue of one tunnel's unknown addresses. */
class Learner implements Waiting {
  readonly tunnel: string;
  readonly #queue: NfQueue;
  readonly #options: LearnersOptions;
  readonly #count: (dropped: number) => void;
  /** Oldest first. */
  #packets: WaitingPacket[] = [];
  #passing: Passing | undefined;
  #learning = false;
  #failing = false;

  private constructor(tunnel: string, queue: NfQueue, options: LearnersOptions, count: (dropped: number) => void) {
    this.tunnel = tunnel;
    this.#queue = queue;
    this.#options = options;
    this.#count = count;
    queue.on('packets', (batch) => { this.#arrived(batch); });
    queue.on('flushed', ({ packets, remaining }) => {
      count(packets);
      if (remaining === 0) this.#packets = [];
    });
    queue.on('overflow', ({ userDropped, queueDropped }) => {
      count(userDropped + queueDropped);
      this.#warn('more packets at once than wait for new addresses of domains were dropped');
    });
    queue.on('warning', (warning) => { this.#warn(messageOf(warning)); });
    queue.on('error', (error) => { this.#warn(messageOf(error)); });
  }

  static async open(tunnel: string, num: number, options: LearnersOptions, count: (dropped: number) => void): Promise<Learner> {
    const netns = options.netns === undefined ? undefined : openSync(options.netns, 'r');
    try {
      const queue = await NfQueue.open({ num, maxLength: MOST_WAITING, burst: BURST, flags: { gso: true }, netns });
      // what ends with its process, as the rules do not, is no reason for that to live on
      queue.unref();
      // it goes on entering the namespace
      if (netns !== undefined) queue.once('close', () => { closeSync(netns); });
      return new Learner(tunnel, queue, options, count);
    } catch (cause) {
      if (netns !== undefined) closeSync(netns);
      const { code } = cause as { code?: unknown };
      const known = code === 'EBUSY' ? 'QUEUE_IN_USE' : code === 'EPERM' ? 'NOT_PERMITTED' : 'QUEUE_FAILED';
      throw new DaemonError(known, messageOf(cause), { cause, place: `tunnel ${tunnel}, queue ${num} of its domains`, hint: 'it is made from the tunnel\'s own: choose another one with `queue`' });
    }
  }

  readonly carryOut: CarryOut = (change) => { this.#queue.requestInPause(change); };

  pass(addresses: readonly Net[], verdict: Passing['verdict']): void {
    this.#passing = { prefixes: new Set(addresses.map(formatNet)), verdict };
    for (const packet of this.#take(this.#passing.prefixes)) this.#pass(packet, verdict);
  }

  async close(): Promise<void> {
    this.#packets = [];
    await this.#queue.close({ held: 'drop' });
  }

  #arrived(batch: PacketBatch): void {
    for (const { id, mark, hook, payload, hwProtocol } of batch) {
      const { network } = decodePacket(payload, hwProtocol);
      if (network === undefined) {
        this.#drop([id]);
        continue;
      }
      const net = parseNet(network.destination);
      const packet = { id, mark, local: hook === 'output', net, prefix: formatNet(net) };
      if (this.#passing?.prefixes.has(packet.prefix) === true) this.#pass(packet, this.#passing.verdict);
      else this.#packets.push(packet);
    }
    if (!this.#learning) void this.#learnAll();
  }

  #pass({ id, mark, local }: WaitingPacket, verdict: Passing['verdict']): void {
    const { mask, release } = this.#options.marks;
    // The kernel routes a packet of this host anew if its mark is another one than when it was queued. The tunnel's queue will
    // change it, and where rules are met again, since they let nothing into the tunnel, the route that it has is right.
    const rerouted = local && verdict === 'accept' ? { mark: ((mark & ~mask) | release) >>> 0 } : {};
    this.#queue.verdict(id, { verdict, ...rerouted, ...(verdict === 'queue' ? { queue: domainQueue(this.#queue.num) } : {}) });
  }

  /** Once for all that wait; what comes meanwhile is next. */
  async #learnAll(): Promise<void> {
    this.#learning = true;
    while (this.#packets.length > 0) {
      const addresses = [...new Map(this.#packets.map(({ prefix, net }) => [prefix, net])).values()];
      try {
        await this.#options.learn(this.tunnel, addresses, this);
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) this.#warn(`packets to new addresses of domains are dropped: ${messageOf(error)}`);
        this.#failing = true;
      }
      this.#passing = undefined;
      this.#drop(this.#take(new Set(addresses.map(formatNet))).map(({ id }) => id));
    }
    this.#learning = false;
  }

  #drop(ids: readonly number[]): void {
    this.#count(ids.length);
    try {
      if (ids.length > 0) this.#queue.verdicts(ids, { verdict: 'drop' });
    } catch (error) {
      this.#warn(messageOf(error)); // they are dropped when the queue is closed
    }
  }

  #take(wanted: ReadonlySet<Prefix>): WaitingPacket[] {
    const taken = this.#packets.filter(({ prefix }) => wanted.has(prefix));
    this.#packets = this.#packets.filter(({ prefix }) => !wanted.has(prefix));
    return taken;
  }

  #warn(message: string): void {
    this.#options.warn('domains.not_learned', `${this.tunnel}: ${message}`);
  }
}
