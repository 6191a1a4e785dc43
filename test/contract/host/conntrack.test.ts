import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { GatePort, LogFields, LogPort } from '../../../src/core/ports.js';
import { withoutEstablished, type Devices } from '../../../src/established.js';
import { FakeGate } from '../../../src/gate/fake.js';
import { createGate } from '../../../src/gate/gate.js';
import { Conntrack } from '../../../src/host/conntrack.js';
import { until } from '../../lab/wait.js';
import { failureOf, marks, RouterLab, tunnelOf } from '../gate/router-lab.js';

const office = tunnelOf({ exclude: ['10.99.7.0/24'] });
const [host4, host6, excluded, elsewhere] = ['10.99.3.1', 'fd00:99::3:1', '10.99.7.1', '203.0.113.9'];
// not MASQUERADE: its mapping the kernel forgets by itself, with a packet, when the way is another one (nf_nat_core.c)
const nat = (source: string): string[] => `-t nat -A POSTROUTING -o wan0 -j SNAT --to-source ${source}`.split(' ');

describe('connections that are older than the gate', () => {
  let lab: RouterLab;
  let conntrack: Conntrack;
  const told: LogFields[] = [];
  const tell = (fields: LogFields): void => { told.push(fields); };
  const log: LogPort = { debug: tell, info: tell, warn: tell, error: tell };
  const gates: GatePort[] = [];

  beforeAll(async () => {
    lab = await RouterLab.create();
    conntrack = new Conntrack({ prefix: lab.prefix });
    await lab.router.run('iptables-legacy', nat('198.51.100.1'));
    await lab.router.run('ip6tables-legacy', nat('2001:db8::1'));
  });
  afterAll(() => lab.dispose());
  afterEach(async () => {
    await lab.release({ accept: false });
    for (const gate of gates.splice(0)) await gate.remove();
    await lab.router.run('conntrack', ['-F']);
    told.length = 0;
  });

  const addresses = { lo: [{ address: '127.0.0.1', cidr: '127.0.0.1/8' }], 'lo:ood': [{ address: '10.8.0.6', cidr: '10.8.0.6/32' }], lan0: [{ address: '10.77.1.1', cidr: '10.77.1.1/24' }], wan0: [{ address: '198.51.100.1', cidr: '198.51.100.1/24' }, { address: '2001:db8::1', cidr: '2001:db8::1/64' }] };
  const gateWith = (devices: Partial<Devices> = {}): GatePort => {
    const gate = withoutEstablished(createGate({ backend: 'iptables-legacy', marks, exec: lab.exec }), conntrack, log, { addresses: () => addresses, has: () => false, ...devices });
    gates.push(gate);
    return gate;
  };
  /** Sends from one port, the same connection each time, until one has arrived, and says as what. */
  const arrives = (end: 'leaked' | 'tunnelled', to: string): Promise<string> => until(`a packet to ${to}`, async () => (await lab.fate('lan', { to, sport: 5000 }))[end][0]);
  const tracked = async (): Promise<readonly string[]> => {
    const all = [...(await conntrack.list(4)), ...(await conntrack.list(6))];
    return all.filter(({ destination }) => [host4, host6, excluded, elsewhere].includes(destination)).map(({ destination, replyDestination }) => `${destination} as ${replyDestination}`).sort();
  };
  /** Goes by the underlay, NATed. */
  const before = async (): Promise<void> => {
    for (const to of [host4, host6, excluded, elsewhere]) expect(await arrives('leaked', to)).toBe(`${to.includes(':') ? '2001:db8::1' : '198.51.100.1'} > ${to}`);
    expect(await tracked()).toEqual([`${host4} as 198.51.100.1`, `${excluded} as 198.51.100.1`, `${elsewhere} as 198.51.100.1`, `${host6} as 2001:db8::1`]);
  };
  /** What comes out of the tunnel when it opens. */
  const through = async (gate: GatePort): Promise<readonly string[]> => {
    await lab.linkUp(office.device, gate.routes('office'));
    await gate.set('office', 'open');
    const arrived = [await arrives('tunnelled', host4), await arrives('tunnelled', host6)];
    await lab.linkDown(office.device);
    return arrived;
  };

  it('would keep the address of the way that they went, and get no answer through the tunnel', async () => {
    await before();
    const gate = gateWith();
    await gate.install([{ ...office, established: 'keep' }]);
    expect(await tracked()).toHaveLength(4);
    expect(await through(gate)).toEqual([`198.51.100.1 > ${host4}`, `2001:db8::1 > ${host6}`]);
  });

  it('are forgotten when the gate stands, those to protected prefixes only, and go on through the tunnel with their own address', async () => {
    await before();
    const gate = gateWith();
    await gate.install([office]);
    expect(await tracked()).toEqual([`${excluded} as 198.51.100.1`, `${elsewhere} as 198.51.100.1`]);
    expect(told.map(({ event, connections }) => ({ event, connections }))).toEqual([{ event: 'established.ended', connections: 1 }, { event: 'established.ended', connections: 1 }]);
    expect(await through(gate)).toEqual([`10.77.1.2 > ${host4}`, `fd00:77::2 > ${host6}`]);
  });

  it('are told by the address that replies come to where the tunnel is up already', async () => {
    await before();
    await lab.linkUp(office.device, office.protect);
    await lab.router.run('conntrack', ['-I', '-p', 'udp', '-s', '10.77.1.2', '-d', '10.99.3.2', '-r', '10.99.3.2', '-q', '10.8.0.6', '--sport', '1', '--dport', '2', '--reply-port-src', '2', '--reply-port-dst', '1', '-t', '60']);
    await gateWith({ has: () => true }).install([office], () => 'open');
    const left = (await conntrack.list(4)).map(({ destination }) => destination);
    await lab.linkDown(office.device);
    expect({ ours: left.includes('10.99.3.2'), other: left.includes(host4) }).toEqual({ ours: true, other: false });
  });

  it('are found behind an address that is NATed to a protected one', async () => {
    await lab.router.run('iptables-legacy', '-t nat -A PREROUTING -d 203.0.113.80 -j DNAT --to 10.99.3.1'.split(' '));
    const arrived = await arrives('leaked', '203.0.113.80');
    await gateWith().install([office]);
    const left = (await conntrack.list(4)).map(({ destination }) => destination);
    await lab.router.run('iptables-legacy', '-t nat -D PREROUTING -d 203.0.113.80 -j DNAT --to 10.99.3.1'.split(' '));
    expect({ arrived, left: left.includes('203.0.113.80') }).toEqual({ arrived: '198.51.100.1 > 10.99.3.1', left: false });
  });

  it('are not looked for again: what went through the tunnel is not forgotten when another prefix comes', async () => {
    const gate = gateWith();
    await gate.install([office]);
    expect(await through(gate)).toEqual([`10.77.1.2 > ${host4}`, `fd00:77::2 > ${host6}`]);
    await gate.set('office', 'hold');
    const went = await tracked();
    expect(went).toHaveLength(2);
    expect(await arrives('leaked', elsewhere)).toBe(`198.51.100.1 > ${elsewhere}`);
    await gate.install([{ ...office, protect: [...office.protect, `${elsewhere}/32`] }]);
    expect(await tracked()).toEqual(went);
    // nor is what a bypass let go another way kept for that
    await gate.set('office', 'bypass');
    await lab.router.run('conntrack', ['-F']);
    expect(await arrives('leaked', host4)).toBe(`198.51.100.1 > ${host4}`);
    await gate.install([office], () => 'hold');
    expect(await tracked()).toEqual([]);
  });

  it('and those that were kept, when they are not to be kept any more; and those of the time until a repair', async () => {
    await before();
    const bare = new FakeGate({ marks });
    const gate = withoutEstablished(bare, conntrack, log, { addresses: () => addresses, has: () => false });
    await gate.install([{ ...office, established: 'keep' }]);
    expect(await tracked()).toHaveLength(4);
    await gate.install([office], () => undefined);
    expect(await tracked()).toEqual([`${excluded} as 198.51.100.1`, `${elsewhere} as 198.51.100.1`]);
    await before();
    bare.repair(50, new Map([['office', 2]]));
    await until('they are forgotten', async () => (await tracked()).length === 2);
  });

  it('and those of a bypass, when it ends', async () => {
    const gate = gateWith();
    await gate.install([office]);
    await gate.set('office', 'bypass');
    await before();
    await gate.set('office', 'hold');
    expect(await tracked()).toEqual([`${excluded} as 198.51.100.1`, `${elsewhere} as 198.51.100.1`]);
  });

  it('stay, and the log says so and what to do, where conntrack is not installed', async () => {
    await before();
    const bare = new Conntrack({ prefix: [...lab.prefix, 'env', 'PATH=/nowhere'] });
    expect(await failureOf(bare.list(4))).toMatchObject({ code: 'PROGRAM_MISSING', hint: 'install it; in Debian: apt install conntrack' });
    const gate = withoutEstablished(createGate({ backend: 'iptables-legacy', marks, exec: lab.exec }), bare, log, { addresses: () => addresses, has: () => false });
    gates.push(gate);
    await gate.install([office]);
    expect(told).toEqual([{ event: 'established.not_ended', code: 'PROGRAM_MISSING', tunnels: ['office'] }]);
  });
});
