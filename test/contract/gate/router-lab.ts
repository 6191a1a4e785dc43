import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { DaemonError } from '../../../src/core/errors.js';
import type { GateTunnel, Marks } from '../../../src/core/ports.js';
import type { ExecOptions } from '../../../src/gate/runner.js';
import { compiled } from '../../lab/compiled.js';
import { Netns } from '../../lab/netns.js';
import { Agent, type Outcome, type Packet } from './agent.js';

export const marks: Marks = { mask: 0x00c00000, transport: 0x00400000, release: 0x00800000, reject: 0x00c00000 };

/** Where a packet went, and what its sender saw. */
export interface Fate extends Outcome {
  readonly held: number;
  /** What arrived on the underlay, as `source > destination`. */
  readonly leaked: readonly string[];
  /** What arrived at the far end of the tunnel device. */
  readonly tunnelled: readonly string[];
}

const queues = [11, 12];

/**
 * LAN host – router – underlay, and a far end behind a device of the router that plays the tunnel. On both sides any
 * address is a host that listens: what arrives at the underlay's has leaked.
 */
export class RouterLab {
  readonly lan: Netns;
  readonly router: Netns;
  readonly underlay: Netns;
  readonly far: Netns;
  readonly agents: { readonly lan: Agent; readonly router: Agent; readonly underlay: Agent; readonly far: Agent };

  readonly #enter: string;
  #patienceMs = 100;

  /** For programs that are to see the router's network, of which there are thousands in a test run. */
  get prefix(): readonly string[] {
    return [this.#enter, this.router.name];
  }

  /** For a gate on the router. */
  get exec(): ExecOptions {
    return { prefix: this.prefix, netns: `/run/netns/${this.router.name}`, procNet: `/proc/${this.agents.router.pid}/net` };
  }

  private constructor(enter: string, lan: Netns, router: Netns, underlay: Netns, far: Netns) {
    this.#enter = enter;
    this.lan = lan;
    this.router = router;
    this.underlay = underlay;
    this.far = far;
    this.agents = { lan: new Agent(lan), router: new Agent(router), underlay: new Agent(underlay), far: new Agent(far) };
  }

  /** With `listen` (as usual) somebody holds what is queued; without, the queues have no owner. */
  static async create({ listen = true } = {}): Promise<RouterLab> {
    const [lan, router, underlay, far] = await Promise.all(['lan', 'router', 'under', 'far'].map((label) => Netns.create(label)));
    const lab = new RouterLab(await compiled('enter'), lan!, router!, underlay!, far!);
    await lab.#wire();
    if (listen) for (const queue of queues) await lab.agents.router.bind(queue);
    return lab;
  }

  async #wire(): Promise<void> {
    const { lan, router, underlay, far } = this;
    const noDad = ['net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0'];
    await Promise.all([lan, router, underlay, far].map((netns) => netns.run('sysctl', ['-qw', ...noDad])));
    // errors are limited per second, and tests are quick
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0']);
    await Netns.join({ netns: lan, device: 'eth0', addresses: ['10.77.1.2/24', 'fd00:77::2/64'] }, { netns: router, device: 'lan0', addresses: ['10.77.1.1/24', 'fd00:77::1/64'] });
    await Netns.join({ netns: underlay, device: 'eth0', addresses: ['198.51.100.2/24', '2001:db8::2/64'] }, { netns: router, device: 'wan0', addresses: ['198.51.100.1/24', '2001:db8::1/64'] });
    await lan.batch(['route add default via 10.77.1.1', 'route add default via fd00:77::1']);
    await this.defaultRoute(true);
    await underlay.batch(['route add 10.77.1.0/24 via 198.51.100.1', 'route add fd00:77::/64 via 2001:db8::1']);
    for (const netns of [underlay, far]) {
      await netns.batch(['route add local 0.0.0.0/0 dev lo table 99', 'rule add iif eth0 lookup 99 pref 10', 'route add local ::/0 dev lo table 99']);
      await netns.ip('-6 rule add iif eth0 lookup 99 pref 10');
      for (const command of ['iptables-legacy-restore', 'ip6tables-legacy-restore']) await netns.run(command, [], { input: '*raw\n-A PREROUTING -i eth0 -p udp --dport 9 -j DROP\n-A PREROUTING -i eth0 -p tcp --dport 9 -j DROP\nCOMMIT\n' });
    }
    // neighbours are known from now on, so that no packet waits for them
    for (const to of ['198.51.100.2', '2001:db8::2', '10.77.1.2', 'fd00:77::2']) await this.agents.router.send({ to });
    for (const to of ['10.77.1.1', 'fd00:77::1']) await this.agents.lan.send({ to });
    this.#patienceMs = Math.max(100, 20 * (await this.#slowest(5)));
  }

