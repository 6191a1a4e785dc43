import { setTimeout as sleep } from 'node:timers/promises';
import { Subject } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { GateEvent } from '../core/events.js';
import type { StartWatch, Watch } from './watch.js';

/** Who takes one rule away takes more: the look at it waits for the rest. */
const SETTLE_MS = 5;
/** Between two looks that nothing but our own acting is the reason for: with events, and without. */
const SELDOM_MS = 10_000;
const OFTEN_MS = 1000;
/** After a repair that failed, since somebody was still at it, perhaps: so long at first, then twice as long each time. */
const RETRY_MS = 10;
/** After the end of what told of losses. */
const LISTEN_AGAIN_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

/** Between two readings, and how old one may be to be of use: later too much else has been sent. */
const RECENT_MS = 20;
const OLD_MS = 1000;

export interface RepairParts {
  /** One change of the gate after the other. */
  readonly inTurn: (change: () => Promise<unknown>) => Promise<unknown>;
  /** Whether all that was installed still stands; also if nothing was. */
  readonly intact: () => Promise<boolean>;
  /** Brings all of it back, every gate where it was. */
  readonly mend: () => Promise<void>;
  /** The tunnels whose packets find a way in clear without the firewall. */
  readonly exposed: () => readonly string[];
  /** Packets that have left this host by the devices of its default routes. */
  readonly sent: () => number;
  /** Undefined: nobody looks after anything. */
  readonly startWatch: (() => Promise<StartWatch>) | undefined;
}

/** A moment, and what had been sent by then. */
interface Reading {
  readonly at: number;
  readonly sent: number;
}

/**
 * Looks after what is installed: when the kernel tells of a loss, and, since it doesn't tell of everything everywhere,
 * when we act anyway. No polling: a timer runs only between a loss and its repair.
 */
export class SelfRepair {
  readonly #parts: RepairParts;
  readonly #events = new Subject<GateEvent>();
  readonly events$ = this.#events.asObservable();
  #watch: Watch | undefined;
  #active = false;
  /** When the next look is due. */
  #dueAt = Infinity;
  #lookedAt = 0;
  #retryMs = RETRY_MS;
  /** When all was known to stand last. */
  #sound: Reading | undefined;
  /** While packets are held: two readings, the older one from before whatever is on its way to us just now. */
  #recent: readonly Reading[] = [];
  /** What the kernel told first since the last look. */
  #heard: Reading | undefined;
  /** Since when something is known to be gone. */
  #lost: Reading | undefined;

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /** Resolves when no loss is missed any more. */
  async start(): Promise<void> {
    const { startWatch } = this.#parts;
    if (startWatch === undefined || this.#active) return;
    this.#active = true;
    this.#sound = this.#read();
    this.#lookedAt = this.#sound.at;
    await this.#listen(await startWatch());
  }

  stop(): void {
    this.#active = false;
    this.#watch?.stop();
    this.#watch = undefined;
    this.#lost = this.#heard = undefined;
    this.#recent = [];
  }

  /** Something was held: all of it stood a moment ago. */
  stood(): void {
    const newest = this.#recent.at(-1)?.at ?? -Infinity;
    if (!this.#active || this.#lost !== undefined || performance.now() - newest < RECENT_MS || this.#parts.exposed().length === 0) return;
    this.#recent = [...this.#recent.slice(-1), this.#read()];
  }

  /** Somebody acts: a good moment to look for what nobody tells of, unless it was done a little while ago. */
  acted(): void {
    const pauseMs = this.#watch?.listening === true ? SELDOM_MS : OFTEN_MS;
    if (this.#active && performance.now() - this.#lookedAt >= pauseMs) this.look(0);
  }

  /** Looks in a while, once for everything that happens until then; earlier, if a look is due later. */
  look(afterMs: number): void {
    const at = performance.now() + afterMs;
    if (at >= this.#dueAt || !this.#active) return;
    this.#dueAt = at;
    void sleep(afterMs, undefined, { ref: false })
      .then(() => (this.#dueAt === at ? this.#parts.inTurn(() => this.check()) : undefined))
      .catch(() => undefined); // told, and tried again
  }

  /**
   * Looks now, and repairs; to be called in turn. Resolves with whether something was gone and stands again, rejects if
   * it could not be brought back.
   */
  async check(): Promise<boolean> {
    this.#dueAt = Infinity; // what is taken away from here on is seen by the next look
    if (!this.#active) return false;
    this.#lookedAt = performance.now();
    const heard = this.#heard;
    this.#heard = undefined;
    try {
      const intact = await this.#parts.intact();
      if (intact && this.#lost === undefined) {
        this.#sound = this.#read();
        return false;
      }
      if (this.#lost === undefined) {
        this.#lost = heard ?? this.#sound ?? this.#read();
        this.#events.next({ type: 'gate-broken' });
      }
      if (!intact) await this.#parts.mend();
      this.#repaired(this.#lost, heard === undefined);
      return true;
    } catch (error) {
      // The first time it may only have met somebody who was still at it.
      if (this.#retryMs > RETRY_MS) this.#events.next({ type: 'gate-unrepaired', detail: messageOf(error) });
      this.look(this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
      throw error;
    }
  }

  #repaired(since: Reading, unheard: boolean): void {
    const now = this.#read();
    const packets = Math.max(0, now.sent - since.sent);
    this.#lost = undefined;
    this.#sound = now;
    this.#retryMs = RETRY_MS;
    this.#events.next({ type: 'gate-repaired', afterMs: now.at - since.at, unheard, escaped: new Map(this.#parts.exposed().map((name) => [name, packets])) });
  }

  /** The kernel's event takes some milliseconds to us: what was sent in those counts, too, as far as held packets tell. */
  #before(now: Reading): Reading {
    const [older] = this.#recent;
    return { at: now.at, sent: older !== undefined && now.at - older.at < OLD_MS ? older.sent : now.sent };
  }

  async #listen(start: StartWatch): Promise<void> {
    const startedAt = performance.now();
    const watch = start(() => {
      this.#heard ??= this.#before(this.#read());
      this.look(SETTLE_MS);
    }, (listened) => {
      // Without its program there is nothing to be started again.
      if (listened && this.#watch === watch) void this.#again(start, performance.now() - startedAt);
    });
    this.#watch = watch;
    await watch.ready;
  }

  /** What told of losses has ended. */
  async #again(start: StartWatch, lastedMs: number): Promise<void> {
    await sleep(lastedMs > LONGEST_RETRY_MS ? 0 : LISTEN_AGAIN_MS, undefined, { ref: false });
    if (!this.#active) return;
    await this.#listen(start);
    this.look(0); // for what happened meanwhile
  }

  #read(): Reading {
    return { at: performance.now(), sent: this.#parts.sent() };
  }
}
