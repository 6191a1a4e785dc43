import { setImmediate } from 'node:timers/promises';

/** A turn of the event loop that took longer had something to do. */
const BUSY_MS = 0.2;

/** Lets whatever is to be done go first: resolves after a turn of the event loop in which nobody did anything, or after `withinMs`. */
export async function othersFirst(withinMs: number): Promise<void> {
  const start = performance.now();
  let now = start;
  for (;;) {
    const before = now;
    await setImmediate();
    now = performance.now();
    if (now - before < BUSY_MS || now - start >= withinMs) return;
  }
}
