import { setFlagsFromString } from 'node:v8';

/** Memory before speed. The optimizing compiler, whose own memory stays, works only for what runs much longer than a wake: 8 of 72 MB. */
const SMALL = ['--optimize-for-size', '--interrupt-budget=2000000'];
/** As V8 is by default, but for the young generation. */
const QUICK = ['--no-optimize-for-size', '--interrupt-budget=67584'];
/** So many tunnels may wake at the same moment that the last one waits for the JavaScript of all the others. */
const MANY_TUNNELS = 20;

/**
 * An idle daemon shall be small, and its young generation stays as it starts, at a semi-space of one megabyte: measured, 18 of
 * 87 MB resident. To be called before anything else is loaded, since it does not shrink.
 */
export function makeV8Small(): void {
  setFlags([...SMALL, '--semi-space-growth-factor=1']);
}

/** What many tunnels need is compiled. Measured: 6 MB with a thousand that are idle, and a third less time for a hundred that wake together, after which it is 115 to 155 instead of 88 MB. */
export function fitV8To(tunnels: number): void {
  setFlags(tunnels >= MANY_TUNNELS ? QUICK : SMALL);
}

function setFlags(flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}
