import { performance } from 'node:perf_hooks';
import { defer, Observable, of, switchMap } from 'rxjs';
import type { ClockPort } from '../core/ports.js';

/** A timer of Node.js takes no more, and fires at once for what is longer: 24.8 days. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Steady time in milliseconds since the epoch: it does not jump when somebody sets the clock. `at` is never early, as timers
 * of Node.js are: they count whole milliseconds, from the beginning of a turn of the event loop.
 */
export const systemClock: ClockPort = {
  now: () => performance.timeOrigin + performance.now(),
  at: (time) => defer(() => {
    const waitMs = Math.max(0, Math.ceil(time - systemClock.now()));
    return after(Math.min(waitMs, LONGEST_MS)).pipe(switchMap(() => (systemClock.now() < time ? systemClock.at(time) : of(undefined))));
  }),
};

/** RxJS's own timer is an interval within a scheduler, which costs more: each wake has some. */
function after(waitMs: number): Observable<undefined> {
  return new Observable((subscriber) => {
    const timer = setTimeout(() => {
      subscriber.next(undefined);
      subscriber.complete();
    }, waitMs);
    return () => { clearTimeout(timer); };
  });
}
