import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { GatePort, LogPort } from '../../../src/core/ports.js';
import type { Backend } from '../../../src/gate/gate.js';
import { Conntrack } from '../../../src/host/conntrack.js';
import { listFlowtables } from '../../../src/host/flowtables.js';
import { withoutOffload } from '../../../src/offload.js';
import { kernelGate, type KernelGate } from '../../contract/gate/kernel-gate.js';
import { failureOf, tunnelOf, type RouterLab } from '../../contract/gate/router-lab.js';
import { until } from '../../lab/wait.js';

const office = tunnelOf();
const everything = tunnelOf({ protect: ['0.0.0.0/0'] });
/** As OpenVPN's redirect-gateway def1 routes it. */
const halves = ['0.0.0.0/1', '128.0.0.0/1'];
const [host4, host6] = ['10.99.3.1', 'fd00:99::3:1'];
const hosts = [host4, host6];
/** What a router has for speed: every connection that was seen once more, by whatever devices. */
const theirs = `table inet theirs {
  flowtable fast { hook ingress priority 0; devices = { lan0, wan0 }; }
  chain forward { type filter hook forward priority filter; policy accept; meta l4proto { tcp, udp } flow add @fast; }
}
`;
const silent: LogPort = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

describe.each<Backend>(['nft', 'iptables'])('beside a flowtable: %s', (backend) => {
  let kernel: KernelGate;
  let lab: RouterLab;
  let conntrack: Conntrack;
  const gates: GatePort[] = [];

  beforeAll(async () => {
    kernel = await kernelGate(backend);
    ({ lab } = kernel);
    conntrack = new Conntrack({ prefix: lab.prefix });
    await lab.router.run('nft', ['-f', '-'], { input: theirs });
  });
  afterAll(() => lab.dispose());
  afterEach(async () => {
    for (const gate of gates.splice(0)) await gate.remove();
    await kernel.clear();
    await lab.router.run('conntrack', ['-F']);
  });

  /** The same connection each time. */
  const goes = (to: string): Promise<string> => lab.where('lan', { to, sport: 5000 });
  const offloaded = async (): Promise<readonly string[]> => [...(await conntrack.list(4, { offloaded: true })), ...(await conntrack.list(6, { offloaded: true }))].map(({ destination }) => destination).sort();
  /** Sends until the flowtable has the connection; resolves with where the packets went. */
  const offload = async (to: string): Promise<string> => {
    const way = await goes(to);
    await until(`${to} is offloaded`, async () => {
      expect(await goes(to)).toBe(way);
      return (await offloaded()).includes(to);
    });
    return way;
  };
  const ending = (guardForward = true): GatePort => {
    const gate = withoutOffload(kernel.another({ guardForward }), { offload: 'end', flowtables: () => listFlowtables({ prefix: lab.prefix }), conntrack, log: silent });
    gates.push(gate);
    return gate;
  };

  if (backend === 'nft') describe('the kernel', () => {
    it('what it forwards passes a guard unseen, until its conntrack entry is deleted', async () => {
      for (const to of hosts) expect(await offload(to)).toBe('underlay');
      await lab.router.run('nft', ['-f', '-'], { input: 'table inet guard { chain leaving { type filter hook postrouting priority mangle; oifname "wan0" udp dport 9 drop; }; }\n' });
      for (const to of [...hosts, ...hosts]) expect(await goes(to)).toBe('underlay');
      expect(await conntrack.forget({ family: 4, destination: '10.99.0.0/16', offloaded: true })).toBe(1);
      expect(await conntrack.forget({ family: 6, destination: 'fd00:99::/48', offloaded: true })).toBe(1);
      // what a guard drops was never confirmed, and so does not come back into a flowtable
      for (const to of [...hosts, ...hosts]) expect(await goes(to)).toBe('nowhere');
      expect(await offloaded()).toEqual([]);
      await lab.router.run('nft', ['delete', 'table', 'inet', 'guard']);
    });

    it('what it forwards into the tunnel passes a gate that closes, until its conntrack entry is deleted', async () => {
      const { gate } = kernel;
      await gate.install([office]);
      await gate.set('office', 'open');
      await lab.linkUp(office.device, gate.routes('office'));
      const up = await offload(host4);
      await gate.set('office', 'hold');
      const closed = [await goes(host4), await goes(host4)];
      await conntrack.forget({ family: 4, destination: '10.99.0.0/16', offloaded: true });
      const ended = await goes(host4);
      await lab.linkDown(office.device);
      expect({ up, closed, ended }).toEqual({ up: 'tunnel', closed: ['tunnel', 'tunnel'], ended: 'held' });
    });

    it('it is refused, with the way out', async () => {
      const gate = withoutOffload(kernel.another(), { offload: 'refuse', flowtables: () => listFlowtables({ prefix: lab.prefix }), conntrack, log: silent });
      expect(await failureOf(gate.install([office]))).toMatchObject({ code: 'FLOWTABLE_FOUND', message: 'flowtable fast (table inet theirs) takes packets past the firewall, where no gate and no guard sees them' });
      expect(await lab.where('lan', { to: host4 })).toBe('underlay');
    });

    it('with `offload: end` a start ends what went in clear, and nothing else', async () => {
      for (const to of [...hosts, '203.0.113.9']) expect(await offload(to)).toBe('underlay');
      await ending().install([office]);
      expect(await offloaded()).toEqual(['203.0.113.9']);
      for (const to of hosts) expect(await goes(to)).toBe('held');
      expect(await goes('203.0.113.9')).toBe('underlay');
    });
  });

  it('what it forwards into the tunnel is told as traffic, and is held as soon as the gate closes', async () => {
    const gate = ending();
    await gate.install([office]);
    await gate.set('office', 'open');
    await lab.linkUp(office.device, gate.routes('office'));
    const ways = [await offload(host4), await offload(host6)];
    const [before, after] = [(await gate.counters()).get('office'), (await gate.counters()).get('office')];
    await gate.set('office', 'hold');
    const closed = [await goes(host4), await goes(host6)];
    await lab.linkDown(office.device);
    expect({ ways, closed, offloaded: await offloaded() }).toEqual({ ways: ['tunnel', 'tunnel'], closed: ['held', 'held'], offloaded: [] });
    expect(after!.out).toBeGreaterThan(before!.out);
  });

  it.each([
    // the packet that the guard drops has taken the others to where they pass it
    { guardForward: false, ways: ['nowhere', 'underlay'] },
    { guardForward: true, ways: ['nowhere', 'nowhere'] },
  ])('a connection whose tunnel is lost goes by the default route only without the guard in FORWARD: $guardForward', async ({ guardForward, ways }) => {
    const gate = ending(guardForward);
    await gate.install([everything]);
    await gate.set('office', 'open');
    await lab.linkUp(office.device, halves);
    const up = await offload(host4);
    await lab.linkDown(office.device);
    expect([up, await goes(host4), await goes(host4)]).toEqual(['tunnel', ...ways]);
  });
});
