import { filter, firstValueFrom, map, Subject, type Subscription } from 'rxjs';
import type { TunnelSettings } from './config/load.js';
import { DaemonError } from './core/errors.js';
import type { CommandEvent, TunnelEvent } from './core/events.js';
import { joinTunnel, type Step } from './core/join.js';
import type { Policy } from './core/policy.js';
import type { GatePort, GateTunnel, Prefix, QueueStats } from './core/ports.js';
import { isActive, startingTunnel, type Paused, type State, type Tunnel } from './core/state.js';
import type { AskName } from './host/name-lookup.js';
import { Names } from './host/names.js';
import { processOf } from './host/process-of.js';
import { linkOf, type LinkMeans, type TunnelLink } from './link-of.js';
import type { PersonsAnswer } from './management/attended.js';
import type { CredentialRequest } from './management/requests.js';
import { HoldQueue, type HoldQueueOptions } from './nfqueue/queue.js';

export interface TunnelMeans extends LinkMeans {
  readonly askName: AskName;
  /** Lets whatever is to be done for other tunnels go first. */
  readonly othersFirst: () => Promise<void>;
  /** Where somebody plays the kernel's part of the queue: for the rehearsal. */
  readonly played?: string;
  /** Brings what the tunnels protect into the gate again; resolves when it has it. */
  readonly protectAnew: () => Promise<void>;
}

/** A pause that was there before the tunnel; `until` in milliseconds since the epoch, without it until `resume`. */
type Pause = Pick<Paused, 'bypass' | 'until'>;

/** One tunnel with its adapters. `create`, `bind` (or `inherit`), `run`, and at its end `end`. */
export class RunningTunnel {
  readonly settings: TunnelSettings;
  readonly #means: TunnelMeans;
  readonly #link: TunnelLink;
  readonly #names: Names;
  readonly #inputs$ = new Subject<TunnelEvent>();
  readonly #steps$ = new Subject<Step>();
  #queue: HoldQueue | undefined;
  /** What the names of `protect` stand for in the gate. */
  standing: ReadonlyMap<string, readonly Prefix[]> = new Map();
  #predecessor: RunningTunnel | undefined;
  #running: Subscription | undefined;
  #gate: GatePort | undefined;
  #tunnel: Tunnel;

  private constructor(settings: TunnelSettings, means: TunnelMeans, link: TunnelLink) {
    this.settings = settings;
    this.#means = means;
    this.#link = link;
    this.#names = new Names({ tunnel: settings.name, names: settings.names, ask: means.askName, isProtected: () => this.#standsProtected, protect: means.protectAnew }, means.clock, means.log);
    this.#tunnel = startingTunnel(means.clock.now());
  }

  /** Reads what the tunnel needs; nothing is held or started yet. Rejects with a DaemonError. */
  static async create(settings: TunnelSettings, means: TunnelMeans): Promise<RunningTunnel> {
    return new RunningTunnel(settings, means, await linkOf(settings, means));
  }

  /** Binds the queue. Rejects with QUEUE_IN_USE, NOT_PERMITTED or QUEUE_FAILED. */
  async bind(): Promise<void> {
    this.#queue = await HoldQueue.open(this.#queueOptions, this.#means);
  }

