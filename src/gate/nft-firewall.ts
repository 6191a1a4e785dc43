import type { Gate, TrafficCounters } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import type { Firewall, GateOf, PreparedSwitch } from './firewall.js';
import { nftProbe, nftStands, nftTable, parseNftCounters, parseNftGate, parseTable, renderNftAdded, renderNftAddresses, renderNftInstall, renderNftOpen, renderNftRemoval, renderNftSwitch, type FoundNft } from './nft.js';
import type { Net } from '../core/prefix.js';
import type { Plan } from './plan.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { KeptAddress } from './routes.js';
import type { ReadyRunner, Runner } from './runner.js';

/** nftables, in one table of family inet. */
export class NftFirewall implements Firewall {
  readonly name = 'nft';
  readonly #run: Runner;
  readonly #ready: ReadyRunner;
  #plan: Plan | undefined;
  /** Where gates are that are not at `hold`. */
  readonly #gates = new Map<string, Gate>();
  /** Packets that were counted before the counters were last reset. */
  #counted = new Map<string, TrafficCounters>();

  constructor(run: Runner, ready: ReadyRunner) {
    this.#run = run;
    this.#ready = ready;
  }

  async probe(): Promise<void> {
    await this.#run('nft', ['--check', '-f', '-'], nftProbe);
  }

  async install(plan: Plan, staying: GateOf = () => undefined): Promise<{ readonly tookOver: boolean; readonly gates: 'kept' }> {
    const found = await this.#inspect();
    await this.#apply(renderNftInstall(plan, found, staying));
    this.#plan = plan;
    this.#gates.clear();
    for (const { id } of plan.tunnels) this.#gates.set(id, staying(id) ?? 'hold');
    this.#counted = new Map();
    return { tookOver: found !== undefined && found.chains.length > 0, gates: 'kept' };
  }

  async intact(plan: Plan): Promise<boolean> {
    const found = await this.#inspect();
    return found !== undefined && nftStands(plan, found);
  }

  async mend(plan: Plan): Promise<'closed'> {
    await this.install(plan);
    return 'closed';
  }

  hasEvents(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async switchGate({ id }: PlannedTunnel, _from: Gate, to: Gate): Promise<void> {
    await this.#apply(this.#renderSwitch(id, to));
    this.#gates.set(id, to);
  }

  prepareSwitch({ id }: PlannedTunnel, _from: Gate, to: Gate): PreparedSwitch {
    const program = this.#ready('nft', ['-f', '-']);
    const apply = async (): Promise<void> => {
      await program.finish(this.#renderSwitch(id, to));
      this.#gates.set(id, to);
    };
    return { apply, cancel: () => { program.cancel(); } };
  }

  async readGate(planned: PlannedTunnel): Promise<Gate | undefined> {
    const found = await this.#inspect();
    const gate = found === undefined ? undefined : parseNftGate(planned, found);
    if (gate !== undefined) this.#gates.set(planned.id, gate);
    return gate;
  }

  async addOwn(id: string, addresses: readonly Net[]): Promise<void> {
    await this.#apply(renderNftAdded(addresses, id));
  }

  async addAny(addresses: readonly Net[]): Promise<void> {
    await this.#apply(renderNftAdded(addresses));
  }

  async keepAddresses({ id, families }: PlannedTunnel, addresses: readonly KeptAddress[]): Promise<void> {
    await this.#apply(renderNftAddresses(id, families, addresses));
  }

  /** To list counters, nft first reads every set, which takes seconds for large ones; to reset them it does not. */
  async counters(plan: Plan): Promise<ReadonlyMap<string, TrafficCounters>> {
    const since = parseNftCounters(plan, await this.#run('nft', ['reset', 'counters', 'table', ...nftTable.split(' ')]));
    for (const [name, { out, in: incoming }] of since) {
      const before = this.#counted.get(name) ?? { out: 0, in: 0 };
      this.#counted.set(name, { out: before.out + out, in: before.in + incoming });
    }
    return new Map(this.#counted);
  }

  async remove(beforeGuard: () => Promise<readonly string[]>, keepDomains: boolean): Promise<readonly string[]> {
    const found = await this.#inspect();
    if (found !== undefined) await this.#apply(renderNftOpen(found));
    const removed = await beforeGuard();
    if (found === undefined) return removed;
    await this.#apply(renderNftRemoval(found, keepDomains));
    return [...removed, `nft table ${nftTable}`];
  }

  #renderSwitch(id: string, to: Gate): string {
    if (this.#plan === undefined) throw new DaemonError('FIREWALL_FAILED', 'no gate is installed');
    return renderNftSwitch(this.#plan, id, (of) => (of === id ? to : (this.#gates.get(of) ?? 'hold')));
  }

  async #apply(text: string): Promise<void> {
    await this.#run('nft', ['-f', '-'], text);
  }

  async #inspect(): Promise<FoundNft | undefined> {
    const tables = (await this.#run('nft', ['list', 'tables'])).split('\n');
    if (!tables.includes(`table ${nftTable}`)) return undefined;
    return parseTable(await this.#run('nft', ['--terse', 'list', 'table', ...nftTable.split(' ')]));
  }
}
