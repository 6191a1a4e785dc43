import { describe, expect, it } from '@jest/globals';
import { firstValueFrom } from 'rxjs';
import { systemClock } from '../../../src/host/clock.js';

describe('the clock', () => {
  it('tells of a time, at once if it has passed, but not early of one that is months away', async () => {
    const told: string[] = [];
    const later = systemClock.at(systemClock.now() + 90 * 86_400_000).subscribe(() => told.push('in months'));
    await firstValueFrom(systemClock.at(systemClock.now() + 30));
    told.push('in 30 ms');
    await firstValueFrom(systemClock.at(systemClock.now() - 1));
    later.unsubscribe();
    expect(told).toEqual(['in 30 ms']);
  });

  it('is never early, though timers are', async () => {
    const early: number[] = [];
    for (let time = 0; time < 40; time++) {
      const at = systemClock.now() + 3 + Math.random();
      await firstValueFrom(systemClock.at(at));
      if (systemClock.now() < at) early.push(at - systemClock.now());
    }
    expect(early).toEqual([]);
  });
});
