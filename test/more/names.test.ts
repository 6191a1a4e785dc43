import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { addresses, devices } from '../lab/addresses.js';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon, type DaemonOptions } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { NameServer } from '../lab/name-server.js';
import { request } from '../../src/control/client.js';
import { sleep, until } from '../lab/wait.js';

const name = 'intranet.lab';
/** Of the service, too. */
const others = ['10.99.0.2', '10.99.0.3'] as const;
/** For a record that lives for a second (names.ts). */
const leastMs = 5000;

describe('host names in `protect`', () => {
  let lab: Lab;
  let server: NameServer;
  let daemon: Daemon;
  let leaks: Capture;

  beforeEach(async () => {
    lab = await Lab.open();
    await lab.topology.service.batch(others.map((address) => `addr add ${address}/16 dev ${devices.service}`));
    server = NameServer.create(lab.topology);
  });

  afterEach(async () => {
    expect((await leaks.stop()).packets).toEqual([]);
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    await lab.close();
  });

  const start = async (options: DaemonOptions = {}): Promise<void> => {
    leaks = await watchUnderlay(lab.topology, 'leaks', `host ${serviceAddress.ipv4} or host ${serviceAddress.ipv6} or host ${others[0]}`);
    daemon = await Daemon.start(lab, { ...options, wrapper: server.wrapper, tunnel: { protect: [name], ...options.tunnel } });
  };
  const standsFor = (...prefixes: readonly string[]): Promise<unknown> => until(`${name} is ${prefixes.join(', ')}`, async () => JSON.stringify((await daemon.status()).names) === JSON.stringify({ [name]: prefixes }), { timeoutMs: 20_000 });
  const answers = async (address: string): Promise<void> => {
    for (const probe of [lab.probes.lan, lab.probes.router]) expect(await probe.connect(address, servicePort)).toMatchObject({ ok: true });
  };

  it('what a name stands for is protected from the start: its first packet wakes the tunnel, in both families', async () => {
    await server.say({ [name]: [serviceAddress.ipv4, serviceAddress.ipv6] });
    await server.start();
    await start();
    expect(await daemon.status()).toMatchObject({ state: 'idle', protect: [name], names: { [name]: [`${serviceAddress.ipv4}/32`, `${serviceAddress.ipv6}/128`] } });
    for (const address of [serviceAddress.ipv4, serviceAddress.ipv6]) {
      expect(await lab.probes.lan.connect(address, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
      expect((await daemon.reaches('up')).lastWake).toMatchObject({ packet: { destination: address } });
      await daemon.down();
      await daemon.reaches('idle');
    }
    // the router's own packet wakes it, too
    await answers(serviceAddress.ipv4);
    expect((await daemon.status()).counters).toMatchObject({ wakes: 3, dropped: 0, rejected: 0 });
  });

  it('a new address is protected and goes through the tunnel while it is up, and the old one still does', async () => {
    await server.say({ [name]: [serviceAddress.ipv4] });
    await server.start();
    await start();
    await answers(serviceAddress.ipv4);
    await server.say({ [name]: [others[0]] });
    await standsFor(`${serviceAddress.ipv4}/32`, `${others[0]}/32`);
    await answers(others[0]);
    await answers(serviceAddress.ipv4);
    expect(await daemon.status()).toMatchObject({ state: 'up', counters: { wakes: 1, dropped: 0 } });
    // both are held when the gate has closed, and wake it again
    for (const address of [others[0], serviceAddress.ipv4]) {
      await daemon.down();
      await daemon.reaches('idle');
      await answers(address);
    }
    expect((await daemon.status()).counters).toMatchObject({ wakes: 3, dropped: 0, rejected: 0 });
  });

  it('one that is only in /etc/hosts is found there', async () => {
    await server.start();
    server.write('etc-hosts', { [name]: [serviceAddress.ipv4, serviceAddress.ipv6] });
    await start();
    await standsFor(`${serviceAddress.ipv4}/32`, `${serviceAddress.ipv6}/128`);
    await answers(serviceAddress.ipv6);
  });

  it('nobody is asked while the tunnel is idle; asked again at a reload, it stands for what it is then', async () => {
    await server.say({ [name]: [serviceAddress.ipv4] });
    await server.start();
    await start();
    await answers(serviceAddress.ipv4);
    await daemon.down();
    await daemon.reaches('idle');
    await until('the look-up after the opening is over', () => server.asked.length >= 4);
    await sleep(1000);
    const asked = server.asked.length;
    await sleep(2 * leastMs);
    expect(server.asked.length).toBe(asked);
    await server.say({ [name]: [others[0]] });
    await request(daemon.socket, { command: 'reload' });
    expect(await daemon.status()).toMatchObject({ names: { [name]: [`${others[0]}/32`] } });
    expect(server.asked.length).toBeGreaterThan(asked);
    await answers(others[0]);
  });

  it('one without an answer is told, and protected as soon as another network has one', async () => {
    await server.say({ [name]: [serviceAddress.ipv4] });
    await lab.topology.router.ip(`link set ${devices.router.underlay} down`);
    await start();
    expect(daemon.log()).toContainEqual(expect.objectContaining({ event: 'names.unresolved', name }));
    expect(await daemon.status()).toMatchObject({ state: 'idle', names: { [name]: [] } });
    await server.start();
    const { underlay } = addresses;
    await lab.topology.router.batch([`link set ${devices.router.underlay} up`, `route add default via ${underlay.server}`]);
    await standsFor(`${serviceAddress.ipv4}/32`);
    await answers(serviceAddress.ipv4);
  });

  it('beside prefixes, and with a tunnel that waits in hold', async () => {
    await server.say({ [name]: [others[0]] });
    await server.start();
    await start({ tunnel: { protect: [`${serviceAddress.ipv4}/32`, name], standby: 'warm' } });
    await server.say({ [name]: [others[0], others[1]] });
    await request(daemon.socket, { command: 'reload' });
    // OpenVPN was started before anybody knew of the second one
    for (const address of [others[1], others[0], serviceAddress.ipv4]) await answers(address);
    expect((await daemon.status()).counters).toMatchObject({ wakes: 1, dropped: 0 });
  });
});
