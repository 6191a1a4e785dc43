import { getPriority } from 'node:os';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Urgency } from '../../../src/host/urgency.js';

const usual = getPriority();
const urgency = new Urgency();
afterEach(() => { urgency.end(); });

describe('urgency', () => {
  it('lasts as long as some tunnel opens', () => {
    urgency.set('a', true);
    urgency.set('b', true);
    urgency.set('a', false);
    expect([urgency.raised, getPriority()]).toEqual([true, -20]);
    urgency.set('b', false);
    expect([urgency.raised, getPriority()]).toEqual([false, usual]);
  });

  it('ends with the tunnels, whatever they were doing', () => {
    urgency.set('a', true);
    urgency.set('b', true);
    urgency.end();
    expect([urgency.raised, getPriority()]).toEqual([false, usual]);
  });
});
