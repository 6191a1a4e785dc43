import { Observable, Subject } from 'rxjs';
import type { ManagementEvent } from './events.js';

const MOST_KEPT = 1024;

/** Events for whoever subscribes; what comes while nobody does is kept for the next one, the oldest dropped first. */
export class EventBuffer {
  readonly events$: Observable<ManagementEvent>;
  readonly #live = new Subject<ManagementEvent>();
  readonly #kept: ManagementEvent[] = [];
  #completed = false;

  constructor() {
    this.events$ = new Observable((subscriber) => {
      const subscription = this.#live.subscribe(subscriber);
      this.#deliver();
      return subscription;
    });
  }

  next(event: ManagementEvent): void {
    this.#kept.push(event);
    if (this.#kept.length > MOST_KEPT) this.#kept.shift();
    this.#deliver();
  }

  complete(): void {
    this.#completed = true;
    this.#deliver();
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
