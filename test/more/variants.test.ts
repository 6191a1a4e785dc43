import { afterEach, describe, expect, it } from '@jest/globals';
import { watchUnderlay } from '../lab/capture.js';
import { Daemon, type DaemonOptions } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import type { ServerOptions } from '../lab/openvpn-server.js';

interface Variant {
  readonly title: string;
  readonly server?: ServerOptions;
  readonly daemon?: DaemonOptions;
  /** How many OpenVPN processes there are while idle. */
  readonly idleProcesses?: number;
}

const variants: readonly Variant[] = [
  { title: 'standby: warm', daemon: { tunnel: { standby: 'warm' } }, idleProcesses: 1 },
  { title: 'standby: warm, persist-tun', daemon: { tunnel: { standby: 'warm' }, client: { lines: ['persist-tun', 'persist-key'] } }, idleProcesses: 1 },
  { title: 'persist-tun', daemon: { client: { lines: ['persist-tun', 'persist-key'] } } },
  { title: 'transport over TCP', server: { transport: 'tcp' } },
  { title: 'transport over IPv6', server: { transport: 'udp6' } },
  { title: 'protect longer than the pushed route', daemon: { tunnel: { protect: [`${serviceAddress.ipv4}/32`, `${serviceAddress.ipv6}/128`] } } },
  { title: 'a server that pushes redirect-gateway', server: { redirectGateway: true } },
];

describe('variants', () => {
  let lab: Lab;

  afterEach(() => lab.close());

  it.each(variants)('$title: wakes, goes down, wakes again; nothing in clear', async ({ server = {}, daemon: options = {}, idleProcesses = 0 }) => {
    lab = await Lab.open({ server });
    const daemon = await Daemon.start(lab, options);
    const leaks = await watchUnderlay(lab.topology, 'leaks');
    for (const [from, family] of [['lan', 'ipv4'], ['router', 'ipv6'], ['lan', 'ipv6'], ['router', 'ipv4']] as const) {
      expect(await lab.probes[from].connect(serviceAddress[family], servicePort)).toMatchObject({ ok: true, retransmits: 0 });
      await daemon.reaches('up');
      await daemon.down();
      await daemon.reaches('idle');
      expect(await daemon.openvpnPids()).toHaveLength(idleProcesses);
    }
    expect((await leaks.stop()).packets).toEqual([]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await daemon.openvpnPids()).toEqual([]);
  });

  it('no server: held packets are answered with an error, and a later one wakes again', async () => {
    lab = await Lab.open();
    await lab.server.kill();
    const daemon = await Daemon.start(lab, { tunnel: { hold: { timeout: '500ms' }, backoff: { start: '200ms', max: '400ms' } } });
    const leaks = await watchUnderlay(lab.topology, 'leaks');
    for (const probe of [lab.probes.lan, lab.probes.router]) {
      for (const address of Object.values(serviceAddress)) {
        await daemon.reaches('idle');
        expect(await probe.connect(address, servicePort)).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
      }
    }
    await lab.server.start();
    await daemon.reaches('idle');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect((await leaks.stop()).packets).toEqual([]);
  });
});
