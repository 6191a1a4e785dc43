import { afterEach, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { getPriority, setPriority } from 'node:os';
import { withUsualPriority } from '../../../src/link/usual-priority.js';

const usual = getPriority();
afterEach(() => { setPriority(usual); });

it('what is started while this process is urgent is not', async () => {
  setPriority(usual - 5);
  const urgent = spawn('sleep', ['60']);
  const child = withUsualPriority(spawn('sleep', ['60']));
  const priorities = [getPriority(urgent.pid), getPriority(child.pid)];
  for (const each of [urgent, child]) {
    each.kill();
    await once(each, 'exit');
  }
  expect(priorities).toEqual([usual - 5, usual]);
});

it('what has not started has none', () => {
  expect(withUsualPriority({ pid: undefined })).toEqual({ pid: undefined });
});
