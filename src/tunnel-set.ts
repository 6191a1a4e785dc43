import { Subject } from 'rxjs';
import type { TunnelSettings } from './config/load.js';
import type { ReloadReport } from './control/api.js';
import { DaemonError } from './core/errors.js';
import type { Step } from './core/join.js';
import type { GatePort } from './core/ports.js';
import { gateOf } from './core/state.js';
import type { LinkMeans } from './link-of.js';
import { RunningTunnel } from './tunnel.js';

/** All tunnels of a daemon, behind one gate. */
export class TunnelSet {
  readonly steps$ = new Subject<Step>();
  readonly #means: LinkMeans;
  readonly #gate: GatePort;
  readonly #tunnels = new Map<string, RunningTunnel>();
  readonly #sink = (step: Step): void => { this.steps$.next(step); };

  constructor(means: LinkMeans, gate: GatePort) {
    this.#means = means;
    this.#gate = gate;
  }

  [Symbol.iterator](): IterableIterator<RunningTunnel> {
    return this.#tunnels.values();
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
  }

  /** Sets the trap. The gate of a tunnel that runs already is left where its state wants it. */
  install(): Promise<void> {
    return this.#gate.install([...this].map(({ forGate }) => forGate), (name) => gateOf(this.get(name).tunnel.state));
  }

  /** Sets the machines going; the trap is set before. */
  async start(): Promise<void> {
    await Promise.all([...this].map((tunnel) => tunnel.run(this.#gate, this.#sink)));
  }

  /**
   * Brings the set to the new settings: tunnels that did not change are left alone. Everything is read before anything
   * is touched, so that what can't be used is refused whole.
   */
  async reload(settings: readonly TunnelSettings[]): Promise<ReloadReport> {
    const unchanged = new Set<string>();
    const created: RunningTunnel[] = [];
    for (const each of settings) {
      if (await this.#tunnels.get(each.name)?.is(each)) unchanged.add(each.name);
      else created.push(await RunningTunnel.create(each, this.#means));
    }
    const ended = [...this].filter(({ name }) => !unchanged.has(name));
    const [freed, free] = partition(created, ({ settings: { queue } }) => ended.some((tunnel) => tunnel.settings.queue === queue));
    await bindAll(free);
    await Promise.all(ended.map(async (tunnel) => {
      await tunnel.end();
      await tunnel.unbind();
      this.#tunnels.delete(tunnel.name);
    }));
    await bindAll(freed);
    for (const tunnel of created) this.#tunnels.set(tunnel.name, tunnel);
    await this.install();
    await Promise.all(created.map((tunnel) => tunnel.run(this.#gate, this.#sink)));
    // What locked an unchanged one may have been mended elsewhere: a password in its file.
    for (const tunnel of this) if (tunnel.tunnel.state.at === 'locked') tunnel.tell({ type: 'command', command: 'resume' });
    return { started: created.map(({ name }) => name), ended: ended.map(({ name }) => name), unchanged: [...unchanged] };
  }

  async end(): Promise<void> {
    await Promise.all([...this].map((tunnel) => tunnel.end()));
    this.steps$.complete();
  }

  async unbind(): Promise<void> {
    await Promise.all([...this].map((tunnel) => tunnel.unbind()));
  }
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
