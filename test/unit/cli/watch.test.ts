import { describe, expect, it } from '@jest/globals';
import { watch } from '../../../src/cli/watch.js';
import type { Status, TunnelStatus } from '../../../src/control/api.js';
import { DaemonError } from '../../../src/core/errors.js';

const now = Date.parse('2026-01-01T00:00:10Z');
const office: TunnelStatus = {
  name: 'office', state: 'idle', gate: 'hold', since: '2026-01-01T00:00:00.000Z', device: 'ovpn-office', protect: ['10.99.0.0/16'],
  held: { packets: 0, oldestMs: 0 }, counters: { wakes: 3, held: 9, released: 8, dropped: 1, rejected: 2, dialFailures: 0 },
};
const status = (change: Partial<TunnelStatus> = {}): Status => ({ version: '1', tunnels: [{ ...office, ...change }] });

/** Shows one status after the other, and ends. */
async function show(statuses: readonly Status[], isTTY: boolean): Promise<string> {
  const controller = new AbortController();
  let text = '';
  let next = 0;
  const read = (): Promise<Status> => {
    const current = statuses[next++]!;
    if (next === statuses.length) controller.abort();
    return Promise.resolve(current);
  };
  await watch({ read, output: { isTTY, write: (part: string) => { text += part; } }, now: () => now, signal: controller.signal, everyMs: 1 });
  return text;
}

describe('status --watch', () => {
  it('on a terminal: a table in place, and the terminal as it was at the end', async () => {
    const text = await show([status({ state: 'dialing', held: { packets: 4, oldestMs: 12 } })], true);
    expect(text.startsWith('\x1b[?1049h\x1b[?25l\x1b[H')).toBe(true);
    expect(text.endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
    const rows = text.replace(/\x1b\[[?0-9]*[A-Za-z]/g, '').split('\n');
    expect(rows.slice(0, 4)).toEqual([
      'TUNNEL  STATE    FOR  GATE  HELD  WAKES  RELEASED  DROPPED  REJECTED  DIAL',
      'office  dialing  10s  hold  4     3      8         1        2         –',
      '',
      'office: dialing 10s · 4 packets held, the oldest for 12ms',
    ]);
  });

  it('elsewhere: a line for each change of state, and no codes', async () => {
    const up = status({ state: 'up', since: '2026-01-01T00:00:09.000Z' });
    const text = await show([status(), status(), up, up], false);
    expect(text.split('\n')).toEqual(['2026-01-01T00:00:10.000Z office: idle 10s · wakes on 10.99.0.0/16', '2026-01-01T00:00:10.000Z office: up 1s', '']);
  });

  it('ends with the daemon, and leaves the terminal as it was', async () => {
    let text = '';
    const gone = new DaemonError('CONTROL_UNREACHABLE', 'no daemon answers');
    await expect(watch({ read: () => Promise.reject(gone), output: { isTTY: true, write: (part: string) => { text += part; } }, now: () => now, signal: new AbortController().signal })).rejects.toBe(gone);
    expect(text).toBe('\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l');
  });
});
