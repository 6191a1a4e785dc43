import { describe, expect, it } from '@jest/globals';
import type { Step } from '../../../src/core/join.js';
import { startingTunnel, type Tunnel, type Wake } from '../../../src/core/state.js';
import { Metrics, type TunnelReading } from '../../../src/metrics/registry.js';

const idle = startingTunnel(1000);
const dialing: Tunnel = { ...idle, state: { at: 'dialing', since: 1000, failures: 0, phase: 'connecting' } };

const step = (before: Tunnel, after: Tunnel): Step => ({ tunnel: 'office', now: 2000, event: { type: 'clock' }, before, after, effects: [] });
const woken = (wake: Wake, wakes = 1): Tunnel => ({ ...dialing, wakes, history: [wake] });
const packet = { protocol: 'tcp', source: '10.77.1.2', destination: '10.99.0.1' };

const reading: TunnelReading = { name: 'office', state: 'idle', held: { packets: 3 }, counters: { held: 5, released: 4, dropped: 2, rejected: 1 } };

/** The value of a line, undefined if there is none. */
async function value(metrics: Metrics, line: string): Promise<number | undefined> {
  const found = (await metrics.text()).split('\n').find((text) => text.startsWith(`openvpn_ondemand_${line} `));
  return found === undefined ? undefined : Number(found.split(' ').at(-1));
}

describe('metrics', () => {
  it.each([
    ['forwarded', { at: 1000, packet: { ...packet, interface: 'lan0' } }],
    ['local', { at: 1000, packet }],
    ['command', { at: 1000 }],
  ] as const)('a wake counts by its reason: %s', async (reason, wake) => {
    const metrics = new Metrics('1.2.3', () => []);
    metrics.observe(step(idle, woken(wake)));
    metrics.observe(step(woken(wake), woken(wake)));
    expect(await value(metrics, `wakes_total{tunnel="office",reason="${reason}"}`)).toBe(1);
  });

  it('a dial is measured once, when it is done', async () => {
    const metrics = new Metrics('1.2.3', () => []);
    const wake: Wake = { at: 1000 };
    const done = woken({ ...wake, dialMs: 14 });
    metrics.observe(step(idle, woken(wake)));
    metrics.observe(step(woken(wake), done));
    metrics.observe(step(done, woken({ ...wake, dialMs: 14, released: 1, releaseMs: 2 })));
    expect(await value(metrics, 'dial_seconds_count{tunnel="office"}')).toBe(1);
    expect(await value(metrics, 'dial_seconds_sum{tunnel="office"}')).toBe(0.014);
    expect(await value(metrics, 'dial_seconds_bucket{le="0.01",tunnel="office"}')).toBe(0);
    expect(await value(metrics, 'dial_seconds_bucket{le="0.02",tunnel="office"}')).toBe(1);
  });

  it('a wake that found the link still up is no dial', async () => {
    const metrics = new Metrics('1.2.3', () => []);
    const draining: Tunnel = { ...idle, state: { at: 'draining', since: 1000, phase: 'lingering', cause: 'idle' }, history: [{ at: 1000, dialMs: 14 }], wakes: 1 };
    metrics.observe(step(draining, { ...woken({ at: 2000, dialMs: 0 }, 2) }));
    expect(await value(metrics, 'wakes_total{tunnel="office",reason="command"}')).toBe(1);
    expect(await value(metrics, 'dial_seconds_count{tunnel="office"}')).toBeUndefined();
  });

  it('a failed dial counts by its code', async () => {
    const metrics = new Metrics('1.2.3', () => []);
    const failure = { code: 'timeout', detail: 'no answer' } as const;
    metrics.observe(step(dialing, { ...dialing, dialFailures: 1, lastFailure: { ...failure, at: 2000 }, state: { at: 'backoff', since: 2000, until: 4000, failures: 1, failure } }));
    expect(await value(metrics, 'dial_failures_total{tunnel="office",code="timeout"}')).toBe(1);
  });

  it('a repair of the gate counts, with what may have escaped', async () => {
    const metrics = new Metrics('1.2.3', () => [reading]);
    expect(await value(metrics, 'gate_repairs_total{tunnel="office"}')).toBe(0);
    for (const escaped of [0, 7]) metrics.observe({ ...step(idle, idle), event: { type: 'gate-repaired', afterMs: 90, unheard: false, escaped } });
    expect(await value(metrics, 'gate_repairs_total{tunnel="office"}')).toBe(2);
    expect(await value(metrics, 'gate_escaped_packets_total{tunnel="office"}')).toBe(7);
  });

  it('a gate that does not stand again is seen', async () => {
    let now = reading;
    const metrics = new Metrics('1.2.3', () => [now]);
    expect(await value(metrics, 'gate_broken{tunnel="office"}')).toBe(0);
    now = { ...reading, gateBroken: { at: '2026-01-01T00:00:00.000Z' } };
    expect(await value(metrics, 'gate_broken{tunnel="office"}')).toBe(1);
  });

  it('a tunnel that a reload ended is in no state any more', async () => {
    let tunnels = [reading];
    const metrics = new Metrics('1.2.3', () => tunnels);
    expect(await value(metrics, 'state{tunnel="office",state="idle"}')).toBe(1);
    tunnels = [];
    expect(await metrics.text()).not.toContain('_state{');
  });

  it('what is, is read anew for every answer', async () => {
    let now = reading;
    const metrics = new Metrics('1.2.3', () => [now]);
    expect(await value(metrics, 'state{tunnel="office",state="idle"}')).toBe(1);
    now = { ...reading, state: 'up', held: { packets: 0 }, counters: { held: 9, released: 8, dropped: 2, rejected: 1 } };
    const text = await metrics.text();
    const lines = text.split('\n').filter((line) => /^openvpn_ondemand_(state|packets|held|info)/.test(line)).map((line) => line.slice('openvpn_ondemand_'.length));
    expect(lines.sort()).toEqual([
      'held_packets{tunnel="office"} 0',
      'info{version="1.2.3"} 1',
      'packets_dropped_total{tunnel="office"} 2',
      'packets_held_total{tunnel="office"} 9',
      'packets_rejected_total{tunnel="office"} 1',
      'packets_released_total{tunnel="office"} 8',
      ...['backoff', 'dialing', 'draining', 'idle', 'locked', 'paused'].map((state) => `state{tunnel="office",state="${state}"} 0`),
      'state{tunnel="office",state="up"} 1',
    ]);
  });
});
