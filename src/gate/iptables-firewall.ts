import { setTimeout as sleep } from 'node:timers/promises';
import type { CarryOut, Gate, TrafficCounters } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import type { Firewall, GateOf } from './firewall.js';
import { renderAddresses, renderSets, setsOf, setsStand } from './ipset.js';
import type { AddAddress } from './ipset-lists.js';
import { countingTables, parseCounters, parseSave, renderInstall, renderMend, renderRemoval, stands, type FoundTable } from './iptables.js';
import { anySet, isDomainSet, newSuffix, ownSet, setPrefix } from './names.js';
import type { Plan } from './plan.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { Family, Net } from '../core/prefix.js';
import type { KeptAddress } from './routes.js';
import type { Runner } from './runner.js';
import type { Switching } from './switching.js';

/** `default` is whatever `iptables` is on this machine: one of the two others, by a name without a suffix. */
export type Flavour = 'default' | 'legacy' | 'nft';

const families: readonly Family[] = [4, 6];

interface FoundRules {
  readonly flavour: Flavour;
  readonly family: Family;
  readonly tables: readonly FoundTable[];
}

/** Everything of ours. */
interface Found {
  readonly sets: readonly string[];
  readonly rules: readonly FoundRules[];
}

function tablesOf({ rules }: Found, flavour: Flavour, family: Family): readonly FoundTable[] {
  return rules.find((found) => found.flavour === flavour && found.family === family)?.tables ?? [];
}

/** Seconds to wait for the lock of iptables-legacy. */
const lockSeconds = 10;

/** iptables, ip6tables and ipset; `switching` says what changes a gate. The other of iptables' two kernel interfaces is looked after, too, where it has anything of ours. */
export class IptablesFirewall implements Firewall {
  readonly #run: Runner;
  readonly #switching: Switching;
  readonly #addAddress: AddAddress;
  readonly #flavour: Flavour;
  #all: Promise<readonly Flavour[]> | undefined;
  /** What the last `intact` has found, rules as `iptables-save` prints them: a repair has no time to look twice. */
  #seen: { readonly sets: readonly string[]; readonly saved: readonly string[]; readonly setsStand: boolean } | undefined;

  constructor(run: Runner, switching: Switching, addAddress: AddAddress, flavour: Flavour) {
    this.#run = run;
    this.#switching = switching;
    this.#addAddress = addAddress;
    this.#flavour = flavour;
  }

