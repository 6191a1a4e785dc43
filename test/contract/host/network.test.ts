import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { contextSwitches, processesNamed } from '../../lab/judge.js';
import { Netns } from '../../lab/netns.js';
import { sleep, until } from '../../lab/wait.js';

// Behind the default route, on link, and by IPv6.
const servers = ['198.51.100.1', '192.0.2.1', '2001:db8:1::1'];
const viaDefault = '198.51.100.1';

let netns: Netns;
let child: ReturnType<Netns['spawn']>;
let told: Record<string, unknown>[] = [];

beforeAll(async () => {
  netns = await Netns.create('network');
  await netns.batch([
    'link add wan0 type veth peer name far0', 'link add eth9 type veth peer name far9',
    'addr add 192.0.2.2/24 dev wan0', 'addr add 2001:db8::2/64 dev wan0 nodad', 'addr add 203.0.113.2/24 dev eth9',
    ...['far0', 'far9', 'wan0', 'eth9'].map((device) => `link set ${device} up`),
    'route add default via 192.0.2.1', 'route add ::/0 via 2001:db8::1',
  ]);
  await until('the carrier is there', async () => (await netns.ip('-o link show wan0')).includes('state UP'));
  child = netns.spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('network-host.ts', import.meta.url)), ...servers]);
  createInterface(child.stdout).on('line', (line) => { told.push(JSON.parse(line) as Record<string, unknown>); });
  await until('it watches', () => told.some(({ type }) => type === 'started'), { timeoutMs: 20_000 });
  told = [];
});

afterAll(async () => {
  try {
    child.stdin.end();
    expect((await child).exitCode).toBe(0);
    expect(told).toEqual([{ type: 'complete' }]);
    expect(await netns.pids()).toEqual([]);
  } finally {
    await netns.dispose();
  }
});

/** What is told of a change; all of it, since nothing more may follow. */
async function toldAfter(commands: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  await netns.batch(commands);
  await until('it is told', () => told.length > 0);
  await sleep(quietMs);
  return told.splice(0);
}

/** Longer than it takes to look twice. */
const quietMs = 1500;

describe('changes of the network under the tunnels', () => {
  it('the default route by another gateway: told once, for the servers behind it', async () => {
    expect(await toldAfter(['route replace default via 192.0.2.3'])).toEqual([{ type: 'changed', servers: [viaDefault], defaultRoute: true }]);
    expect(await toldAfter(['route replace ::/0 via 2001:db8::3'])).toEqual([{ type: 'changed', servers: ['2001:db8:1::1'], defaultRoute: true }]);
  });

  it('the default route gone, and there again', async () => {
    expect(await toldAfter(['route del default'])).toEqual([{ type: 'changed', servers: [viaDefault], defaultRoute: true }]);
    expect(await toldAfter(['route add default via 192.0.2.1'])).toEqual([{ type: 'changed', servers: [viaDefault], defaultRoute: true }]);
  });

  it('no carrier, and the carrier back, while the routes stay', async () => {
    for (const state of ['down', 'up']) {
      const changes = await toldAfter([`link set far0 ${state}`]);
      expect(new Set(changes.flatMap(({ servers: which }) => which as string[]))).toEqual(new Set(servers));
    }
  });

  it('the device down and up', async () => {
    expect((await toldAfter(['link set wan0 down'])).flatMap(({ servers: which }) => which)).toEqual(expect.arrayContaining(servers));
    expect((await toldAfter(['link set wan0 up', 'addr replace 2001:db8::2/64 dev wan0 nodad', 'route add default via 192.0.2.1', 'route add ::/0 via 2001:db8::1'])).flatMap(({ servers: which }) => which)).toEqual(expect.arrayContaining(servers));
  });

  it('another source address', async () => {
    expect(await toldAfter(['addr add 192.0.2.9/24 dev wan0', 'route replace default via 192.0.2.1 src 192.0.2.9'])).toEqual([{ type: 'changed', servers: [viaDefault], defaultRoute: true }]);
    expect(await toldAfter(['route replace default via 192.0.2.1'])).toEqual([{ type: 'changed', servers: [viaDefault], defaultRoute: true }]);
  });

  it('what is ours, other devices that come and go, and a default route that nobody uses are no changes', async () => {
    await netns.batch([
      'tuntap add ovpn-own mode tun', 'addr add 10.8.0.2/24 dev ovpn-own', 'link set ovpn-own up', 'route add 10.99.0.0/16 via 10.8.0.1',
      'route add 10.98.0.0/16 dev lo metric 4000 proto 208', 'route add default dev lo metric 4000 proto 208',
      'link add veth1 type veth peer name veth2', 'link set veth1 up', 'link set veth2 up', 'route add 172.17.0.0/16 dev veth1', 'link del veth1',
      'link set far9 down', 'link set far9 up',
      'route add 192.0.2.1/32 via 192.0.2.1', // redirect-gateway for a server on link
    ]);
    await sleep(quietMs);
    await netns.batch(['route del 192.0.2.1/32 via 192.0.2.1', 'route del default dev lo metric 4000', 'link del ovpn-own', 'tuntap add ovpn-own mode tun']);
    await sleep(quietMs);
    // That the device went is told only if it was not back when somebody looked.
    expect(told.splice(0).filter(({ type }) => type !== 'device')).toEqual([{ type: 'lost' }]);
    // a second default route is a change for whoever asks for the default route only
    expect(await toldAfter(['route add default via 203.0.113.1 metric 900'])).toEqual([{ type: 'changed', servers: [], defaultRoute: true }]);
  });

  it('a network on link that comes, and goes', async () => {
    for (const verb of ['add', 'del']) for (const address of ['198.18.0.2/24', '2001:db8:9::2/64']) {
      expect(await toldAfter([`addr ${verb} ${address} dev eth9`])).toEqual([{ type: 'changed', servers: [], defaultRoute: false }]);
    }
  });

  it('a tunnel\'s device that goes, and does not come back', async () => {
    expect(await toldAfter(['link del ovpn-own'])).toEqual([{ type: 'device', device: 'ovpn-own', is: 'gone' }, { type: 'device', device: 'ovpn-own', is: 'missing' }]);
  });

  it('without changes nothing of it runs', async () => {
    const [monitor] = await processesNamed(netns, 'ip');
    const before = contextSwitches(monitor!);
    await sleep(2000);
    expect(contextSwitches(monitor!)).toBe(before);
  });

  it('the monitor was killed: told, and what changes meanwhile is noticed when it is back', async () => {
    const [monitor] = await processesNamed(netns, 'ip');
    process.kill(monitor!, 'SIGKILL');
    await until('it is told', () => told.some(({ event }) => event === 'network.monitor_ended'));
    told = [];
    // What of ours was lost meanwhile nobody knows either.
    const all = await toldAfter(['route del default via 192.0.2.1']);
    expect(all.filter(({ type }) => type === 'changed')).toEqual([{ type: 'changed', servers: [viaDefault], defaultRoute: true }]);
    expect(all.filter(({ type }) => type !== 'changed')).toEqual([{ type: 'lost' }]);
  });
});
