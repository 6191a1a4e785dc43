import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { request } from '../../src/control/client.js';
import { addresses, devices } from '../lab/addresses.js';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { programPath } from '../lab/paths.js';
import { Program } from '../lab/program.js';
import { sleep, until } from '../lab/wait.js';

const { router: { underlay: wan } } = devices;

describe('the network under the tunnel', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;

  beforeEach(async () => {
    lab = await Lab.open();
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });

  afterEach(async () => {
    expect((await leaks.stop()).packets).toEqual([]);
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(await lab.topology.router.pids()).toEqual([]);
    await lab.close();
  });

  it('comes back during the back-off: the next packet dials at once', async () => {
    daemon = await Daemon.start(lab, { tunnel: { hold: { timeout: '500ms' }, backoff: { start: '10m', max: '10m' } } });
    await lab.topology.router.ip(`link set ${wan} down`);
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
    await daemon.reaches('backoff');
    await lab.topology.router.ip(`link set ${wan} up`);
    await daemon.reaches('idle');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
  });

  it('comes back during a dial: the held packet goes without waiting for OpenVPN\'s own time-outs', async () => {
    daemon = await Daemon.start(lab, { tunnel: { hold: { timeout: '40s' } } });
    await lab.topology.router.ip(`link set ${wan} down`);
    const answer = lab.probes.lan.ask(serviceAddress.ipv4, servicePort, 30_000);
    await daemon.reaches('dialing');
    await sleep(3000);
    const { counters } = await daemon.status();
    expect(counters).toMatchObject({ held: 1, released: 0, dialFailures: 0 });
    await lab.topology.router.ip(`link set ${wan} up`);
    const since = performance.now();
    expect(await answer).toMatchObject({ ok: true });
    expect(performance.now() - since).toBeLessThan(5000);
  });

  it('is another one while the tunnel is up: dialed anew from there, and nothing that is sent meanwhile is lost', async () => {
    daemon = await Daemon.start(lab);
    await daemon.up();
    await daemon.reaches('up');
    const other = '192.0.2.7';
    await lab.topology.router.batch([`addr add ${other}/24 dev ${wan}`, `route replace ${addresses.underlay.prefix} dev ${wan} proto kernel scope link src ${other}`]);
    await daemon.reaches('dialing');
    const receiver = await lab.probes.service.receive(lab.folder, 9000, 100, 5000);
    expect(await lab.probes.lan.send({ address: serviceAddress.ipv4, port: 9000, count: 100, rate: 100 })).toMatchObject({ ok: true, sent: 100 });
    expect(await receiver()).toMatchObject({ missing: 0, outOfOrder: 0 });
    await daemon.reaches('up');
    expect(lab.server.log).toContain(`${other}:`);
  });

  it('changes that do not concern the way to the server leave the tunnel alone', async () => {
    daemon = await Daemon.start(lab);
    await daemon.up();
    const { since } = await daemon.reaches('up');
    await lab.topology.router.batch(['link add veth1 type veth peer name veth2', 'link set veth1 up', 'link set veth2 up', 'route add 172.17.0.0/16 dev veth1', 'link del veth1', 'route add default via 192.0.2.1 metric 900']);
    await sleep(1500);
    expect(await daemon.status()).toMatchObject({ state: 'up', since });
    expect(await lab.probes.lan.ask(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true });
  });

  it('loses the catch routes, which somebody has removed: they are back, and programs of this host wake the tunnel', async () => {
    daemon = await Daemon.start(lab);
    const { router } = lab.topology;
    const routes = async (): Promise<readonly string[]> => Promise.all(['-4', '-6'].map((family) => router.ip(`${family} route show proto 208`)));
    const before = await routes();
    await router.ip('-4 route flush table main proto 208');
    await router.ip('-6 route del fd00:99::/48 metric 4000');
    await until('they are back', async () => (await routes()).join() === before.join());
    expect(await lab.probes.router.connect(serviceAddress.ipv6, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect(daemon.log().map(({ event }) => event)).toContain('gate.routes_mended');
  });

  it('does not take the guard of a tunnel whose queue a reload could not have again', async () => {
    const config = (packets: number, more: object = {}): string => stringify({ ...base, tunnels: { office: { ...base.tunnels.office, queue: 7600, hold: { packets } }, ...more } });
    daemon = await Daemon.start(lab, { tunnel: { queue: 7600, hold: { packets: 100 } } });
    const base = parse(readFileSync(daemon.configFile, 'utf8')) as { tunnels: { office: object } };
    const reload = async (text: string): Promise<unknown> => {
      writeFileSync(daemon.configFile, text);
      return request(daemon.socket, { command: 'reload' });
    };
    // while this one goes down, the queue of the other is nobody's
    await reload(config(100, { slow: { command: { up: ['true'], down: ['sleep', '2'] }, device: wan, protect: ['203.0.113.0/24'] } }));
    await request(daemon.socket, { command: 'up', tunnel: 'slow' });
    const thief = Program.start(process.execPath, [programPath('hold-queue.mjs'), '7600', 'wait'], { netns: lab.topology.router, folder: lab.folder, label: 'thief' });
    await expect(reload(config(200))).rejects.toMatchObject({ code: 'QUEUE_IN_USE' });
    await thief.says('open');
    const guarded = async (): Promise<void> => {
      expect(await lab.topology.router.run('ipset', ['list', '-name'])).toContain('ood-office-4');
      expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort, 300)).toMatchObject({ ok: false });
    };
    await guarded();
    await lab.topology.router.ip('route del default');
    await daemon.program.says('network.changed');
    await sleep(1000); // what follows from it is done
    await lab.topology.router.ip(`route add default via ${addresses.underlay.server}`);
    await guarded();
    await thief.stop();
    await until('the queue is free', async () => (await lab.topology.router.run('cat', ['/proc/net/netfilter/nfnetlink_queue'])).trim() === '');
    expect(await reload(config(200))).toMatchObject({ started: ['office'] });
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true });
  }, 30_000);

  it('brings a LAN inside of what is protected: that is not reached through the tunnel', async () => {
    daemon = await Daemon.start(lab, { tunnel: { protect: ['10.0.0.0/8'] } });
    await lab.topology.router.batch(['link add wlan0 type veth peer name wlan1', 'link set wlan1 up', 'link set wlan0 up', 'addr add 10.44.0.1/24 dev wlan0', `addr add 192.0.2.7/24 dev ${wan}`, `route replace ${addresses.underlay.prefix} dev ${wan} proto kernel scope link src 192.0.2.7`]);
    await until('a packet to the LAN wakes nothing', async () => {
      await daemon.down();
      await daemon.reaches('idle');
      await lab.probes.router.ping('10.44.0.2', 200);
      return (await daemon.status()).state === 'idle';
    });
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    await lab.topology.router.ip('link del wlan0');
  });
});
