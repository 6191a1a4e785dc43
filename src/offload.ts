import { DaemonError, messageOf } from './core/errors.js';
import { offloadedAmong, type TrackedConnection } from './core/established.js';
import type { Gate, GatePort, LogPort, TrafficCounters } from './core/ports.js';
import type { Net } from './core/prefix.js';
import { ownDevices, protectedParts, type ConntrackPort } from './established.js';
import { overriding } from './gate/overriding.js';
import type { Flowtable } from './host/flowtables.js';

export interface OffloadMeans {
  /** `refuse`: no gate beside a flowtable. `end`: what flowtables forward to protected prefixes ends when the gate closes. */
  readonly offload: 'refuse' | 'end';
  readonly flowtables: () => Promise<readonly Flowtable[]>;
  readonly conntrack: ConntrackPort;
  readonly log: LogPort;
}

/** Refuses to start where packets could pass unseen. Rejects with FLOWTABLE_FOUND. */
export async function assertNoOffload(offload: OffloadMeans['offload'], flowtables: OffloadMeans['flowtables']): Promise<void> {
  const problem = problemWith(await flowtables(), offload);
  if (problem !== undefined) throw problem;
}

function problemWith(flowtables: readonly Flowtable[], offload: OffloadMeans['offload']): DaemonError | undefined {
  const found = flowtables.filter(({ hardware }) => offload === 'refuse' || hardware);
  if (found.length === 0) return undefined;
  const names = found.map(({ table, name }) => `${name} (table ${table})`).join(', ');
  if (offload === 'end') return new DaemonError('FLOWTABLE_FOUND', `flowtable ${names} lets hardware forward packets, which the kernel can't end at once`, { hint: 'switch hardware offloading off (`flags offload` in nft; OpenWrt: uci set firewall.@defaults[0].flow_offloading_hw=0)' });
  return new DaemonError('FLOWTABLE_FOUND', `flowtable ${names} takes packets past the firewall, where no gate and no guard sees them`, { hint: 'switch flow offloading off (OpenWrt: uci set firewall.@defaults[0].flow_offloading=0), or set `offload: end`' });
}

/**
 * A gate beside flowtables: what they forward from or to a protected prefix ends when its gate stands and whenever it
 * closes, since the kernel looks for the conntrack entry with every packet. While it is open they may forward into the
 * tunnel: that is told as traffic, which no counter of ours sees.
 */
export function withoutOffload(gate: GatePort, means: OffloadMeans): GatePort {
  return new Watching(means.offload === 'end' ? new Ending(gate, means).port : gate, means).port;
}

/** Between two looks that nothing but our own acting is the reason for. */
const SELDOM_MS = 10_000;

/** The first install refuses what is not allowed; what comes later is told when somebody acts anyway: nothing is polled. */
class Watching {
  readonly port: GatePort;
  readonly #means: OffloadMeans;
  #installed = false;
  #lookedAt = 0;
  #told: string | undefined;

