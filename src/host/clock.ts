import { performance } from 'node:perf_hooks';
import { Observable } from 'rxjs';
import type { ClockPort } from '../core/ports.js';

/** A timer of Node.js takes no more, and fires at once for what is longer: 24.8 days. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Steady time in milliseconds since the epoch: it does not jump when somebody sets the clock. `at` is never early, as timers
 * of Node.js are: they count whole milliseconds, from the beginning of a turn of the event loop.
 */
export const systemClock: ClockPort = {
  now: () => performance.timeOrigin + performance.now(),
  // Without operators, and without RxJS's own timer, which is an interval within a scheduler: each wake has some of these.
  at: (time) => new Observable((subscriber) => {
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const waitMs = Math.max(0, Math.ceil(time - systemClock.now()));
      timer = setTimeout(due, Math.min(waitMs, LONGEST_MS));
    };
    const due = (): void => {
      if (systemClock.now() < time) {
        wait();
        return;
      }
      subscriber.next(undefined);
      subscriber.complete();
    };
    wait();
    return () => { clearTimeout(timer); };
  }),
};
