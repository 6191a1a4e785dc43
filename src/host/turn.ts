import { setImmediate, setTimeout } from 'node:timers/promises';

/** A turn of the event loop that took longer had something to do. */
const BUSY_MS = 0.2;
/** Longer than the packets of many tunnels need to be on their way, and shorter than what a person notices. */
const LATER_MS = 20;
/** Who looks on is not kept waiting for longer by traffic that never pauses. */
const LATEST_MS = 200;

interface Patient {
  /** After this it goes, whatever others do. */
  readonly until: number;
  readonly go: () => void;
}

/** Who lets others go first, one behind the other: what one of them does is in the way of the next, too. */
let patients: Patient[] = [];

/** Lets whatever is to be done go first: resolves after a turn of the event loop in which nobody did anything, or after `withinMs`. */
export function othersFirst(withinMs: number): Promise<void> {
  return new Promise((go) => {
    if (patients.push({ until: performance.now() + withinMs, go }) === 1) void watchTurns();
  });
}

async function watchTurns(): Promise<void> {
  let now = performance.now();
  do {
    const before = now;
    await setImmediate();
    now = performance.now();
    const quiet = now - before < BUSY_MS;
    const going = patients.filter(({ until }, index) => (quiet && index === 0) || until <= now);
    if (going.length === 0) continue;
    patients = patients.filter((each) => !going.includes(each));
    for (const { go } of going) go();
  } while (patients.length > 0);
}

/** A moment in which nobody waits for what is done: some milliseconds later, not while `busy`, and when others have done their work. */
export async function goodMoment(busy: () => boolean): Promise<void> {
  do await setTimeout(LATER_MS, undefined, { ref: false }); // nobody is kept from ending by what is still to be told
  while (busy());
  await othersFirst(LATEST_MS);
}
