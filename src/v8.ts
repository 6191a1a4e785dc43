import { setFlagsFromString } from 'node:v8';

/** Memory before speed. The optimizing compiler, whose own memory stays, works only for what runs much longer than a wake: 8 of 72 MB. */
const SMALL = ['--optimize-for-size', '--interrupt-budget=2000000'];
/** As V8 is by default, but for the young generation. */
const QUICK = ['--no-optimize-for-size', '--interrupt-budget=67584'];
/** The young generation stays as it starts, at a semi-space of one megabyte: measured, 18 of 87 MB resident. */
const STAYS_YOUNG = '--semi-space-growth-factor=1';
/** To the size that a wave of a hundred needs, by its second collection. */
const GROWS = '--semi-space-growth-factor=8';

/** So many tunnels may wake at the same moment that the last one waits for the JavaScript of all the others. */
export const MANY_TUNNELS = 20;
/** What is made of so many prefixes is large in any case; collecting it again and again while it grows took 2.3 of 5.5 seconds until the trap was set. */
const MANY_PREFIXES = 10_000;

/** What a daemon has to do, as far as it matters here. */
export interface Extent {
  readonly tunnels: number;
  /** In `protect` and `exclude` of all tunnels. */
  readonly prefixes: number;
  /** Its tunnels may be woken. */
  readonly started: boolean;
}

/** An idle daemon shall be small. To be called before anything else is loaded. */
export function makeV8Small(): void {
  setFlags([...SMALL, STAYS_YOUNG]);
}

/**
 * What many tunnels need is compiled: measured, 6 MB with a thousand that are idle, and a third less time for a hundred that
 * wake together. Once they may be woken, garbage may lie for longer, too: a quarter less time for a wave, the first one
 * included; V8 gives that memory back in a minute of rest. What is made during the start of a thousand would need it for
 * 40 seconds, and 40 MB of it.
 */
export function fitV8To({ tunnels, prefixes, started }: Extent): void {
  const [manyTunnels, manyPrefixes] = [tunnels >= MANY_TUNNELS, prefixes >= MANY_PREFIXES];
  setFlags([...(manyTunnels || manyPrefixes ? QUICK : SMALL), manyPrefixes || (manyTunnels && started) ? GROWS : STAYS_YOUNG]);
}

function setFlags(flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}
