import { setTimeout as sleep } from 'node:timers/promises';
import type { Gate, TrafficCounters } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import type { Firewall } from './firewall.js';
import { parseGate, renderSets, setsOf, swapArguments } from './ipset.js';
import { parseCounters, parseSave, renderInstall, renderRemoval, type FoundTable } from './iptables.js';
import { newSuffix, setPrefix } from './names.js';
import type { Plan } from './plan.js';
import type { Family } from './prefix.js';
import type { Runner } from './runner.js';

/** `default` is whatever `iptables` is on this machine: one of the two others, by a name without a suffix. */
export type Flavour = 'default' | 'legacy' | 'nft';

const families: readonly Family[] = [4, 6];

/** Seconds to wait for the lock of iptables-legacy. */
const lockSeconds = 10;

/** iptables, ip6tables and ipset. The other of iptables' two kernel interfaces is looked after, too, where it has anything of ours. */
export class IptablesFirewall implements Firewall {
  readonly #run: Runner;
  readonly #flavour: Flavour;
  #all: Promise<readonly Flavour[]> | undefined;

  constructor(run: Runner, flavour: Flavour) {
    this.#run = run;
    this.#flavour = flavour;
  }

  get name(): string {
    return this.#flavour === 'default' ? 'iptables' : `iptables-${this.#flavour}`;
  }

  async present(): Promise<boolean> {
    const sets = await this.#sets();
    const found = await Promise.all((await this.#flavours()).flatMap((flavour) => families.map((family) => this.#found(flavour, family))));
    return sets.length > 0 || found.some((tables) => tables.length > 0);
  }

  async install(plan: Plan): Promise<void> {
    const found = new Map<Family, readonly FoundTable[]>();
    for (const family of families) found.set(family, await this.#found(this.#flavour, family, plan.families.includes(family)));
    const existing = await this.#sets();
    await this.#run('ipset', ['restore'], renderSets(plan, new Set(existing)));
    for (const family of families) {
      const text = renderInstall(plan, family, found.get(family) ?? []);
      if (text !== '') await this.#restore(this.#flavour, family, text);
    }
    for (const other of (await this.#flavours()).slice(1)) await this.#removeTables(other, () => true);
    const wanted = new Set(setsOf(plan));
    await this.#destroy(existing.filter((name) => !wanted.has(name) && !wanted.has(name.slice(0, -newSuffix.length))));
  }

  async switchGate(id: string, from: Gate, to: Gate): Promise<void> {
    await this.#run('ipset', swapArguments(id, from, to));
  }

  async readGate(id: string): Promise<Gate | undefined> {
    return parseGate(id, await this.#run('ipset', ['save']));
  }

  async counters(plan: Plan): Promise<ReadonlyMap<string, TrafficCounters>> {
    const texts = await Promise.all(plan.families.map((family) => this.#run(program(this.#flavour, family, 'save'), ['-c', '-t', 'mangle'])));
    return parseCounters(plan, texts.join('\n'));
  }

  async removeRules(): Promise<readonly string[]> {
    return this.#removeEverywhere(({ table }) => table !== 'mangle');
  }

  async removeGuard(): Promise<readonly string[]> {
    const removed = await this.#removeEverywhere(({ table }) => table === 'mangle');
    const sets = await this.#sets();
    await this.#destroy(sets);
    return [...removed, ...sets.map((name) => `ipset ${name}`)];
  }

  async #removeEverywhere(which: (found: FoundTable) => boolean): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const flavour of await this.#flavours()) removed.push(...(await this.#removeTables(flavour, which)));
    return removed;
  }

  async #removeTables(flavour: Flavour, which: (found: FoundTable) => boolean): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const family of families) {
      const found = (await this.#found(flavour, family)).filter(which);
      if (found.length > 0) await this.#restore(flavour, family, renderRemoval(found));
      const command = program(flavour, family);
      removed.push(...found.flatMap(({ table, chains, jumps }) => [...jumps.map((jump) => `${command} -t ${table} -A ${jump}`), ...chains.map((chain) => `${command} -t ${table} -N ${chain}`)]));
    }
    return removed;
  }

  async #restore(flavour: Flavour, family: Family, text: string): Promise<void> {
    await this.#run(program(flavour, family, 'restore'), ['--noflush', '-w', String(lockSeconds)], text);
  }

  /** The rules of a removed chain let go of their sets a moment later (nf_tables frees them in the background). */
  async #destroy(sets: readonly string[]): Promise<void> {
    if (sets.length === 0) return;
    // lists first: they hold on to the others
    const isList = (name: string): boolean => /-(hold|open|reject|bypass)$/.test(name);
    const ordered = [...sets.filter(isList), ...sets.filter((name) => !isList(name))];
    for (let attempt = 1; ; attempt++) {
      const left = new Set(await this.#sets());
      try {
        await this.#run('ipset', ['restore'], ordered.filter((name) => left.has(name)).map((name) => `destroy ${name}\n`).join(''));
        return;
      } catch (error) {
        if (attempt === 10 || !(error instanceof DaemonError && error.code === 'FIREWALL_FAILED')) throw error;
        await sleep(20 * attempt);
      }
    }
  }

  async #sets(): Promise<readonly string[]> {
    return (await this.#run('ipset', ['list', '-name'])).split('\n').filter((name) => name.startsWith(setPrefix));
  }

  /** A family that is not asked for may be without its programs. */
  async #found(flavour: Flavour, family: Family, needed = false): Promise<readonly FoundTable[]> {
    try {
      return parseSave(await this.#run(program(flavour, family, 'save'), []));
    } catch (error) {
      if (!needed && family === 6 && isMissing(error)) return [];
      throw error;
    }
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

const isMissing = (error: unknown): boolean => error instanceof DaemonError && error.code === 'PROGRAM_MISSING';

function program(flavour: Flavour, family: Family, verb?: 'save' | 'restore'): string {
  return [family === 4 ? 'iptables' : 'ip6tables', ...(flavour === 'default' ? [] : [flavour]), ...(verb === undefined ? [] : [verb])].join('-');
}
