import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';

const holdTimeoutMs = 1_000;

describe('the server is down', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;

  beforeAll(async () => {
    lab = await Lab.open();
    await lab.server.kill();
    daemon = await Daemon.start(lab, { tunnel: { hold: { timeout: `${holdTimeoutMs}ms` }, backoff: { start: '3s', max: '3s' } } });
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });

  afterAll(() => lab.close());

  it('a LAN host\'s TCP connect gets an error when hold.timeout is over, not a time-out', async () => {
    const answer = await lab.probes.lan.connect(serviceAddress.ipv4, servicePort, 10_000);
    expect(answer).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
    process.stderr.write(`an error ${answer.ms.toFixed(0)} ms after the SYN, with a hold.timeout of ${holdTimeoutMs} ms\n`);
    expect(answer.ms).toBeGreaterThanOrEqual(holdTimeoutMs);
    expect(answer.ms).toBeLessThan(holdTimeoutMs + 900); // before the SYN would have been sent again
    expect(await daemon.status()).toMatchObject({ state: 'backoff', gate: 'reject', lastFailure: { code: 'timeout' } });
  });

  it('while backing off later ones get it at once, by the kernel alone', async () => {
    const { counters: before } = await daemon.status();
    const probes = [lab.probes.lan, lab.probes.router].flatMap((probe) => Object.values(serviceAddress).map((address) => ({ probe, address })));
    for (const { probe, address } of probes) {
      const answer = await probe.connect(address, servicePort);
      expect(answer).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
      process.stderr.write(`an error after ${answer.ms.toFixed(1)} ms while backing off\n`);
    }
    expect(await lab.probes.lan.ask(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: false, error: 'EHOSTUNREACH' });
    const { state, counters } = await daemon.status();
    expect(state).toBe('backoff');
    expect(counters.held).toBe(before.held);
  });

  it('the server is back: the next connect after the back-off succeeds', async () => {
    await lab.server.start();
    await daemon.reaches('idle');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect(await daemon.reaches('up')).toMatchObject({ counters: { wakes: 2, dialFailures: 1, dropped: 0 } });
    expect((await leaks.stop()).packets).toEqual([]);
  });
});
