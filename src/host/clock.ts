import { performance } from 'node:perf_hooks';
import { timer } from 'rxjs';
import type { ClockPort } from '../core/ports.js';

/** Steady time in milliseconds since the epoch: it does not jump when somebody sets the clock. */
export const systemClock: ClockPort = {
  now: () => performance.timeOrigin + performance.now(),
  at: (time) => timer(Math.max(0, time - systemClock.now())),
};
