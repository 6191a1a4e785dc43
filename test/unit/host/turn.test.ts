import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { goodMoment, othersFirst } from '../../../src/host/turn.js';

/** Turns of the event loop that have something to do, until `ended` says so. */
async function busyTurns(ended: () => boolean): Promise<void> {
  while (!ended()) {
    const until = performance.now() + 1;
    while (performance.now() < until);
    await setImmediate();
  }
}

describe('others first', () => {
  it('waits for a turn in which nobody does anything', async () => {
    let [waits, working] = [true, true];
    const others = busyTurns(() => !working);
    const waited = othersFirst(60_000).then(() => { waits = false; });
    for (let turn = 0; turn < 5; turn++) await setImmediate();
    expect(waits).toBe(true);
    working = false;
    await others;
    await waited;
  });

  it('waits no longer than it was told to, and those who may wait longer go on waiting', async () => {
    const gone: string[] = [];
    const patient = othersFirst(60_000).then(() => { gone.push('patient'); });
    const hasty = othersFirst(5).then(() => { gone.push('hasty'); });
    await busyTurns(() => gone.length > 0);
    await patient;
    await hasty;
    expect(gone).toEqual(['hasty', 'patient']);
  });

  it('lets one after the other go, in their order, and others in between', async () => {
    const gone: { readonly who: number; readonly turn: number }[] = [];
    let turn = 0;
    const all = Promise.all([0, 1, 2].map(async (who) => {
      await othersFirst(60_000);
      gone.push({ who, turn });
    }));
    while (gone.length < 3) {
      await setImmediate();
      turn++;
    }
    await all;
    expect(gone.map(({ who }) => who)).toEqual([0, 1, 2]);
    expect(new Set(gone.map((each) => each.turn)).size).toBe(3);
  });
});

it('a good moment is none while something is busy', async () => {
  let looks = 0;
  await goodMoment(() => ++looks < 3);
  expect(looks).toBe(3);
});
