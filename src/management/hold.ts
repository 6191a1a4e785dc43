import type { Subscription } from 'rxjs';
import type { ManagementClient } from './client.js';
import { systemClock, type Clock } from './clock.js';
import type { HoldEvent } from './events.js';

export interface HoldOptions {
  /** How long a hold is kept before it is released: OpenVPN's own back-off unless something better is known. */
  readonly waitMs?: (hold: HoldEvent) => number;
  /** `hold release` was not answered. */
  readonly onError?: (error: unknown) => void;
  readonly clock?: Clock;
}

/**
 * Answers holds as OpenVPN means it: every HOLD once, after its seconds, and only while a dial is wanted. A HOLD that
 * OpenVPN merely says again (after a signal that it ignores) is not a new one, and RECONNECTING is never answered:
 * both would double the dial. Subscribes to the client's events when it is made; no timer runs unless a dial is wanted.
 */
export class HoldPolicy {
  readonly #client: ManagementClient;
  readonly #waitMs: (hold: HoldEvent) => number;
  readonly #onError: (error: unknown) => void;
  readonly #clock: Clock;
  readonly #subscription: Subscription;
  #hold: { readonly question: HoldEvent; readonly releasableAt: number } | undefined;
  #released: HoldEvent | undefined;
  #wanted = false;
  #cancelWait: (() => void) | undefined;

  constructor(client: ManagementClient, { waitMs = ({ waitSeconds }) => waitSeconds * 1000, onError = () => undefined, clock = systemClock }: HoldOptions = {}) {
    this.#client = client;
    this.#waitMs = waitMs;
    this.#onError = onError;
    this.#clock = clock;
    this.#subscription = client.events$.subscribe({
      next: ({ type }) => {
        if (type === 'hold') this.#held();
      },
      complete: () => {
        this.close();
      },
    });
    // One that came before us is no event any more.
    this.#held();
  }

  /** A dial is wanted: the present hold is released, and so is every one that follows. */
  want(): void {
    this.#wanted = true;
    this.#consider();
  }

  /** No dial is wanted any more; a release that was sent is not taken back. */
  unwant(): void {
    this.#wanted = false;
    this.#cancelWait?.();
  }

  /** The present hold is not kept any longer. */
  hurry(): void {
    if (this.#hold !== undefined) this.#hold = { ...this.#hold, releasableAt: this.#clock.now() };
    this.#consider();
  }

  close(): void {
    this.unwant();
    this.#subscription.unsubscribe();
  }

  #held(): void {
    // Of events that come late the client knows more: what OpenVPN waits for now.
    const { question } = this.#client;
    if (question?.type !== 'hold' || question === this.#hold?.question) return;
    this.#hold = { question, releasableAt: this.#clock.now() + this.#waitMs(question) };
    this.#consider();
  }

  #consider(): void {
    this.#cancelWait?.();
    const hold = this.#hold;
    if (!this.#wanted || hold === undefined || hold.question === this.#released || hold.question !== this.#client.question) return;
    const waitMs = hold.releasableAt - this.#clock.now();
    if (waitMs > 0) {
      this.#cancelWait = this.#clock.after(waitMs, () => {
        this.#consider();
      });
      return;
    }
    this.#released = hold.question;
    this.#client.holdRelease().catch(this.#onError);
  }
}
