import { Subject } from 'rxjs';
import type { Addresses, Gate, GatePort, GateTunnel, Marks, Protocol, TrafficCounters } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import type { GateEvent } from '../core/events.js';
import { planOf, type Plan } from './plan.js';
import { hasDomains, routesIntoDevice, type PlannedTunnel } from './planned-tunnel.js';
import { contains, formatNet, parseNet, type Net } from '../core/prefix.js';

/** Where a packet of the LAN, or of this host, goes. */
export type FakeFate = 'held' | 'refused' | 'nowhere' | 'tunnel' | 'underlay';

export interface FakePacket {
  readonly protocol: Protocol;
  /** Of its destination. */
  readonly port?: number;
  /** That it comes in by, if it is the LAN's. */
  readonly device?: string;
}

interface FakeState {
  readonly planned: PlannedTunnel;
  gate: Gate;
  catchFirst: boolean;
  addresses: Addresses;
}

export interface FakeGateOptions {
  readonly marks: Marks;
  /** Prefixes on link. */
  readonly lans?: readonly string[];
}

/**
 * A gate without a kernel, for tests of what uses one: it keeps what it was told, refuses what the real one refuses,
 * and knows where a packet would go. The contract suite runs against this and the real one.
 */
export class FakeGate implements GatePort {
  readonly #options: FakeGateOptions;
  /** Devices that are up, with OpenVPN's routes: set by the test. */
  readonly devices = new Set<string>();
  /** Every change that was made, in order: `office: open`. */
  readonly journal: string[] = [];
  readonly #events = new Subject<GateEvent>();
  readonly events$ = this.#events.asObservable();
  #plan: Plan | undefined;
  /** What dnsmasq found, by tunnel. */
  #resolved = new Map<string, readonly string[]>();
  #unlearned = new Map<string, number>();
  #states = new Map<string, FakeState>();
  #traffic = new Map<string, TrafficCounters>();
  #failure: DaemonError | undefined;

  constructor(options: FakeGateOptions) {
    this.#options = options;
  }

  /** The next change fails with this, and changes nothing. */
  failNext(error: DaemonError): void {
    this.#failure = error;
  }

  /** Packets that matched, on top of those before. */
  count(tunnel: string, { out = 0, in: incoming = 0 }: Partial<TrafficCounters>): void {
    const before = this.#traffic.get(tunnel) ?? { out: 0, in: 0 };
    this.#traffic.set(tunnel, { out: before.out + out, in: before.in + incoming });
  }

  /** As if dnsmasq had found that a domain of this tunnel stands for that address. */
  resolve(tunnel: string, address: string): void {
    if (!hasDomains(this.#of(tunnel).planned)) throw new DaemonError('FIREWALL_FAILED', `there is no set for domains of ${tunnel}`);
    this.#resolved.set(tunnel, [...(this.#resolved.get(tunnel) ?? []), address]);
  }

  /** As if somebody had flushed the firewall, and all stood again after a while; `escaped` as the real one counts it. */
  repair(afterMs = 50, escaped: ReadonlyMap<string, number> = new Map()): void {
    if (this.#plan === undefined) return;
    this.#events.next({ type: 'gate-broken' });
    this.#events.next({ type: 'gate-repaired', afterMs, unheard: false, escaped });
  }

  look(): void {
    // nothing is ever lost here
  }

  mendRoutes(): Promise<void> {
    return Promise.resolve();
  }

  held(): void {
    // nor counted
  }

  gateOf(tunnel: string): Gate {
    return this.#of(tunnel).gate;
  }

  addressesOf(tunnel: string): Addresses {
    return this.#of(tunnel).addresses;
  }

  isCatchingFirst(tunnel: string): boolean {
    return this.#of(tunnel).catchFirst;
  }

  /** Where a packet from the LAN (`lan`) or of this host (`router`) to an address goes now. */
  fate(from: 'lan' | 'router', to: string, packet: FakePacket): FakeFate {
    const address = parseNet(to);
    const toRemote = this.#plan?.remotes.some((remote) => contains(remote, address)) === true;
    const states = [...this.#states.values()];
    const byDomain = states.find(({ planned }) => this.#resolved.get(planned.tunnel.name)?.includes(to));
    const state = states.find(({ planned }) => owns(planned, address)) ?? byDomain;
    if (state === undefined || (toRemote && from === 'router')) return 'underlay';
    if (toRemote && state === byDomain) {
      this.#unlearned.set(state.planned.tunnel.name, this.unlearned(state.planned.tunnel.name) + 1);
      return 'nowhere';
    }
    const { tunnel } = state.planned;
    const up = this.devices.has(tunnel.device);
    const refused = tunnel.onFailure === 'reject' ? 'refused' : 'nowhere';
    const quiet = ignores(tunnel, address, packet);
    switch (state.gate) {
      case 'hold':
        return quiet ? 'nowhere' : mayWake(tunnel, from, packet) ? 'held' : refused;
      case 'reject':
        return quiet ? 'nowhere' : refused;
      case 'bypass':
        return up ? 'tunnel' : 'underlay';
      case 'open':
        return up && !(from === 'router' && state.catchFirst) ? 'tunnel' : 'nowhere';
    }
  }

  install(tunnels: readonly GateTunnel[], gateOf: (tunnel: string) => Gate | undefined = () => 'hold'): Promise<void> {
    return this.#change(`install ${tunnels.map(({ name }) => name).join(' ')}`.trim(), () => {
      const plan = planOf(tunnels, { marks: this.#options.marks, lans: (this.#options.lans ?? []).map(parseNet), closingTable: 1 });
      const before = this.#states;
      this.#states = new Map(plan.tunnels.map((planned) => {
        const { name } = planned.tunnel;
        const earlier = before.get(name);
        const gate = gateOf(name) ?? earlier?.gate ?? 'hold';
        return [name, { planned, gate, catchFirst: gate !== 'bypass' && earlier?.catchFirst === true, addresses: earlier?.addresses ?? {} }];
      }));
      this.#traffic = new Map();
      this.#plan = plan;
      for (const planned of plan.tunnels) if (!hasDomains(planned)) this.#resolved.delete(planned.tunnel.name);
    });
  }

  set(tunnel: string, gate: Gate): Promise<void> {
    return this.#change(`${tunnel}: ${gate}`, () => {
      const state = this.#of(tunnel);
      state.gate = gate;
      if (gate === 'bypass') state.catchFirst = false;
    });
  }