  /** Of so many packets to the underlay: until it was told that one had arrived. Milliseconds. */
  async #slowest(packets: number): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < packets; i++) {
      await sleep(20);
      await this.agents.underlay.seen();
      const start = performance.now();
      await this.agents.router.send({ to: '198.51.100.2' });
      while ((await this.agents.underlay.seen()).length === 0);
      times.push(performance.now() - start);
    }
    return Math.max(...times);
  }

  async defaultRoute(there: boolean): Promise<void> {
    await this.router.batch(['198.51.100.2', '2001:db8::2'].map((gateway) => `route ${there ? 'add' : 'del'} default via ${gateway}`));
  }

  /** The tunnel device comes, with its addresses, and, as OpenVPN would do it, a route for each prefix. */
  async linkUp(device: string, prefixes: readonly string[]): Promise<void> {
    await Netns.join({ netns: this.router, device, addresses: ['10.8.0.6/24', 'fd00:8::6/64'] }, { netns: this.far, device: 'eth0', addresses: ['10.8.0.1/24', 'fd00:8::1/64'] });
    await this.far.batch(['10.77.1.0/24 via 10.8.0.6', 'fd00:77::/64 via fd00:8::6'].map((route) => `route replace ${route}`));
    for (const to of ['10.8.0.1', 'fd00:8::1']) await this.agents.router.send({ to, device });
    await this.arrivals('far', 2); // not to be taken for what a test sends
    if (prefixes.length > 0) await this.router.batch(prefixes.map((prefix) => `route add ${prefix} via ${prefix.includes(':') ? 'fd00:8::1' : '10.8.0.1'} dev ${device}`));
  }

  /** On a device like a tun, which has none: packets to these addresses need not ask for them. */
  async noNeighbours(device: string, addresses: readonly string[]): Promise<void> {
    for (const address of addresses.filter((each) => each.includes(':'))) await this.router.ip(`-6 neigh replace ${address} lladdr 02:00:00:00:00:01 dev ${device}`);
  }

  async linkDown(device: string): Promise<void> {
    await this.router.ip(`link del ${device}`);
  }

  /** Sends from the LAN host or from the router itself, and looks where it went. What is held stays held. */
  async fate(from: 'lan' | 'router', packet: Packet, expected = packet.count ?? 1): Promise<Fate> {
    await this.#forget();
    const before = await this.held();
    const outcome = await this.agents[from].send(packet);
    const leaked: string[] = [];
    const tunnelled: string[] = [];
    let held = 0;
    await this.#until(async () => {
      leaked.push(...(await this.agents.underlay.seen()));
      tunnelled.push(...(await this.agents.far.seen()));
      held = (await this.held()) - before;
      return leaked.length + tunnelled.length + held >= expected;
    });
    return { ...outcome, held, leaked, tunnelled };
  }

  /** What arrives at one end, as `source > destination`, from the last look on until there are `expected`. */
  async arrivals(end: 'underlay' | 'far', expected: number): Promise<readonly string[]> {
    const arrived: string[] = [];
    await this.#until(async () => {
      arrived.push(...(await this.agents[end].seen()));
      return arrived.length >= expected;
    });
    return arrived.sort();
  }

  /** Where it went, in a word. */
  async where(from: 'lan' | 'router', packet: Packet): Promise<'held' | 'tunnel' | 'underlay' | 'nowhere'> {
    const { held, leaked, tunnelled } = await this.fate(from, packet);
    if (leaked.length > 0) return 'underlay';
    if (tunnelled.length > 0) return 'tunnel';
    return held > 0 ? 'held' : 'nowhere';
  }

  /** What is held now. */
  held(): Promise<number> {
    return this.agents.router.held();
  }

  /** Gives all that is held the same verdict. */
  async release(verdict: { accept: boolean; mark?: number }): Promise<void> {
    for (const queue of queues) await this.agents.router.verdict(queue, verdict);
  }

  async #forget(): Promise<void> {
    await Promise.all([this.agents.underlay.seen(), this.agents.far.seen()]);
  }

  /** Longer than any packet needs: 100 ms, and more where the machine is slow. The gate's own queue takes what time it takes. */
  async #until(done: () => Promise<boolean>): Promise<void> {
    let end = performance.now() + this.#patienceMs;
    for (let pauseMs = 4; ; pauseMs = Math.min(1.5 * pauseMs, 40)) {
      // The looks themselves may take long: only one that began late is the last.
      const late = performance.now() >= end;
      const elsewhere = await this.agents.router.heldElsewhere();
      if ((await done()) || (late && elsewhere === 0)) return;
      if (elsewhere > 0) end = performance.now() + this.#patienceMs;
      await sleep(pauseMs);
    }
  }

  /** What the router has of firewall, sets, routes, rules and addresses, without counters, seeds and what the kernel adds by itself. */
  async state(): Promise<string> {
    const commands = ['iptables-legacy-save', 'ip6tables-legacy-save', 'iptables-nft-save', 'ip6tables-nft-save', 'ipset -sorted save', 'ip -4 route show table all', 'ip -6 route show table all', 'ip nexthop', 'ip -4 rule', 'ip -6 rule', 'ip addr show dev lo'];
    const output = await this.router.run('sh', ['-ec', commands.map((command) => `echo '== ${command}'; ${command}`).join('; ')]);
    // each hash of a set has a seed of its own
    return output.replaceAll(/ initval 0x[0-9a-f]+/g, '').split('\n').filter((line) => !/^([#*]|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) )|fe80|ff00/.test(line) && line !== '').join('\n');
  }

  /** The programs that run on the router now, with their arguments. */
  async programs(): Promise<readonly string[]> {
    const lines = await Promise.all((await this.router.pids()).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    return lines.map((line) => line.split('\0').join(' '));
  }

  async dispose(): Promise<void> {
    await Promise.all(Object.values(this.agents).map((agent) => agent.stop()));
    await Promise.all([this.lan, this.router, this.underlay, this.far].map((netns) => netns.dispose()));
  }
}

export function tunnelOf(overrides: Partial<GateTunnel> = {}): GateTunnel {
  return { name: 'office', device: 'ovpn-office', queue: 11, protect: ['10.99.0.0/16', 'fd00:99::/48'], exclude: [], remotes: ['198.51.100.2'], onFailure: 'reject', linkRoutes: 1000, ...overrides };
}

/** The error that a promise rejects with, which must be a DaemonError. */
export async function failureOf(promise: Promise<unknown>): Promise<DaemonError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof DaemonError) return error;
    throw error;
  }
  throw new Error('nothing failed');
}
