import { appendFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { devices } from '../lab/addresses.js';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { commandLine, Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import type { Received } from '../lab/probe.js';
import { RouterDnsmasq } from '../lab/router-dnsmasq.js';
import { until } from '../lab/wait.js';

/** Of the service, beside its usual ones. */
const others = ['10.99.0.2', '10.99.0.3', '10.99.0.4', '10.99.0.5'] as const;

describe('domains, with dnsmasq on the router', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;
  let dnsmasq: RouterDnsmasq;

  beforeEach(async () => {
    lab = await Lab.open();
    await lab.topology.service.batch(others.map((address) => `addr add ${address}/16 dev ${devices.service}`));
    leaks = await watchUnderlay(lab.topology, 'leaks');
    daemon = await Daemon.start(lab, { tunnel: { protect: [], domains: ['lab'] } });
    const [second, third, fourth, fifth] = others;
    dnsmasq = await RouterDnsmasq.start(lab, daemon, { 'intranet.lab': [serviceAddress.ipv4, serviceAddress.ipv6], 'second.lab': [second], 'third.lab': [third], 'fourth.lab': [fourth], 'fifth.lab': [fifth] });
  });

  afterEach(async () => {
    expect((await leaks.stop()).packets).toEqual([]);
    await lab.close();
  });

  const flush = async (): Promise<string> => lab.topology.router.run(commandLine[0], [commandLine[1], 'flush', '--socket', daemon.socket]);
  const connect = async (from: 'lan' | 'router', name: string, kind: 'A' | 'AAAA' = 'A') => lab.probes[from].connect(await dnsmasq.ask(from, name, kind), servicePort);

  const complete = expect.objectContaining({ received: 400, missing: 0, outOfOrder: 0, duplicates: 0 });
  const flow = async (from: 'lan' | 'router', name: string): Promise<Received> => {
    const received = await lab.probes.service.receive(lab.folder, 9001, 400);
    await lab.probes[from].send({ address: await dnsmasq.ask(from, name), port: 9001, count: 400, rate: 2000 });
    return received();
  };

  it('the first connection to what was just resolved wakes the tunnel, in both families, forwarded and local', async () => {
    for (const [from, kind] of [['lan', 'A'], ['router', 'AAAA'], ['lan', 'AAAA'], ['router', 'A']] as const) {
      expect({ from, kind, answer: await connect(from, 'intranet.lab', kind) }).toEqual({ from, kind, answer: expect.objectContaining({ ok: true, retransmits: 0 }) });
      expect((await daemon.reaches('up')).lastWake).toMatchObject({ packet: { destination: kind === 'A' ? serviceAddress.ipv4 : serviceAddress.ipv6 } });
      await daemon.down();
      await daemon.reaches('idle');
    }
    expect(await daemon.status()).toMatchObject({ protect: ['lab'], counters: { wakes: 4, dropped: 0, rejected: 0 } });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  });

  it('what is resolved while the tunnel is up goes through it from the first packet on, none lost or out of order', async () => {
    expect(await connect('lan', 'intranet.lab')).toMatchObject({ ok: true });
    await daemon.reaches('up');
    for (const [from, name] of [['lan', 'second.lab'], ['router', 'third.lab']] as const) expect({ name, answer: await connect(from, name) }).toEqual({ name, answer: expect.objectContaining({ ok: true, retransmits: 0 }) });
    for (const [from, name] of [['lan', 'fourth.lab'], ['router', 'fifth.lab']] as const) expect(await flow(from, name)).toEqual(complete);
    expect((await daemon.status()).counters).toMatchObject({ wakes: 1, dropped: 0 });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  });

  it('a flow to what was just resolved wakes the tunnel, none of it lost or out of order', async () => {
    for (const [from, name] of [['lan', 'second.lab'], ['router', 'third.lab']] as const) {
      expect(await flow(from, name)).toEqual(complete);
      await daemon.down();
      await daemon.reaches('idle');
    }
    expect((await daemon.status()).counters).toMatchObject({ wakes: 2, dropped: 0 });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  });

  it('nothing leaks after kill -9, neither to what was known nor to what is new; the next start knows both', async () => {
    expect(await connect('lan', 'intranet.lab')).toMatchObject({ ok: true });
    await daemon.reaches('up');
    await daemon.kill();
    await until('OpenVPN has ended with it', async () => (await daemon.openvpnPids()).length === 0);
    for (const from of ['lan', 'router'] as const) {
      for (const name of ['intranet.lab', 'second.lab']) expect(await lab.probes[from].connect(await dnsmasq.ask(from, name), servicePort, 500)).toMatchObject({ ok: false });
    }
    appendFileSync(daemon.configFile, 'onStop: keep\n');
    daemon = Daemon.launchWith(lab, daemon.configFile, daemon.socket);
    await daemon.answers();
    for (const [from, address] of [['lan', others[0]], ['router', serviceAddress.ipv4]] as const) expect(await lab.probes[from].connect(address, servicePort)).toMatchObject({ ok: true });
    expect((await daemon.reaches('up')).counters).toMatchObject({ wakes: 1 });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    for (const from of ['lan', 'router'] as const) for (const name of ['intranet.lab', 'third.lab']) expect(await lab.probes[from].connect(await dnsmasq.ask(from, name), servicePort, 500)).toMatchObject({ ok: false });
  });

  it('what dnsmasq found outlives a restart, since it does not tell of it again, until flush', async () => {
    expect(await connect('lan', 'second.lab')).toMatchObject({ ok: true });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    daemon = Daemon.launchWith(lab, daemon.configFile, daemon.socket);
    await daemon.answers();
    expect(daemon.log()).not.toContainEqual(expect.objectContaining({ event: 'gate.taken_over' }));
    expect(await lab.probes.lan.connect(others[0], servicePort)).toMatchObject({ ok: true });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(await flush()).toContain('ood-office-dns4');
    expect(await flush()).toBe('nothing of ours was there');
  });
});
