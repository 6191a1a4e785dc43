import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import type { Step } from '../../src/core/join.js';
import { startingTunnel, type State } from '../../src/core/state.js';
import { toBeLogged } from '../../src/log-step.js';

describe('what is logged of the steps', () => {
  const idle = startingTunnel(0);
  const dialing: State = { at: 'dialing', since: 0, failures: 0, phase: 'connecting' };
  const begun: Step = { tunnel: 'a', now: 0, event: { type: 'clock' }, before: idle, after: { ...idle, state: dialing }, effects: [] };
  const stayed: Step = { ...begun, before: idle, after: idle };
  const failed: Step = { ...stayed, event: { type: 'queue-failed', detail: 'no' } };

  it('changes of state and failures, 20 ms later', () => {
    new TestScheduler((actual, expected) => { expect(actual).toEqual(expected); }).run(({ hot, expectObservable }) => {
      const steps$ = hot('bsf 30ms s-|', { b: begun, s: stayed, f: failed });
      expectObservable(steps$.pipe(toBeLogged(() => false))).toBe('20ms (bf) 11ms |', { b: begun, f: failed });
    });
  });

  it('not before the packets are on their way, and at the end at the latest', () => {
    const steps$ = new Subject<Step>();
    const seen: Step[] = [];
    steps$.pipe(toBeLogged(() => true)).subscribe((step) => { seen.push(step); });
    steps$.next(begun);
    expect(seen).toEqual([]);
    steps$.complete();
    expect(seen).toEqual([begun]);
  });
});
