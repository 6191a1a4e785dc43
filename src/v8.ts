import { setFlagsFromString } from 'node:v8';

/** So many tunnels may wake at the same moment that the last one waits for the JavaScript of all the others. */
const MANY_TUNNELS = 20;

/**
 * An idle daemon shall be small: V8 trades speed for memory where it can, and the young generation stays as it starts, at one
 * megabyte; measured: 18 of 87 MB resident. Its optimizing compiler, whose own memory stays, works only for what runs much
 * longer than a wake: 8 of 72 MB. Only what is said before anything else is loaded counts.
 */
export function makeV8Small(): void {
  setFlags('--optimize-for-size', '--interrupt-budget=2000000', '--max-semi-space-size=1', '--semi-space-growth-factor=1');
}

/** With many tunnels what they need is compiled as V8 does by default: measured, 6 MB, and a third less time for a hundred that wake together. */
export function fitV8To(tunnels: number): void {
  if (tunnels >= MANY_TUNNELS) setFlags('--no-optimize-for-size', '--interrupt-budget=67584');
}

function setFlags(...flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}
