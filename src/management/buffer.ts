import { Observable, Subject } from 'rxjs';
import type { ManagementEvent } from './events.js';

const MOST_KEPT = 1024;

/**
 * Events for whoever subscribes; what comes while nobody does is kept for who subscribes next, the oldest dropped
 * first. What was kept is given out in a microtask, so that all who subscribe in one go get all of it.
 */
export class EventBuffer {
  readonly events$: Observable<ManagementEvent>;
  readonly #live = new Subject<ManagementEvent>();
  readonly #kept: ManagementEvent[] = [];
  #completed = false;

  constructor() {
    this.events$ = new Observable((subscriber) => {
      const subscription = this.#live.subscribe(subscriber);
      if (this.#kept.length > 0) {
        queueMicrotask(() => {
          this.#deliver();
        });
      }
      return subscription;
    });
  }

  next(event: ManagementEvent): void {
    // In order: behind what is still waiting for its microtask.
    if (this.#live.observed && this.#kept.length === 0) {
      this.#live.next(event);
      return;
    }
    this.#kept.push(event);
    if (this.#kept.length > MOST_KEPT) this.#kept.shift();
  }

  complete(): void {
    this.#completed = true;
    if (this.#kept.length === 0) this.#live.complete();
  }

  /** A subscriber may leave at any event, so each one asks anew. */
  #deliver(): void {
    while (this.#live.observed) {
      const event = this.#kept.shift();
      if (event === undefined) break;
      this.#live.next(event);
    }
    if (this.#completed && this.#kept.length === 0) this.#live.complete();
  }
}
