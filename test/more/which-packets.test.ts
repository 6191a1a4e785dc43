import { afterEach, describe, expect, it } from '@jest/globals';
import { Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon, type DaemonOptions } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { programPath } from '../lab/paths.js';
import { until } from '../lab/wait.js';

const addresses = Object.values(serviceAddress);

describe('which packets count', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;

  async function open(tunnel: NonNullable<DaemonOptions['tunnel']> = {}): Promise<void> {
    lab = await Lab.open();
    daemon = await Daemon.start(lab, { tunnel });
    leaks = await watchUnderlay(lab.topology, 'leaks');
  }

  afterEach(async () => {
    expect((await leaks.stop()).packets).toEqual([]);
    await lab.close();
  });

  const stray = (from: 'lan' | 'router', kind: 'rst' | 'fin' | 'error', to: string): Promise<string> => lab.topology[from].run('python3', [programPath('stray.py'), kind, to]);
  const atService = (label: string, filter: string): Promise<Capture> => Capture.start(lab.topology.service, 'eth0', filter, { folder: lab.folder, label });

  it('RST, FIN and ICMP errors alone wake nothing, and are counted', async () => {
    await open();
    for (const to of addresses) {
      for (const kind of ['rst', 'fin', 'error'] as const) await stray('lan', kind, to);
      for (const kind of ['rst', 'fin'] as const) await stray('router', kind, to);
    }
    await until('all are dropped', async () => (await daemon.status()).counters.dropped === 10);
    expect(await daemon.status()).toMatchObject({ state: 'idle', counters: { wakes: 0, held: 10, released: 0 }, held: { packets: 0 } });
    expect(await daemon.openvpnPids()).toEqual([]);
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect((await daemon.status()).counters).toMatchObject({ wakes: 1, dropped: 10 });
  });

  it('what ends a connection is delivered while the tunnel comes up, or comes back', async () => {
    await open();
    const witness = await atService('segments', '(tcp and src port 40000) or (icmp6 and ip6[40] = 1)');
    const bring = async (begin: () => Promise<unknown>): Promise<void> => {
      const { counters } = await daemon.status();
      await lab.server.kill();
      await begin();
      await daemon.reaches('dialing');
      for (const to of addresses) for (const kind of ['rst', 'fin'] as const) await stray('lan', kind, to);
      await stray('lan', 'error', serviceAddress.ipv6);
      await until('they are held', async () => (await daemon.status()).held.packets >= 5);
      await lab.server.start();
      await daemon.reaches('up', { timeoutMs: 25_000 });
      expect((await daemon.status()).counters).toMatchObject({ dropped: counters.dropped, rejected: 0 });
    };
    await bring(() => lab.probes.lan.send({ address: serviceAddress.ipv4, port: 9, count: 1, rate: 0 }));
    await until('five arrived', async () => (await witness.seen()).packets.length === 5);
    await bring(async () => { for (const pid of await daemon.openvpnPids()) process.kill(pid, 'SIGUSR1'); });
    await until('five more arrived', async () => (await witness.seen()).packets.length === 10);
    expect((await daemon.status()).counters.wakes).toBe(1);
    await witness.stop();
  });

  it('a steady stream that is ignored neither wakes the tunnel nor keeps it up, and passes while it is up', async () => {
    await open({ idle: '3s', ignore: [`udp/${servicePort}`] });
    let streaming = true;
    // the service answers each of them
    const streams = (['lan', 'router'] as const).map((from) => Promise.all(addresses.map((address) => lab.probes[from].send({ address, port: servicePort, count: 400, rate: 20 }))));
    const all = Promise.all(streams).then((sent) => { streaming = false; return sent; });
    const witness = await atService('stream', `udp port ${servicePort}`);
    expect(await daemon.status()).toMatchObject({ state: 'idle', counters: { wakes: 0, held: 0 } });
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    const from = (await witness.seen()).packets.length;
    await until('some pass, and are answered', async () => (await witness.seen()).packets.filter((line) => line.includes(`.${servicePort} > `)).length > from);
    await daemon.reaches('idle');
    expect(streaming).toBe(true);
    const [forwarded, local] = await all;
    expect(forwarded).toEqual(addresses.map(() => expect.objectContaining({ ok: true, sent: 400 })));
    // this host's own programs are told at once what becomes of their packets
    expect(local).toEqual(addresses.map(() => expect.objectContaining({ error: 'EPERM' })));
    for (const { sent, failed } of local!) expect([sent > 0, sent + failed]).toEqual([true, 400]);
    expect(await daemon.status()).toMatchObject({ state: 'idle', counters: { wakes: 1, rejected: 0, dropped: 0 } });
    await witness.stop();
  });

  it('wake: forwarded refuses a local connect, idle or dialing, and wakes for a forwarded one', async () => {
    await open({ wake: 'forwarded' });
    for (const address of addresses) expect(await lab.probes.router.connect(address, servicePort)).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
    expect(await daemon.status()).toMatchObject({ state: 'idle', counters: { wakes: 0, held: 0 } });
    await lab.server.kill();
    const forwarded = lab.probes.lan.connect(serviceAddress.ipv4, servicePort, 30_000);
    await daemon.reaches('dialing');
    for (const address of addresses) expect(await lab.probes.router.connect(address, servicePort)).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
    await lab.server.start();
    expect(await forwarded).toMatchObject({ ok: true });
    await daemon.reaches('up');
    for (const address of addresses) expect(await lab.probes.router.connect(address, servicePort)).toMatchObject({ ok: true });
    expect((await daemon.status()).counters).toMatchObject({ wakes: 1, rejected: 0 });
  });

  it.each([{ wakeFrom: ['wan0', 'br-*'], wakes: false }, { wakeFrom: ['lan*'], wakes: true }])('wakeFrom: $wakeFrom: a packet by lan0 wakes: $wakes; local ones do', async ({ wakeFrom, wakes }) => {
    await open({ wakeFrom });
    for (const address of addresses) {
      expect(await lab.probes.lan.connect(address, servicePort)).toMatchObject(wakes ? { ok: true } : { ok: false, error: 'ECONNREFUSED' });
      await daemon.down();
      await daemon.reaches('idle');
      expect(await lab.probes.router.connect(address, servicePort)).toMatchObject({ ok: true });
      await daemon.down();
      await daemon.reaches('idle');
    }
    expect((await daemon.status()).counters.wakes).toBe(wakes ? 4 : 2);
  });
});