  constructor(gate: GatePort, means: OffloadMeans) {
    this.#means = means;
    this.port = overriding(gate, {
      install: async (...args) => {
        await (this.#installed ? this.#look() : assertNoOffload(means.offload, means.flowtables));
        await gate.install(...args);
        this.#installed = true;
        this.#lookedAt = performance.now();
      },
      look: () => {
        gate.look();
        if (this.#installed && performance.now() - this.#lookedAt >= SELDOM_MS) void this.#look();
      },
    });
  }

  async #look(): Promise<void> {
    this.#lookedAt = performance.now();
    const { flowtables, offload, log } = this.#means;
    const problem = problemWith(await flowtables(), offload);
    if (problem !== undefined && problem.message !== this.#told) log.error({ event: 'offload.found', code: problem.code }, `${problem.message} (${problem.hint ?? ''})`);
    this.#told = problem?.message;
  }
}

class Ending {
  readonly port: GatePort;
  readonly #gate: GatePort;
  readonly #means: OffloadMeans;
  /** What each tunnel protects. */
  #parts: ReadonlyMap<string, readonly Net[]> = new Map();
  readonly #gates = new Map<string, Gate>();
  /** Readings of the counters at which a flowtable forwarded something of a tunnel's. */
  readonly #seen = new Map<string, number>();
  #reading: Promise<ReadonlyMap<string, TrafficCounters>> | undefined;

  constructor(gate: GatePort, means: OffloadMeans) {
    this.#gate = gate;
    this.#means = means;
    const changed: Pick<GatePort, 'install' | 'set' | 'counters'> = { install: (...args) => this.#install(...args), set: (...args) => this.#set(...args), counters: () => this.#counters() };
    this.port = overriding(gate, changed);
    // Somebody's new rules may have put flows into a flowtable while ours were away.
    gate.events$.subscribe(({ type }) => { if (type === 'gate-repaired') void this.#end(this.#guarded()); });
  }

  #guarded(): readonly string[] {
    return [...this.#gates].flatMap(([name, gate]) => (gate === 'bypass' ? [] : [name]));
  }

  async #install(...args: Parameters<GatePort['install']>): Promise<void> {
    // Who can't ask now could not end anything then.
    await this.#means.conntrack.list(4, { offloaded: true });
    await this.#gate.install(...args);
    const [tunnels, gateOf = () => 'hold' as const] = args;
    const parts = protectedParts(tunnels, tunnels.map(({ name }) => name), ownDevices);
    this.#parts = new Map([...parts].map(([name, own]) => [name, own.map(({ net }) => net)]));
    const earlier = new Map(this.#gates);
    this.#gates.clear();
    for (const { name } of tunnels) this.#gates.set(name, gateOf(name) ?? earlier.get(name) ?? 'hold');
    await this.#end(this.#guarded());
  }

  async #set(...args: Parameters<GatePort['set']>): Promise<void> {
    await this.#gate.set(...args);
    const [name, now] = args;
    const before = this.#gates.get(name);
    this.#gates.set(name, now);
    const passes = (gate: Gate | undefined): boolean => gate === 'open' || gate === 'bypass';
    if (now !== before && now !== 'bypass' && passes(before)) await this.#end([name]);
  }

  /** One reading for all that ask meanwhile, as of the gate's own counters. */
  #counters(): Promise<ReadonlyMap<string, TrafficCounters>> {
    return (this.#reading ??= this.#read().finally(() => { this.#reading = undefined; }));
  }

  async #read(): Promise<ReadonlyMap<string, TrafficCounters>> {
    const counted = new Map(await this.#gate.counters());
    const open = [...this.#gates.keys()].filter((name) => this.#gates.get(name) === 'open');
    const connections = await this.#connections(open);
    for (const name of open) {
      const seen = (this.#seen.get(name) ?? 0) + (offloadedAmong(connections, this.#partsOf([name])).length > 0 ? 1 : 0);
      this.#seen.set(name, seen);
      const { out, in: incoming } = counted.get(name) ?? { out: 0, in: 0 };
      counted.set(name, { out: out + seen, in: incoming });
    }
    return counted;
  }

  async #end(names: readonly string[]): Promise<void> {
    const { conntrack, log } = this.#means;
    try {
      let connections = 0;
      for (const forget of offloadedAmong(await this.#connections(names), this.#partsOf(names))) connections += await conntrack.forget(forget);
      if (connections > 0) log.info({ event: 'offload.ended', connections, tunnels: names }, `${connections} connections to protected prefixes were taken out of flowtables`);
    } catch (error) {
      log.error({ event: 'offload.not_ended', tunnels: names }, `what flowtables forward to protected prefixes goes on: ${messageOf(error)}`);
    }
  }

  #partsOf(names: readonly string[]): readonly Net[] {
    return names.flatMap((name) => this.#parts.get(name) ?? []);
  }

  /** What flowtables forward, of the families in which these tunnels protect anything. */
  async #connections(names: readonly string[]): Promise<readonly TrackedConnection[]> {
    const parts = this.#partsOf(names);
    const families = ([4, 6] as const).filter((each) => parts.some(({ family }) => family === each));
    return (await Promise.all(families.map((family) => this.#means.conntrack.list(family, { offloaded: true })))).flat();
  }
}
