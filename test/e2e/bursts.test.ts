import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress } from '../lab/lab.js';
import type { Flow } from '../lab/probe.js';

describe('a flow that starts while the tunnel is idle', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;
  let port = 9000;

  beforeAll(async () => {
    // On a busy machine the server's OpenVPN reads too late what a burst brings: its buffer is the largest that may be, twice the usual one.
    lab = await Lab.open({ server: { lines: ['rcvbuf 425984'] } });
    daemon = await Daemon.start(lab);
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });

  afterAll(() => lab.close());

  afterEach(async () => {
    await daemon.down();
    await daemon.reaches('idle');
    expect((await leaks.seen()).packets).toEqual([]);
  });

  async function allArrive(from: 'lan' | 'router', flow: Omit<Flow, 'port'>): Promise<void> {
    port += 1;
    expect((await daemon.status()).state).toBe('idle');
    const receiver = await lab.probes.service.receive(lab.folder, port, flow.count);
    expect(await lab.probes[from].send({ ...flow, port })).toMatchObject({ ok: true, sent: flow.count });
    const received = await receiver();
    expect({ ...received, drops: received.missing > 0 ? await lab.drops() : '' }).toMatchObject({ received: flow.count, missing: 0, outOfOrder: 0, duplicates: 0, drops: '' });
  }

  it.each(['ipv4', 'ipv6'] as const)('500 datagrams at once from the LAN, %s: all received, in order', async (family) => {
    await allArrive('lan', { address: serviceAddress[family], count: 500, rate: 0 });
    expect((await daemon.reaches('up')).counters).toMatchObject({ dropped: 0 });
  });

  it.each(['ipv4', 'ipv6'] as const)('200 datagrams at once from the router itself, %s: all received, in order', async (family) => {
    await allArrive('router', { address: serviceAddress[family], count: 200, rate: 0 });
  });

  it('500 of 1400 bytes: all received, in order', async () => {
    await allArrive('lan', { address: serviceAddress.ipv4, count: 500, rate: 0, size: 1400 });
  });

  it('2000 datagrams at once with hold.packets 4096: all received, in order', async () => {
    await daemon.stop();
    daemon = await Daemon.start(lab, { tunnel: { hold: { packets: 4096 } } });
    await allArrive('lan', { address: serviceAddress.ipv4, count: 2000, rate: 0 });
  });

  it('more than hold.packets: as many are received, the rest is counted as dropped', async () => {
    await daemon.stop();
    daemon = await Daemon.start(lab, { tunnel: { hold: { packets: 100 } } });
    port += 1;
    const receiver = await lab.probes.service.receive(lab.folder, port, 500);
    await lab.probes.lan.send({ address: serviceAddress.ipv4, port, count: 500, rate: 0 });
    const { received, outOfOrder } = await receiver();
    expect(received).toBeGreaterThanOrEqual(100);
    expect(outOfOrder).toBe(0);
    expect((await daemon.status()).counters.dropped).toBe(500 - received);
  });
});