  expect(tunnel: string): void {
    this.#of(tunnel);
  }

  catchFirst(tunnel: string, on: boolean): Promise<void> {
    return this.#change(`${tunnel}: catch first ${on ? 'on' : 'off'}`, () => {
      const state = this.#of(tunnel);
      state.catchFirst = on && state.gate !== 'bypass';
    });
  }

  route(tunnel: string): Promise<void> {
    return this.#change(`${tunnel}: route`, () => { this.#of(tunnel); });
  }

  keepAddresses(tunnel: string, addresses: Addresses): Promise<void> {
    return this.#change(`${tunnel}: keep ${[addresses.ipv4, addresses.ipv6].filter(Boolean).join(' ')}`, () => {
      for (const address of [addresses.ipv4, addresses.ipv6]) if (address !== undefined) parseNet(address);
      const state = this.#of(tunnel);
      state.addresses = { ...state.addresses, ...addresses };
    });
  }

  routes(tunnel: string): readonly string[] {
    return routesIntoDevice(this.#of(tunnel).planned).byLink.map(formatNet);
  }

  unlearned(tunnel: string): number {
    return this.#unlearned.get(tunnel) ?? 0;
  }

  counters(): Promise<ReadonlyMap<string, TrafficCounters>> {
    return Promise.resolve(new Map([...this.#states.keys()].map((name) => [name, this.#traffic.get(name) ?? { out: 0, in: 0 }])));
  }

  async remove({ keepDomains = false }: { readonly keepDomains?: boolean } = {}): Promise<readonly string[]> {
    const removed = [...this.#states.keys()].map((name) => `fake ${name}`);
    await this.#change('remove', () => {
      this.#states = new Map();
      this.#plan = undefined;
      if (!keepDomains) this.#resolved = new Map();
    });
    return removed;
  }

  #of(tunnel: string): FakeState {
    const state = this.#states.get(tunnel);
    if (state === undefined) throw new DaemonError('TUNNEL_UNKNOWN', `the gate knows no tunnel "${tunnel}"`);
    return state;
  }

  #change(entry: string, apply: () => void): Promise<void> {
    // as a promise in any case, like the real one's
    return Promise.resolve().then(() => {
      const failure = this.#failure;
      this.#failure = undefined;
      if (failure !== undefined) throw failure;
      apply();
      this.journal.push(entry);
    });
  }
}

function ignores({ ignore = [] }: GateTunnel, address: Net, { protocol, port = 0 }: FakePacket): boolean {
  return ignore.some(({ protocol: which, ports, to }) => which === protocol && (ports === undefined || (ports.first <= port && port <= ports.last)) && (to === undefined || contains(parseNet(to), address)));
}

function mayWake({ wake = 'both', wakeFrom }: GateTunnel, from: 'lan' | 'router', { device = '' }: FakePacket): boolean {
  if (wake !== 'both' && wake !== (from === 'lan' ? 'forwarded' : 'local')) return false;
  const by = (pattern: string): boolean => (pattern.endsWith('*') ? device.startsWith(pattern.slice(0, -1)) : device === pattern);
  return from === 'router' || wakeFrom === undefined || wakeFrom.some(by);
}

/** The longest entry around the address decides. */
function owns({ entries }: PlannedTunnel, address: Net): boolean {
  return entries.filter(({ net }) => contains(net, address)).reduce<{ length: number; match: boolean }>((best, { net, match }) => (net.length >= best.length ? { length: net.length, match } : best), { length: -1, match: false }).match;
}