  get name(): string {
    return `${this.#flavour === 'default' ? 'iptables' : `iptables-${this.#flavour}`}${this.#switching.suffix}`;
  }

  async probe(): Promise<void> {
    await this.#inspect([4]);
    await this.#trySets();
    await this.#tryNeeds();
  }

  async install(plan: Plan, staying: GateOf = () => undefined): Promise<{ readonly tookOver: boolean; readonly gates: 'closed' | 'kept' }> {
    const found = await this.#inspect(plan.families);
    await this.#trySets();
    await this.#tryNeeds();
    const tookOver = found.rules.length > 0 || found.sets.some((name) => !isDomainSet(name));
    try {
      this.#close(plan);
      await this.#run('ipset', ['restore'], renderSets(plan, new Set(found.sets), this.#switching, staying));
      for (const family of families) {
        await this.#fill(plan, family, found);
        this.#close(plan);
      }
      await this.#removeTables(found.rules.filter(({ flavour }) => flavour !== this.#flavour));
      const wanted = new Set(setsOf(plan, this.#switching));
      await this.#destroy(found.sets.filter((name) => !wanted.has(name) && !wanted.has(name.slice(0, -newSuffix.length))));
    } catch (error) {
      if (!tookOver) await this.remove(() => Promise.resolve([]), true).catch(() => undefined);
      throw error;
    }
    return { tookOver, gates: this.#switching.gateLists ? 'kept' : 'closed' };
  }

  async intact(plan: Plan, gateOf: GateOf): Promise<boolean> {
    const [sets, ...saved] = await Promise.all([this.#run('ipset', ['-terse', 'list']), ...plan.families.map((family) => this.#run(program(this.#flavour, family, 'save'), []))]);
    this.#seen = { sets: ours(listedNames(sets)), saved, setsStand: setsStand(plan, sets, gateOf, this.#switching) };
    return this.#seen.setsStand && plan.families.every((family, index) => stands(plan, family, saved[index] ?? '', this.#switching.matchGate));
  }

  /** Sets that stand are not filled again, which may take long; the gates are in them. */
  async mend(plan: Plan): Promise<'closed' | 'kept'> {
    const found = this.#seen;
    if (found === undefined) {
      await this.install(plan);
      return 'closed';
    }
    const closes = !found.setsStand || !this.#switching.gateLists;
    if (closes) this.#close(plan);
    if (!found.setsStand) await this.#run('ipset', ['restore'], renderSets(plan, new Set(found.sets), this.#switching));
    // both at once: every millisecond counts
    const mended = await Promise.allSettled(plan.families.map((family, index) => this.#restore(this.#flavour, family, renderMend(plan, family, found.saved[index] ?? '', this.#switching.matchGate))));
    // not before both have ended: nobody else's turn may begin
    for (const result of mended) if (result.status === 'rejected') throw result.reason;
    if (closes) this.#close(plan);
    return closes ? 'closed' : 'kept';
  }

  async hasEvents(): Promise<boolean> {
    return (await this.#kernelInterface(this.#flavour)) === 'nft';
  }

  switchGate(planned: PlannedTunnel, from: Gate, to: Gate, carryOut?: CarryOut): void {
    this.#switching.change(planned, from, to, carryOut);
  }

  readGate(planned: PlannedTunnel): Promise<Gate | undefined> {
    return this.#switching.read(planned);
  }

  addOwn(id: string, addresses: readonly Net[]): void {
    for (const net of addresses) this.#addAddress(ownSet(id, net.family), net);
  }

  addAny(addresses: readonly Net[], carryOut: CarryOut): void {
    for (const net of addresses) this.#addAddress(anySet(net.family), net, carryOut);
  }

  async keepAddresses({ id, families: own }: PlannedTunnel, addresses: readonly KeptAddress[]): Promise<void> {
    await this.#run('ipset', ['restore'], renderAddresses(id, own, addresses));
  }

  async counters(plan: Plan): Promise<ReadonlyMap<string, TrafficCounters>> {
    const ofFamilies = await Promise.all(
      plan.families.map(async (family) => {
        const saved = await Promise.all(countingTables.map((table) => this.#run(program(this.#flavour, family, 'save'), ['-c', '-t', table])));
        return parseCounters(plan, family, saved.join(''), this.#switching.matchGate);
      }),
    );
    const sum = (name: string, direction: keyof TrafficCounters): number => ofFamilies.reduce((total, counters) => total + (counters.get(name)?.[direction] ?? 0), 0);
    return new Map(plan.tunnels.map(({ tunnel: { name } }) => [name, { out: sum(name, 'out'), in: sum(name, 'in') }]));
  }

  async remove(beforeGuard: () => Promise<readonly string[]>, keepDomains: boolean): Promise<readonly string[]> {
    const { sets: all, rules } = await this.#inspect([]);
    const sets = all.filter((name) => !(keepDomains && isDomainSet(name)));
    const guards = rules.map((part) => ({ ...part, tables: part.tables.filter(({ table }) => table === 'mangle') }));
    const others = rules.map((part) => ({ ...part, tables: part.tables.filter(({ table }) => table !== 'mangle') }));
    const removed = [...(await this.#removeTables(others)), ...(await beforeGuard()), ...(await this.#removeTables(guards))];
    await this.#destroy(sets);
    return [...removed, ...sets.map((name) => `ipset ${name}`)];
  }

  #close(plan: Plan): void {
    this.#switching.close?.(plan.tunnels.map(({ id }) => id));
  }

  async #fill(plan: Plan, family: Family, found: Found): Promise<void> {
    const text = renderInstall(plan, family, tablesOf(found, this.#flavour, family), this.#switching.matchGate);
    await this.#restore(this.#flavour, family, text);
  }

  async #removeTables(rules: readonly FoundRules[]): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const { flavour, family, tables } of rules) {
      await this.#restore(flavour, family, renderRemoval(tables));
      const command = program(flavour, family);
      removed.push(...tables.flatMap(({ table, chains, jumps }) => [...jumps.map((jump) => `${command} -t ${table} -A ${jump}`), ...chains.map((chain) => `${command} -t ${table} -N ${chain}`)]));
    }
    return removed;
  }

  /** iptables asks for sets over a raw socket. One that does not exist is as far as a try gets that changes nothing. */
  async #trySets(): Promise<void> {
    const command = program(this.#flavour, 4, 'restore');
    await this.#run(command, ['--test', '--noflush', '-w', String(lockSeconds)], `*raw\n-A PREROUTING -m set --match-set ${setPrefix}none dst\nCOMMIT\n`).catch((cause: unknown) => {
      if (!(cause instanceof DaemonError) || cause.code !== 'FIREWALL_FAILED') throw cause;
      if (cause.message.includes("doesn't exist")) return;
      throw new DaemonError('FIREWALL_FAILED', `rules can't ask for ipset's sets: ${cause.message}`, { cause, place: command, hint: 'is CAP_NET_RAW there, and has the kernel xt_set? Or take another backend with `gate`' });
    });
  }

  /** A rule is tried and not kept. */
  async #tryNeeds(): Promise<void> {
    const { needs } = this.#switching;
    if (needs === undefined) return;
    const command = program(this.#flavour, 4, 'restore');
    await this.#run(command, ['--test', '--noflush', '-w', String(lockSeconds)], `*raw\n-A PREROUTING ${needs.match.join(' ')}\nCOMMIT\n`).catch((cause: unknown) => {
      throw cause instanceof DaemonError && cause.code === 'FIREWALL_FAILED' ? new DaemonError('FIREWALL_FAILED', needs.missing, { cause, place: command, hint: needs.hint }) : cause;
    });
  }

  async #restore(flavour: Flavour, family: Family, text: string): Promise<void> {
    if (text !== '') await this.#run(program(flavour, family, 'restore'), ['--noflush', '-w', String(lockSeconds)], text);
  }

  /** The rules of a removed chain let go of their sets a moment later (nf_tables frees them in the background). */
  async #destroy(sets: readonly string[]): Promise<void> {
    if (sets.length === 0) return;
    // lists first: they hold on to the others
    const isList = (name: string): boolean => /-(hold|open|reject|bypass)[46]?$/.test(name);
    const ordered = [...sets.filter(isList), ...sets.filter((name) => !isList(name))];
    let left = ordered;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#run('ipset', ['restore'], left.map((name) => `destroy ${name}\n`).join(''));
        return;
      } catch (error) {
        if (attempt === 10 || !(error instanceof DaemonError && error.code === 'FIREWALL_FAILED')) throw error;
        await sleep(20 * attempt);
      }
      const present = new Set(await this.#sets());
      left = ordered.filter((name) => present.has(name));
    }
  }

  async #sets(): Promise<readonly string[]> {
    return ours((await this.#run('ipset', ['list', '-name'])).split('\n'));
  }

  /** Everything of ours, in both kernel interfaces. A family that is not `needed` may be without its programs. */
  async #inspect(needed: readonly Family[]): Promise<Found> {
    const look = async (flavour: Flavour, family: Family): Promise<FoundRules> => {
      try {
        return { flavour, family, tables: parseSave(await this.#run(program(flavour, family, 'save'), [])) };
      } catch (error) {
        if (!needed.includes(family) && family === 6 && isMissing(error)) return { flavour, family, tables: [] };
        throw error;
      }
    };
    const flavours = await this.#flavours();
    const [sets, rules] = await Promise.all([this.#sets(), Promise.all(flavours.flatMap((flavour) => families.map((family) => look(flavour, family))))]);
    return { sets, rules: rules.filter(({ tables }) => tables.length > 0) };
  }

  /** The chosen one first, then the one of the other kernel interface, if its programs are installed. */
  #flavours(): Promise<readonly Flavour[]> {
    return (this.#all ??= this.#lookForFlavours());
  }

  async #lookForFlavours(): Promise<readonly Flavour[]> {
    const mine = await this.#kernelInterface(this.#flavour);
    const other = mine === 'nft' ? 'legacy' : 'nft';
    try {
      await this.#kernelInterface(other);
      return [this.#flavour, other];
    } catch (error) {
      if (isMissing(error)) return [this.#flavour];
      throw error;
    }
  }

  /** As `iptables -V` names it; versions before 1.8 name none, and are legacy. */
  async #kernelInterface(flavour: Flavour): Promise<'legacy' | 'nft'> {
    return (await this.#run(program(flavour, 4), ['-V'])).includes('nf_tables') ? 'nft' : 'legacy';
  }
}

const ours = (names: readonly string[]): readonly string[] => names.filter((name) => name.startsWith(setPrefix));

/** From `ipset -terse list`. */
const listedNames = (text: string): readonly string[] => [...text.matchAll(/^Name: (\S+)$/gm)].map(([, name = '']) => name);

const isMissing = (error: unknown): boolean => error instanceof DaemonError && error.code === 'PROGRAM_MISSING';

function program(flavour: Flavour, family: Family, verb?: 'save' | 'restore'): string {
  return [family === 4 ? 'iptables' : 'ip6tables', ...(flavour === 'default' ? [] : [flavour]), ...(verb === undefined ? [] : [verb])].join('-');
}
