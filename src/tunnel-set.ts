import { defer, distinctUntilChanged, map, merge, type Observable, startWith, Subject } from 'rxjs';
import type { Queues, TunnelSettings } from './config/load.js';
import type { ReloadReport } from './control/api.js';
import { DaemonError, messageOf } from './core/errors.js';
import type { Step } from './core/join.js';
import { withNamed } from './core/named.js';
import type { Gate, GatePort } from './core/ports.js';
import { gateOf, isActive } from './core/state.js';
import { hasDevice } from './link/device.js';
import { RunningTunnel, type TunnelMeans } from './tunnel.js';

/** All tunnels of a daemon, behind one gate. */
export class TunnelSet {
  readonly steps$ = new Subject<Step>();
  readonly #replaced$ = new Subject<void>();
  /** The name of a tunnel that has ended, while others go on. */
  readonly gone$ = new Subject<string>();
  /** Whether some tunnel is dialing, up or going down: at once, and at each change. */
  readonly active$: Observable<boolean> = defer(() => merge(this.steps$, this.#replaced$).pipe(startWith(undefined), map(() => this.#isActive), distinctUntilChanged()));
  readonly #means: TunnelMeans;
  readonly #gate: GatePort;
  readonly #tunnels = new Map<string, RunningTunnel>();
  /** Those that nobody holds packets for, since their queues could not be had again: protected all the same, until a reload that works. */
  #lost: readonly RunningTunnel[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #ended = false;

  constructor(means: Omit<TunnelMeans, 'protectAnew'>, gate: GatePort) {
    this.#means = { ...means, protectAnew: () => this.#protectAnew() };
    this.#gate = gate;
  }

  [Symbol.iterator](): IterableIterator<RunningTunnel> {
    return this.#tunnels.values();
  }

  /** Without a copy: asked at every step, of many tunnels that wake together too. */
  get #isActive(): boolean {
    for (const { tunnel } of this) if (isActive(tunnel.state)) return true;
    return false;
  }

  /** Rejects with TUNNEL_UNKNOWN. */
  get(name: string): RunningTunnel {
    const tunnel = this.#tunnels.get(name);
    if (!tunnel) throw new DaemonError('TUNNEL_UNKNOWN', `there is no tunnel "${name}"`, { hint: `there are: ${[...this.#tunnels.keys()].join(', ')}` });
    return tunnel;
  }

  has(name: string): boolean {
    return this.#tunnels.has(name);
  }

  /** Reads what the tunnels need and binds their queues; the firewall is not touched yet. */
  async prepare(settings: readonly TunnelSettings[]): Promise<void> {
    for (const each of settings) {
      const tunnel = await RunningTunnel.create(each, this.#means);
      await tunnel.bind();
      this.#tunnels.set(tunnel.name, tunnel);
    }
    await Promise.all([...this].map((tunnel) => tunnel.findNames()));
  }

  /** Sets the trap, every gate where its tunnel's state wants it. */
  install(): Promise<void> {
    return this.#protect([...this], (name) => gateOf(this.get(name).tunnel.state));
  }

  /** Something else is protected, or exempt: every gate stays where it is. */
  #protectAnew(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#ended) await this.#protectAsBefore();
    });
  }

  #protectAsBefore(): Promise<void> {
    return this.#protect([...this, ...this.#lost], () => undefined);
  }

  async #protect(tunnels: readonly RunningTunnel[], gateOf: (tunnel: string) => Gate | undefined): Promise<void> {
    const found = tunnels.map((tunnel) => ({ tunnel, named: tunnel.toProtect }));
    const { tunnels: all, clashes } = withNamed(found.map(({ tunnel, named }) => ({ tunnel: tunnel.forGate, named: [...new Set([...named.values()].flat())] })));
    for (const { prefix, tunnel, owner } of clashes) this.#means.log.warn({ event: 'names.clash', tunnel, prefix, owner }, `${prefix}, which a name in \`protect\` of ${tunnel} stands for, is protected by tunnel ${owner} already`);
    await this.#gate.install(all, gateOf);
    for (const { tunnel, named } of found) tunnel.standing = named;
  }

  /** Sets the machines going; the trap is set before. */
  async start(): Promise<void> {
    await Promise.all([...this].map((tunnel) => tunnel.run(this.#gate, this.steps$)));
  }

  /**
   * Brings the set to the settings that `load` reads: tunnels that did not change are left alone. One reload after the
   * other. Everything is read, and the new trap set, before any tunnel ends: what can't be had is refused whole, and
   * all stays as it was.
   */
  reload(load: (queues: Queues) => Promise<readonly TunnelSettings[]>): Promise<Reloaded> {
    return this.#inTurn(async () => {
      if (this.#ended) throw new DaemonError('CONTROL_REFUSED', 'the daemon is stopping');
      const queues = new Map([...this].map(({ name, settings: { queue } }) => [name, queue]));
      return this.#replace(await this.#compare(await load(queues)));
    });
  }

  /** Rejects if something that the new tunnels need can't be read. */
  async #compare(settings: readonly TunnelSettings[]): Promise<Change> {
    const next: RunningTunnel[] = [];
    const created: RunningTunnel[] = [];
    for (const each of settings) {
      const present = this.#tunnels.get(each.name);
      const tunnel = present && (await present.is(each)) ? present : await RunningTunnel.create(each, this.#means);
      next.push(tunnel);
      if (tunnel === present) continue;
      created.push(tunnel);
      if (present) tunnel.succeed(present);
    }
    return { next, created, ended: [...this].filter((tunnel) => !next.includes(tunnel)) };
  }

  async #replace({ next, created, ended }: Change): Promise<Reloaded> {
    const [freed, free] = partition(created, ({ settings: { queue } }) => ended.some((tunnel) => tunnel.settings.queue === queue));
    await bindAll(free);
    // Only now: what is found then comes into the gate.
    await Promise.all(next.map((tunnel) => tunnel.findNames()));
    // who was paused and has other settings now is still paused
    const keepPauses = (): void => {
      for (const tunnel of created) {
        const before = ended.find(({ name }) => name === tunnel.name)?.tunnel.state;
        tunnel.startPaused(before?.at === 'paused' ? before : undefined);
      }
    };
    keepPauses();
    const started = new Map(created.map(({ name, tunnel: { state } }) => [name, gateOf(state)]));
    try {
      // The gates of those that go on are theirs: they may change meanwhile.
      await this.#protect(next, (name) => started.get(name));
    } catch (error) {
      await Promise.all(free.map((tunnel) => tunnel.unbind()));
      // What the attempt may have changed is put back; should that fail, too, the gate goes on trying and says so.
      await this.#protectAsBefore().catch(() => undefined);
      throw error;
    }
    const heirOf = (tunnel: RunningTunnel): RunningTunnel | undefined => freed.find((next) => next.inherits(tunnel));
    for (const tunnel of ended) tunnel.halt(heirOf(tunnel) ? 'hold' : 'answer');
    keepPauses(); // somebody may have changed that while the new trap was set
    const heirs = await Promise.all(ended.map((tunnel) => this.#end(tunnel, created.find(({ name }) => name === tunnel.name), heirOf(tunnel))));
    this.#replaced$.next();
    const unbound = freed.filter((tunnel) => !heirs.includes(tunnel));
    const bound = await Promise.allSettled(unbound.map((tunnel) => tunnel.bind()));
    this.#lost = unbound.filter((_, index) => bound[index]?.status === 'rejected');
    await this.#begin(created.filter((tunnel) => !this.#lost.includes(tunnel)));
    // While it was a tunnel's, the network of a device counted as that of no LAN.
    const left = ended.some(({ settings: { device } }) => hasDevice(device) && next.every((tunnel) => tunnel.settings.device !== device));
    if (left) await this.#protectAsBefore().catch(() => undefined); // a gate that fails is repaired, and told
    const failed = bound.find((result) => result.status === 'rejected');
    // Somebody took the queue in the very moment: nothing gets to what is protected there; the next reload tries again.
    if (failed) throw failed.reason;
    // What locked an unchanged one may have been mended elsewhere: a password in its file.
    for (const tunnel of this) if (tunnel.tunnel.state.at === 'locked') tunnel.tell({ type: 'command', command: 'resume' });
    for (const tunnel of this) tunnel.findMissing();
    const names = (tunnels: readonly RunningTunnel[]): readonly string[] => tunnels.map(({ name }) => name);
    return { started: names(created), ended: names(ended), unchanged: names(next.filter((tunnel) => !created.includes(tunnel))) };
  }

  /**
   * What a tunnel holds is answered, or goes to its heir and outlives the tunnel's device; what comes is for the one of the
   * same name, if there is one. Resolves with the heir.
   */
  async #end(tunnel: RunningTunnel, successor: RunningTunnel | undefined, heir: RunningTunnel | undefined): Promise<RunningTunnel | undefined> {
    // It may have opened its gate since the new trap was set. A gate that fails is repaired, and told.
    if (successor) await this.#gate.set(tunnel.name, gateOf(successor.tunnel.state)).catch(() => undefined);
    // Without a device nothing is routed into it.
    if (heir && (isActive(tunnel.tunnel.state) || hasDevice(tunnel.settings.device))) {
      await this.#gate.catchFirst(tunnel.name, true).catch(() => undefined);
      await tunnel.releaseLocal().catch(() => undefined);
    }
    await tunnel.end();
    if (heir) heir.inherit(tunnel);
    else await tunnel.unbind();
    this.#tunnels.delete(tunnel.name);
    this.gone$.next(tunnel.name);
    return heir;
  }

  async #begin(created: readonly RunningTunnel[]): Promise<void> {
    for (const tunnel of created) {
      // Its predecessor of the same name may have changed these after the new trap was set. A gate that fails is repaired, and told.
      await this.#gate.set(tunnel.name, gateOf(tunnel.tunnel.state)).catch(() => undefined);
      await this.#gate.catchFirst(tunnel.name, false).catch(() => undefined);
    }
    // Who can be told something listens.
    for (const tunnel of created) this.#tunnels.set(tunnel.name, tunnel);
    await Promise.all(created.map((tunnel) => tunnel.run(this.#gate, this.steps$)));
  }

  /** The gate lets this host reach the servers and the LANs where they are now. What fails is told, and tried again by the gate. */
  exempt(): Promise<void> {
    return this.#protectAnew().catch((error: unknown) => {
      this.#means.log.error({ event: 'effect.failed', effect: 'install' }, `the new addresses of servers and LANs are not exempt yet: ${messageOf(error)}`);
    });
  }

  /** Waits for a reload that is under way; there is none after it. */
  end(): Promise<void> {
    return this.#inTurn(async () => {
      this.#ended = true;
      await Promise.all([...this].map((tunnel) => {
        tunnel.halt('answer');
        return tunnel.end();
      }));
      this.steps$.complete();
      this.#replaced$.complete();
      this.gone$.complete();
    });
  }

  async unbind(): Promise<void> {
    await Promise.all([...this].map((tunnel) => tunnel.unbind()));
  }

  /** Changes of the set never overlap, and one that failed does not stop the next. */
  #inTurn<Result>(change: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(change);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** What a reload did. */
export type Reloaded = Omit<ReloadReport, 'version'>;

/** What a reload brings. */
interface Change {
  /** All that there shall be, in the order of the settings. */
  readonly next: readonly RunningTunnel[];
  readonly created: readonly RunningTunnel[];
  readonly ended: readonly RunningTunnel[];
}

/** All of them or, where one queue is somebody else's, none. */
async function bindAll(tunnels: readonly RunningTunnel[]): Promise<void> {
  const bound: RunningTunnel[] = [];
  try {
    for (const tunnel of tunnels) {
      await tunnel.bind();
      bound.push(tunnel);
    }
  } catch (error) {
    await Promise.all(bound.map((tunnel) => tunnel.unbind()));
    throw error;
  }
}

function partition<Item>(items: readonly Item[], matches: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(matches), items.filter((item) => !matches(item))];
}