  /** Whether the queue of that tunnel, with what it holds, can be this one's. */
  inherits(from: RunningTunnel): boolean {
    return JSON.stringify(this.#queueOptions) === JSON.stringify(from.#queueOptions);
  }

  /** Comes after that tunnel of the same name, and may have to release what it holds. */
  succeed(predecessor: RunningTunnel): void {
    this.#predecessor = predecessor;
  }

  /** Takes the queue of a tunnel that has ended. */
  inherit(from: RunningTunnel): void {
    this.#queue = from.#queue;
    from.#queue = undefined;
    this.#queue?.hold(); // the link that packets of this host went into as they came is gone
  }

  /** Whether it is what these settings describe, the files that they name included. */
  async is(settings: TunnelSettings): Promise<boolean> {
    return JSON.stringify(settings) === JSON.stringify(this.settings) && (await this.#link.isCurrent());
  }

  get name(): string {
    return this.settings.name;
  }

  /** What the machine remembers. */
  get tunnel(): Tunnel {
    return this.#tunnel;
  }

  get queueStats(): QueueStats {
    const stats = this.#bound.stats();
    return { ...stats, dropped: stats.dropped + (this.#gate?.unlearned(this.name) ?? 0) };
  }

  get forGate(): GateTunnel {
    const { routes } = this.#link;
    return { ...this.settings, remotes: this.#link.remotes(), ...(routes === undefined ? {} : { linkRoutes: routes }) };
  }

  /** What they were found to stand for, perhaps since. Of a tunnel that is wanted nothing is taken away: a packet to it may be held. */
  get toProtect(): ReadonlyMap<string, readonly Prefix[]> {
    const { byName } = this.#names;
    const before = isActive(this.#tunnel.state) ? this.standing : this.#predecessor?.toProtect;
    if (before === undefined) return byName;
    return new Map([...byName].map(([name, found]) => [name, [...new Set([...(before.get(name) ?? []), ...found])]]));
  }

  get #standsProtected(): boolean {
    const text = (all: ReadonlyMap<string, readonly Prefix[]>): string => [...all.values()].flat().sort().join();
    return text(this.toProtect) === text(this.standing);
  }

  /** Names that nobody could tell of are asked for some more times. */
  findMissing(): void {
    this.#names.lookUpMissing();
  }

  /** Asks for the names, before the gate is installed; a tunnel that is wanted keeps what it protects. */
  async findNames(): Promise<void> {
    const { at } = this.#tunnel.state;
    await this.#names.ask(at === 'dialing' || at === 'up' || at === 'draining');
  }

  /** From the start on it is paused, and its gate is where a pause has it; undefined: it is not, after all. Before `run`. */
  startPaused(pause: Pause | undefined): void {
    const starting = startingTunnel(this.#means.clock.now());
    this.#tunnel = pause === undefined ? starting : { ...starting, state: { at: 'paused', since: starting.state.since, bypass: pause.bypass, ...(pause.until === undefined ? {} : { until: pause.until }) } };
  }

  /** Sets the machine going; every event and what came of it goes to `all$`, too. Resolves when the standby is there. */
  async run(gate: GatePort, all$: Subject<Step>): Promise<void> {
    this.#gate = gate;
    const { state: first } = this.#tunnel;
    const steps$ = joinTunnel({ name: this.name, policy: policyOf(this.settings), queue: this.#bound, link: this.#link.port, gate, names: this.#names, clock: this.#means.clock, commands$: this.#inputs$, random: Math.random });
    this.#running = steps$.subscribe((step) => {
      this.#tunnel = step.after;
      this.#steps$.next(step);
      all$.next(step);
      this.#findWaker(step);
    });
    // before anything that was held meanwhile is told of
    if (first.at === 'paused') {
      const { bypass, until } = first;
      this.tell({ type: 'command', command: 'pause', bypass, ...(until === undefined ? {} : { forMs: Math.max(0, until - this.#means.clock.now()) }) });
    }
    await this.#link.port.start();
    this.#bound.remind();
    this.#predecessor = undefined; // if it is wanted, it is dialing now
    this.findMissing();
  }

  /** False if nothing waited to be told that the link is up. */
  ready(): boolean {
    return this.#link.ready();
  }

  /** What a person is asked; undefined if nothing is. */
  get question(): CredentialRequest | undefined {
    return this.#link.credentials?.prompts?.pending;
  }

  /** Rejects with USAGE if nothing, or something else, is asked. */
  answer(answer: PersonsAnswer): void {
    const prompts = this.#link.credentials?.prompts;
    if (!prompts) throw new DaemonError('USAGE', 'nothing is asked', { place: `tunnel ${this.name}`, hint: 'questions come to a person with `credentials: {prompt: true}`' });
    prompts.answer(answer);
  }

  /** A code that was refused together with a password may have been the fault, not the password: it may be sent again. */
  tryAgain(): void {
    this.#link.credentials?.credentials?.memory.allowDoubtful();
  }

  tell(event: TunnelEvent): void {
    this.#inputs$.next(event);
  }

  /** Sends a command and resolves with the first state that `reached` wants. Rejects if the daemon stops meanwhile. */
  command(command: CommandEvent, reached: (state: State) => boolean): Promise<State> {
    const result = firstValueFrom(this.#steps$.pipe(map(({ after }) => after.state), filter(reached))).catch((cause: unknown) => {
      throw new DaemonError('CONTROL_REFUSED', 'the daemon stopped meanwhile', { cause });
    });
    this.tell(command);
    return result;
  }

  /** The machine stops: what is held, and what still arrives, is answered with an error, or held for an heir. */
  halt(packets: 'answer' | 'hold'): void {
    this.#running?.unsubscribe();
    this.#steps$.complete();
    this.#names.close();
    this.#queue?.[packets]();
  }

  /** What local programs sent with the route into the living tunnel goes into it. After `halt`. */
  async releaseLocal(): Promise<void> {
    await this.#queue?.releaseLocal();
  }

  /** The link ends. After `halt`. */
  async end(): Promise<void> {
    await this.#link.port.close();
  }

  /** What still arrives is dropped from now on. */
  async unbind(): Promise<void> {
    await this.#queue?.close();
  }

  /** For `why`: the process whose packet began this wake, as long as the packet is still held. */
  #findWaker({ event, before, after }: Step): void {
    if (event.type !== 'packets-held' || event.first.interface !== undefined || before.wakes === after.wakes) return;
    void processOf(event.first).then((found) => {
      if (found) this.tell({ type: 'waker-found', process: `${found.program}[${found.pid}]` });
    });
  }

  get #queueOptions(): HoldQueueOptions {
    const { name, device, hold, queue: num, onFailure } = this.settings;
    return { tunnel: name, num, packets: hold.packets, device, marks: this.#means.marks, silent: onFailure === 'drop' };
  }

  get #bound(): HoldQueue {
    if (!this.#queue) throw new Error(`tunnel ${this.name} has no queue yet`);
    return this.#queue;
  }
}

function policyOf({ names, idle, hold, linger, backoff, minUp, wakesPerHour }: TunnelSettings): Policy {
  return {
    idleMs: typeof idle === 'number' ? idle : typeof idle === 'object' && idle.by === 'daemon' ? idle.after : Infinity,
    holdTimeoutMs: hold.timeout,
    lingerMs: linger,
    backoffStartMs: backoff.start,
    backoffMaxMs: backoff.max,
    minUpMs: minUp,
    wakesPerHour: wakesPerHour ?? Infinity,
    hasNames: names.length > 0,
  };
}
