import { expect, it } from '@jest/globals';
import { execa } from 'execa';
import { startingTunnel, type Tunnel } from '../../src/core/state.js';
import { Metrics } from '../../src/metrics/registry.js';

it('promtool has nothing to say against the metrics', async () => {
  const metrics = new Metrics('1.2.3', () => ['office', 'site'].map((name) => ({ name, state: 'up', held: { packets: 0 }, counters: { held: 7, released: 6, dropped: 1, rejected: 0 } })));
  const before: Tunnel = { ...startingTunnel(0), state: { at: 'dialing', since: 0, failures: 0, phase: 'connecting' } };
  metrics.observe({ tunnel: 'office', now: 1, event: { type: 'clock' }, before, after: { ...before, wakes: 1, dialFailures: 1, history: [{ at: 0, dialMs: 9 }] }, effects: [] });
  metrics.observe({ tunnel: 'office', now: 1, event: { type: 'gate-repaired', afterMs: 90, unheard: false, escaped: 3 }, before, after: before, effects: [] });
  const input = await metrics.text();
  expect(input).toContain('openvpn_ondemand_gate_escaped_packets_total{tunnel="office"} 3');
  expect(input).toContain('openvpn_ondemand_dial_seconds_count{tunnel="office"} 1');
  const { exitCode, stdout, stderr } = await execa('promtool', ['check', 'metrics'], { input, reject: false });
  expect({ exitCode, said: stdout + stderr }).toEqual({ exitCode: 0, said: '' });
});
