import { firstValueFrom, merge, Subject } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { NamesEvent } from '../core/events.js';
import { isOrdinary } from '../core/named.js';
import type { ClockPort, LogPort, NamesPort, Prefix } from '../core/ports.js';
import { formatNet, parseNet } from '../core/prefix.js';
import type { AskName, NameAnswer } from './name-lookup.js';

export interface NamesOptions {
  readonly tunnel: string;
  readonly names: readonly string[];
  readonly ask: AskName;
  /** Whether the gate has what they stand for. */
  readonly isProtected: () => boolean;
  /** It is to have it: resolves when it has. */
  readonly protect: () => Promise<void>;
}

/** A record that lives shorter is asked for again after this; one that nobody could tell of, after the other. */
const LEAST_MS = 5000;
const AGAIN_MS = 60_000;
/** A network that has just come may have its DNS server a little later. Then nobody is asked until something happens. */
const PAUSES_MS = [1000, 2000, 4000, 8000, 16_000, 30_000];

/** The names in a tunnel's `protect`, and the addresses that they were found to stand for. */
export class Names implements NamesPort {
  readonly #events$ = new Subject<NamesEvent>();
  readonly events$ = this.#events$.asObservable();
  readonly #options: NamesOptions;
  readonly #clock: ClockPort;
  readonly #log: LogPort;
  readonly #found = new Map<string, { readonly ipv4: readonly Prefix[]; readonly ipv6: readonly Prefix[] }>();
  readonly #unresolved = new Set<string>();
  readonly #disturbed$ = new Subject<void>();
  #asking = false;
  /** Asked for meanwhile. */
  #next: { readonly keep: boolean } | undefined;
  #closed = false;

  constructor(options: NamesOptions, clock: ClockPort, log: LogPort) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
  }

  /** What each stands for; none for one that was never found. */
  get byName(): ReadonlyMap<string, readonly Prefix[]> {
    return new Map(this.#options.names.map((name) => {
      const { ipv4 = [], ipv6 = [] } = this.#found.get(name) ?? {};
      return [name, [...ipv4, ...ipv6]];
    }));
  }

  lookUp(keep: boolean): void {
    if (this.#options.names.length === 0 || this.#closed) return;
    if (this.#asking) {
      this.#next = { keep: keep || this.#next?.keep === true };
      this.#disturbed$.next();
    } else {
      void this.#lookUp(keep);
    }
  }

  /** Where nobody had an answer at the start. */
  lookUpMissing(): void {
    if (this.#unresolved.size > 0) this.lookUp(true);
  }

  /** Asks without telling anybody; resolves with when to ask again, if at all. */
  async ask(keep: boolean): Promise<number | undefined> {
    const { names, ask } = this.#options;
    const answers = await Promise.all(names.map(async (name) => [name, await ask(name)] as const));
    const times = answers.map(([name, answer]) => this.#take(name, answer, keep));
    const again = Math.min(...times);
    return Number.isFinite(again) ? again : undefined;
  }

  close(): void {
    this.#closed = true;
    this.#disturbed$.next();
    this.#events$.complete();
  }

  async #lookUp(keep: boolean): Promise<void> {
    this.#asking = true;
    await this.#askAndProtect(keep);
    for (const pauseMs of PAUSES_MS) {
      if (this.#unresolved.size === 0 || this.#isDisturbed()) break;
      await firstValueFrom(merge(this.#clock.at(this.#clock.now() + pauseMs), this.#disturbed$));
      if (this.#isDisturbed()) break;
      await this.#askAndProtect(true);
    }
    this.#asking = false;
    const next = this.#next;
    this.#next = undefined;
    if (next) this.lookUp(next.keep);
  }

  async #askAndProtect(keep: boolean): Promise<void> {
    const { tunnel, isProtected, protect } = this.#options;
    const againAfterMs = await this.ask(keep);
    if (!isProtected() && !this.#closed) {
      await protect().catch((error: unknown) => {
        this.#log.error({ event: 'names.not_protected', tunnel }, `what the names in \`protect\` stand for now is not protected: ${messageOf(error)}`);
      });
    }
    this.#events$.next({ type: 'names-found', ...(againAfterMs === undefined ? {} : { againAfterMs }) });
  }

  #isDisturbed(): boolean {
    return this.#closed || this.#next !== undefined;
  }

  /** Resolves with when to ask again. A family that nobody could tell of stays as it was. */
  #take(name: string, { ipv4, ipv6, ttlMs, problem }: NameAnswer, keep: boolean): number {
    const { tunnel } = this.#options;
    if (problem !== undefined) {
      if (!this.#unresolved.has(name)) this.#log.warn({ event: 'names.unresolved', tunnel, name }, `${name} has no address: ${problem}; ${this.#found.has(name) ? 'what it stood for stays protected' : 'nothing is protected for it'} until it is`);
      this.#unresolved.add(name);
      return AGAIN_MS;
    }
    this.#unresolved.delete(name);
    const before = this.#found.get(name) ?? { ipv4: [], ipv6: [] };
    const merged = (old: readonly Prefix[], found: readonly string[] | undefined): readonly Prefix[] => {
      if (found === undefined) return old;
      const usable = this.#usable(name, found);
      return keep ? [...old, ...usable.filter((prefix) => !old.includes(prefix))] : usable;
    };
    const after = { ipv4: merged(before.ipv4, ipv4), ipv6: merged(before.ipv6, ipv6) };
    this.#found.set(name, after);
    const all = [...after.ipv4, ...after.ipv6];
    if (all.join() !== [...before.ipv4, ...before.ipv6].join()) this.#log.info({ event: 'names.changed', tunnel, name, addresses: all }, `${name} is ${all.join(', ')}`);
    return ttlMs === undefined ? Infinity : Math.max(ttlMs, LEAST_MS);
  }

  /** In one order, so that round robin is no change. */
  #usable(name: string, addresses: readonly string[]): readonly Prefix[] {
    const nets = addresses.map(parseNet);
    const strange = nets.filter((net) => !isOrdinary(net)).map(formatNet);
    if (strange.length > 0) this.#log.warn({ event: 'names.unusable', tunnel: this.#options.tunnel, name, addresses: strange }, `${name} is said to be ${strange.join(', ')}, which is no host's address: not protected`);
    return nets.filter(isOrdinary).map(formatNet).sort();
  }
}
