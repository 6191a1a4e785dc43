import { describe, expect, it } from '@jest/globals';
import { asyncScheduler, timer } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import type { ClockPort } from '../../../src/core/ports.js';
import { watchdogMessages } from '../../../src/host/watchdog.js';

/** In virtual time. */
const clock: ClockPort = { now: () => asyncScheduler.now(), at: (time) => timer(time - asyncScheduler.now()) };

const play = (source: string, until: string, expected: string): void => {
  new TestScheduler((actual, wanted) => { expect(actual).toEqual(wanted); }).run(({ hot, expectObservable }) => {
    const active$ = hot(source, { t: true, f: false });
    const told = { o: 'WATCHDOG_USEC=0', i: 'WATCHDOG_USEC=8000', p: 'WATCHDOG=1' };
    expectObservable(watchdogMessages(active$, 8, clock), until).toBe(expected, told);
  });
};

describe('the watchdog', () => {
  it('is off while nothing is active, and no sign is given', () => { play('f----------', '----------!', 'o----------'); });
  it('gets a sign twice as often as it wants one while something is', () => { play('f-t----------------', '----------------!', 'o-i---p---p---p----'); });
  it('is off again at the end, without another sign', () => { play('t-----f-----------', '----------------!', 'i---p-o-----------'); });
  it('is not told the same twice', () => { play('t--t--------------', '----------------!', 'i---p---p---p-----'); });
});
