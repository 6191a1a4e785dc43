import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { timer } from 'rxjs';
import type { ClockPort } from '../../src/core/ports.js';
import { systemClock } from '../../src/host/clock.js';
import { rehearse, type RehearsalMeans } from '../../src/rehearsal/rehearse.js';

const means = (folder: string, clock: ClockPort, tunnels: number): RehearsalMeans => ({ folder, clock, othersFirst: () => Promise.resolve(), tunnels });

describe('the rehearsal', () => {
  it('wakes and rests, more often where many may wake together, and leaves nothing behind', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rehearsal-'));
    let asked = 0;
    const counting: ClockPort = { ...systemClock, now: () => {
      asked += 1;
      return systemClock.now();
    } };
    await rehearse(means(folder, counting, 1));
    const few = asked;
    expect(few).toBeGreaterThan(50); // each event of the seven wakes has its time
    await rehearse(means(folder, counting, 1000));
    expect(asked - few).toBeGreaterThan(50 * few); // more than a thousand
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  });

  it('ends, too, where the machine stood still meanwhile: every time-out is over before anybody answers', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rehearsal-'));
    await rehearse(means(folder, { now: systemClock.now, at: () => timer(0) }, 1));
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  });

  it('does not hinder the start where it cannot be', async () => {
    await rehearse(means('/nowhere', systemClock, 1));
  });
});
