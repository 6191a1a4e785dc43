import { EventEmitter } from 'node:events';
import type { ArrivedBatch, ArrivedPacket, KernelQueue } from '../nfqueue/queue.js';

/** The kernel's part of a queue that there is not: packets come one by one, and are gone with their verdict. */
export class PlayedQueue implements KernelQueue {
  readonly #events = new EventEmitter();
  readonly #held = new Set<number>();
  #lastId = 0;

  arrive(packet: Omit<ArrivedPacket, 'id'>): void {
    const id = ++this.#lastId;
    this.#held.add(id);
    this.#events.emit('packets', new PlayedBatch({ ...packet, id }));
  }

  on(event: string, listener: (...args: never[]) => void): unknown {
    return this.#events.on(event, listener as (...args: unknown[]) => void);
  }

  verdicts(ids: Iterable<number>): number {
    let settled = 0;
    for (const id of ids) settled += this.#held.delete(id) ? 1 : 0;
    return settled;
  }

  release(ids: Iterable<number>): Promise<{ readonly sent: number; readonly gone: number; readonly remaining: number }> {
    const all = [...ids];
    const sent = this.verdicts(all);
    return Promise.resolve({ sent, gone: all.length - sent, remaining: 0 });
  }

  requestInPause(): void {
    // there are no rules
  }

  stats(): { readonly kernel: undefined } {
    return { kernel: undefined };
  }

  close(): Promise<void> {
    this.#held.clear();
    return Promise.resolve();
  }
}

class PlayedBatch implements ArrivedBatch {
  readonly length = 1;
  readonly #packet: ArrivedPacket;

  constructor(packet: ArrivedPacket) {
    this.#packet = packet;
  }

  ids(): Uint32Array {
    return Uint32Array.of(this.#packet.id);
  }

  *[Symbol.iterator](): Generator<ArrivedPacket, undefined, undefined> {
    yield this.#packet;
  }
}
