import { describe, expect, it } from '@jest/globals';
import { durationText, statusText } from '../../../src/cli/render.js';
import { whyText } from '../../../src/cli/why-text.js';
import type { TunnelStatus, Why } from '../../../src/control/api.js';

const now = Date.parse('2026-01-01T00:14:00Z');
const since = '2026-01-01T00:00:00.000Z';
const office: TunnelStatus = {
  name: 'office', state: 'idle', gate: 'hold', since, device: 'ovpn-office', protect: ['10.99.0.0/16', 'fd00:99::/48'],
  held: { packets: 0, oldestMs: 0 }, counters: { wakes: 0, held: 0, released: 0, dropped: 0, rejected: 0, dialFailures: 0 },
};
const packet = { protocol: 'tcp', source: '10.77.1.2', sourcePort: 40000, destination: '10.99.0.1', destinationPort: 8080, interface: 'lan0' };
const lastWake = { at: since, packet, dialMs: 37.4, releaseMs: 0.3, released: 1 };
const lastFailure = { at: since, code: 'auth', detail: 'the server refused the password' };
const text = (change: Partial<TunnelStatus>): string => statusText({ version: '1', tunnels: [{ ...office, ...change }] }, now);

const idle = 'office: idle 14m · wakes on 10.99.0.0/16, fd00:99::/48';

describe('status says what, why and what next', () => {
  it.each<[string, Partial<TunnelStatus>, string]>([
    ['idle', {}, idle],
    ['idle again', { lastWake }, `${idle} · last wake 10.77.1.2 → 10.99.0.1 tcp/8080 (up in 37.4 ms, 1 released)`],
    ['by command', { state: 'up', lastWake: { at: since } }, 'office: up 14m · last wake by command'],
    ['held', { state: 'dialing', held: { packets: 4, oldestMs: 1200 } }, 'office: dialing 14m · 4 packets held, the oldest for 1s'],
    ['backoff', { state: 'backoff', gate: 'reject', lastFailure }, 'office: backoff 14m · refusing packets: the server refused the password'],
    ['a failure that is over', { lastFailure }, idle],
    ['asked', { state: 'dialing', asks: 'user name for Auth' }, 'office: dialing 14m · asks for: user name for Auth (openvpn-ondemand answer office)'],
    ['nine prefixes', { protect: [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `10.${n}.0.0/16`) }, 'office: idle 14m · wakes on 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16, 10.4.0.0/16, 10.5.0.0/16, 10.6.0.0/16, 10.7.0.0/16 and 2 more'],
    ['a gate that somebody took away', { gateBroken: { at: since } }, `${idle} · the gate was taken away by somebody else and does not stand again yet`],
    ['and that can\'t be brought back', { gateBroken: { at: since, detail: 'iptables ended with status 4' } }, `${idle} · the gate was taken away by somebody else and does not stand again yet: iptables ended with status 4`],
    ['a repair after packets in clear', { lastRepair: { at: '2026-01-01T00:09:00.000Z', afterMs: 103, escaped: 7 } }, `${idle} · 5m ago somebody else took the gate away for 103ms: at most 7 packets went in clear`],
    ['a repair in time', { lastRepair: { at: since, afterMs: 103, escaped: 0 } }, idle],
  ])('%s', (_, change, expected) => { expect(text(change)).toBe(expected); });

  it('has a line for each tunnel', () => {
    expect(statusText({ version: '1', tunnels: [office, { ...office, name: 'site', state: 'up' }] }, now).split('\n')).toEqual([idle, 'site: up 14m']);
  });
});

describe('why says what keeps it up, and what comes next', () => {
  const why: Why = { version: '1', name: 'office', state: 'up', since, wakes: [{ ...lastWake, steps: [{ name: 'WAIT', ms: 3 }, { name: 'AUTH', ms: 5.5 }] }] };

  it('up', () => {
    expect(whyText({ ...why, keptUp: { lastTraffic: '2026-01-01T00:13:50.000Z', until: '2026-01-01T00:18:50.000Z' } }, now).split('\n')).toEqual([
      'office: up since 14m',
      '  last traffic 10s ago; goes down in 4m if there is no more',
      '  last wakes:',
      '    14m ago: tcp 10.77.1.2:40000 → 10.99.0.1:8080 (from lan0) · WAIT 3 ms, AUTH 5.5 ms · up after 37.4 ms · 1 packets released in 0.3 ms',
    ]);
  });

  it('up without an idle time of ours', () => {
    expect(whyText({ ...why, wakes: [], keptUp: { lastTraffic: since } }, now)).toContain('last traffic 14m ago; this daemon does not take it down for idleness');
  });

  it('locked', () => {
    expect(whyText({ version: '1', name: 'office', state: 'locked', since, wakes: [], lastFailure }, now).split('\n')).toEqual([
      'office: locked since 14m',
      '  packets are refused: the server refused the password (auth)',
      '  tried again by: openvpn-ondemand up office',
    ]);
  });

  it('of this host, over IPv6', () => {
    const local = { protocol: 'udp', source: 'fd00::2', sourcePort: 1, destination: 'fd00:99::1', destinationPort: 53, uid: 1000, process: 'dig[7]' };
    expect(whyText({ ...why, wakes: [{ at: since, packet: local }] }, now)).toContain('udp [fd00::2]:1 → [fd00:99::1]:53 (of this host, uid 1000, dig[7])');
  });
});

it.each([[-5, '0ms'], [999, '999ms'], [59_999, '59s'], [3_599_000, '59m'], [86_399_000, '23h'], [172_800_000, '2d']])('%d ms are %s', (ms, expected) => { expect(durationText(ms)).toBe(expected); });
