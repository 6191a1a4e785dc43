import { DaemonError, messageOf } from './core/errors.js';
import { offloadedAmong } from './core/established.js';
import type { Gate, GatePort, LogPort, TrafficCounters } from './core/ports.js';
import type { Net } from './core/prefix.js';
import { ownDevices, protectedParts, type ConntrackPort } from './established.js';
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
  const found = (await flowtables()).filter(({ hardware }) => offload === 'refuse' || hardware);
  if (found.length === 0) return;
  const names = found.map(({ table, name }) => `${name} (table ${table})`).join(', ');
  if (offload === 'end') throw new DaemonError('FLOWTABLE_FOUND', `flowtable ${names} lets hardware forward packets, which the kernel can't end at once`, { hint: 'switch hardware offloading off (`flags offload` in nft; OpenWrt: uci set firewall.@defaults[0].flow_offloading_hw=0)' });
  throw new DaemonError('FLOWTABLE_FOUND', `flowtable ${names} takes packets past the firewall, where no gate and no guard sees them`, { hint: 'switch flow offloading off (OpenWrt: uci set firewall.@defaults[0].flow_offloading=0), or set `offload: end`' });
}

/**
 * A gate beside flowtables: what they forward from or to a protected prefix ends when its gate stands and whenever it
 * closes, since the kernel looks for the conntrack entry with every packet. While it is open they may forward into the
 * tunnel: that is told as traffic, which no counter of ours sees.
 */
export function withoutOffload(gate: GatePort, means: OffloadMeans): GatePort {
  return means.offload === 'end' ? new Ending(gate, means).port : refusing(gate, means);
}

function refusing(gate: GatePort, { offload, flowtables }: OffloadMeans): GatePort {
  const install: GatePort['install'] = async (...args) => {
    await assertNoOffload(offload, flowtables);
    await gate.install(...args);
  };
  return overriding(gate, { install });
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

  constructor(gate: GatePort, means: OffloadMeans) {
    this.#gate = gate;
    this.#means = means;
    const changed: Pick<GatePort, 'install' | 'set' | 'counters'> = { install: (...args) => this.#install(...args), set: (...args) => this.#set(...args), counters: () => this.#counters() };
    this.port = overriding(gate, changed);
  }

  async #install(...args: Parameters<GatePort['install']>): Promise<void> {
    const { offload, flowtables } = this.#means;
    await assertNoOffload(offload, flowtables);
    await this.#gate.install(...args);
    const [tunnels, gateOf = () => 'hold' as const] = args;
    this.#parts = new Map(tunnels.map(({ name }) => [name, protectedParts(tunnels, [name], ownDevices).map(({ net }) => net)]));
    this.#gates.clear();
    for (const { name } of tunnels) this.#gates.set(name, gateOf(name));
    await this.#end(tunnels.map(({ name }) => name).filter((name) => this.#gates.get(name) !== 'bypass'));
  }

  async #set(...args: Parameters<GatePort['set']>): Promise<void> {
    await this.#gate.set(...args);
    const [name, now] = args;
    const before = this.#gates.get(name);
    this.#gates.set(name, now);
    const passes = (gate: Gate | undefined): boolean => gate === 'open' || gate === 'bypass';
    if (now !== before && now !== 'bypass' && passes(before)) await this.#end([name]).catch((error: unknown) => {
      this.#means.log.error({ event: 'offload.not_ended', tunnel: name }, `what flowtables forward to protected prefixes goes on: ${messageOf(error)}`);
    });
  }

  async #counters(): Promise<ReadonlyMap<string, TrafficCounters>> {
    const counted = new Map(await this.#gate.counters());
    for (const name of [...this.#gates.keys()].filter((each) => this.#gates.get(each) === 'open')) {
      const seen = (this.#seen.get(name) ?? 0) + ((await this.#offloaded([name])).length > 0 ? 1 : 0);
      this.#seen.set(name, seen);
      const { out, in: incoming } = counted.get(name) ?? { out: 0, in: 0 };
      counted.set(name, { out: out + seen, in: incoming });
    }
    return counted;
  }

  async #end(names: readonly string[]): Promise<void> {
    const { conntrack, log } = this.#means;
    let connections = 0;
    for (const forget of await this.#offloaded(names)) connections += await conntrack.forget(forget);
    if (connections > 0) log.info({ event: 'offload.ended', connections, tunnels: names }, `${connections} connections to protected prefixes were taken out of flowtables`);
  }

  async #offloaded(names: readonly string[]): Promise<ReturnType<typeof offloadedAmong>> {
    const parts = names.flatMap((name) => this.#parts.get(name) ?? []);
    const families = ([4, 6] as const).filter((each) => parts.some(({ family }) => family === each));
    const found = await Promise.all(families.map(async (family) => offloadedAmong(await this.#means.conntrack.list(family, { offloaded: true }), parts.filter((net) => net.family === family))));
    return found.flat();
  }
}

/** The same gate but for some of its methods. */
function overriding(gate: GatePort, changed: Partial<GatePort>): GatePort {
  return new Proxy(gate, {
    get: (target, key): unknown => {
      const own: unknown = Reflect.get(key in changed ? changed : target, key);
      return typeof own === 'function' ? (own.bind(target) as unknown) : own;
    },
  });
}
