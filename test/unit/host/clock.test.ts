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
});
