import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { TunnelStatus } from '../../src/control/api.js';
import { requestStatus } from '../../src/control/client.js';
import { Capture } from '../lab/capture.js';
import { commandLine } from '../lab/daemon.js';
import { Janitor } from '../lab/janitor.js';
import { networkState } from '../lab/judge.js';
import { Netns } from '../lab/netns.js';
import { checkout } from '../lab/paths.js';
import { Probe } from '../lab/probe.js';
import { Program } from '../lab/program.js';
import { sleep, until } from '../lab/wait.js';

// lan ──10.77.1.0/24── router ──eth1, 192.168.1.0/24── far: 192.168.1.1, and .9, which nobody protects
const lan = Netns.reserve('lan');
const router = Netns.reserve('router');
const far = Netns.reserve('far');
const host = '192.168.1.1';
const neighbour = '192.168.1.9';

describe('conf/examples/route.yaml, the article\'s demonstration', () => {
  let janitor: Janitor;
  let daemon: Program;
  let socket: string;
  let untouched: readonly string[];
  let wire: Capture;
  let probes: { lan: Probe; router: Probe };

  beforeAll(async () => {
    janitor = Janitor.hire([lan, router, far]);
    for (const netns of [lan, router, far]) await netns.add();
    // nothing of the kernel's own making on the wires
    for (const netns of [lan, router, far]) await netns.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.default.disable_ipv6': 1 });
    await Netns.join({ netns: lan, device: 'eth0', addresses: ['10.77.1.2/24'] }, { netns: router, device: 'lan0', addresses: ['10.77.1.1/24'] });
    await Netns.join({ netns: router, device: 'eth1', addresses: ['192.168.1.2/24'] }, { netns: far, device: 'eth0', addresses: [`${host}/24`, `${neighbour}/24`] });
    await lan.ip('route add default via 10.77.1.1');
    await far.ip('route add default via 192.168.1.2');
    probes = { lan: await Probe.in(lan), router: await Probe.in(router) };
    await (await Probe.in(far)).serve(janitor.folder, 8080);
    untouched = await networkState(router);

    socket = join(janitor.folder, 'control.sock');
    const shipped = parse(readFileSync(join(checkout, 'conf', 'examples', 'route.yaml'), 'utf8')) as Record<string, unknown>;
    const file = join(janitor.folder, 'route.yaml');
    writeFileSync(file, stringify({ ...shipped, control: { socket }, stateFile: join(janitor.folder, 'state.json') }));
    daemon = Program.start(commandLine[0], [commandLine[1], 'run', '--config', file], { netns: router, folder: janitor.folder, label: 'daemon' });
    await daemon.says('daemon.started');
    wire = await Capture.start(far, 'eth0', `host ${host} and not arp`, { folder: janitor.folder, label: 'far' });
  });

  afterAll(() => janitor.clean());

  async function status(): Promise<TunnelStatus> {
    return (await requestStatus(socket)).tunnels[0]!;
  }

  /** The host route by eth1, as `ip route` prints it; empty if there is none. */
  async function route(): Promise<string> {
    return router.ip(`route show ${host}/32 dev eth1`);
  }

  it('without traffic there is no route; other hosts of that network are reached as ever', async () => {
    expect(await route()).toBe('');
    expect(await probes.lan.ping(neighbour)).toMatchObject({ ok: true });
    expect(await probes.router.ping(neighbour)).toMatchObject({ ok: true });
    expect(await status()).toMatchObject({ state: 'idle', counters: { wakes: 0, held: 0 } });
    expect((await wire.seen()).packets).toEqual([]);
  });

  it('the first packet is held until the route is there, and then delivered; the route goes 5 to 7 s after the last packet', async () => {
    expect(await probes.lan.ping(host)).toMatchObject({ ok: true });
    expect(await route()).toContain(host);
    expect((await wire.seen()).packets).toHaveLength(2); // one request, one reply
    await until('it is up', async () => (await status()).state === 'up');
    expect((await status()).lastWake).toMatchObject({ packet: { source: '10.77.1.2', destination: host, protocol: 'icmp', interface: 'lan0' }, released: 1 });

    await sleep(3000);
    expect(await probes.lan.ping(host)).toMatchObject({ ok: true });
    const last = performance.now();
    await until('the route is gone', async () => (await route()) === '', { everyMs: 50 });
    const goneAfterMs = performance.now() - last;
    expect(goneAfterMs).toBeGreaterThan(5000);
    expect(goneAfterMs).toBeLessThan(7000);
    await until('the trap is set again', async () => (await status()).state === 'idle');
  });

  it('the next packet wakes it again, also one of the router itself', async () => {
    expect(await probes.router.connect(host, 8080)).toMatchObject({ ok: true, retransmits: 0 });
    expect(await route()).toContain(host);
    expect(await probes.lan.connect(host, 8080)).toMatchObject({ ok: true, retransmits: 0 });
    expect(await status()).toMatchObject({ counters: { wakes: 2, dropped: 0, rejected: 0, dialFailures: 0 } });
  });

  it('a clean end takes the route down, and leaves nothing', async () => {
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(await networkState(router)).toEqual(untouched);
    expect(await router.pids()).toEqual([]);
  });
});
