import type { Clock } from '../../../src/management/index.js';

/** Time goes on when the test says so. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Map<object, { readonly at: number; readonly callback: () => void }>();

  now(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): () => void {
    const key = {};
    this.#timers.set(key, { at: this.#now + delayMs, callback });
    return () => void this.#timers.delete(key);
  }

  get running(): number {
    return this.#timers.size;
  }

  advance(byMs: number): void {
    this.#now += byMs;
    for (const [key, { at, callback }] of this.#timers) {
      if (at > this.#now) continue;
      this.#timers.delete(key);
      callback();
    }
  }
}
