import { filter, firstValueFrom, map, Subject, type Observable } from 'rxjs';
import type { TunnelSettings } from './config/load.js';
import { DaemonError } from './core/errors.js';
import type { CommandEvent, TunnelEvent } from './core/events.js';
import { joinTunnel, type Step } from './core/join.js';
import type { Policy } from './core/policy.js';
import type { GatePort, GateTunnel, LogPort, Marks, Prefix } from './core/ports.js';
import { startingTunnel, type State, type Tunnel } from './core/state.js';
import { contains, formatNet, parseNet, subtract } from './gate/prefix.js';
import { systemClock } from './host/clock.js';
import { OpenvpnLink } from './link/openvpn.js';
import { HoldQueue } from './nfqueue/queue.js';

/** What every tunnel of a daemon shares. */
export interface Means {
  readonly marks: Marks;
  /** A folder of ours that nobody else can look into. */
  readonly folder: string;
  readonly log: LogPort;
}

/** One tunnel with its adapters: its queue is bound from the start, its stream runs after `run`. */
export class RunningTunnel {
  readonly settings: TunnelSettings;
  readonly #queue: HoldQueue;
  readonly #link: OpenvpnLink;
  readonly #inputs$ = new Subject<TunnelEvent>();
  readonly #steps$ = new Subject<Step>();
  #tunnel: Tunnel = startingTunnel(systemClock.now());

  private constructor(settings: TunnelSettings, queue: HoldQueue, link: OpenvpnLink) {
    this.settings = settings;
    this.#queue = queue;
    this.#link = link;
  }

  /** Rejects with a DaemonError if the link can't be made or the queue can't be bound; nothing is left then. */
  static async prepare(settings: TunnelSettings, { marks, folder, log }: Means): Promise<RunningTunnel> {
    const { name, device, idle, hold } = settings;
    const inactiveMs = typeof idle === 'object' && idle.by === 'openvpn' ? { inactiveMs: idle.after } : {};
    const link = await OpenvpnLink.create({ name, device, ...settings.openvpn, mark: marks.transport, standby: settings.standby, folder, routes: routesOf(settings), dialTimeoutMs: hold.timeout, ...inactiveMs }, systemClock, log);
    const queue = await HoldQueue.open({ tunnel: name, num: settings.queue, packets: hold.packets, device, marks, silent: settings.onFailure === 'drop' }, systemClock, log);
    return new RunningTunnel(settings, queue, link);
  }

  get name(): string {
    return this.settings.name;
  }

  /** What the machine remembers. */
  get tunnel(): Tunnel {
    return this.#tunnel;
  }

  get queueStats(): ReturnType<HoldQueue['stats']> {
    return this.#queue.stats();
  }

  get forGate(): GateTunnel {
    return { ...this.settings, remotes: this.#link.remotes };
  }

  /** Every event and what came of it, hot; subscribing sets the machine going. */
  run(gate: GatePort): Observable<Step> {
    const steps$ = joinTunnel({ name: this.name, policy: policyOf(this.settings), queue: this.#queue, link: this.#link, gate, clock: systemClock, commands$: this.#inputs$, random: Math.random });
    return steps$.pipe(
      map((step) => {
        this.#tunnel = step.after;
        this.#steps$.next(step);
        return step;
      }),
    );
  }

  /** Makes what the standby needs. */
  start(): Promise<void> {
    return this.#link.start();
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

  /** Answers what is held, and what still arrives, with an error. */
  answer(): void {
    this.#queue.answer();
  }

  closeLink(): Promise<void> {
    return this.#link.close();
  }

  async closeQueue(): Promise<void> {
    this.#steps$.complete();
    await this.#queue.close();
  }
}

/** What is protected, without what is excluded. */
function routesOf({ protect, exclude }: TunnelSettings): readonly Prefix[] {
  const holes = exclude.map(parseNet);
  return protect.map(parseNet).flatMap((net) => subtract(net, holes.filter((hole) => contains(net, hole) || contains(hole, net)))).map(formatNet);
}

function policyOf({ idle, hold, linger, backoff, minUp, wakesPerHour }: TunnelSettings): Policy {
  return {
    idleMs: typeof idle === 'number' ? idle : typeof idle === 'object' && idle.by === 'daemon' ? idle.after : Infinity,
    holdTimeoutMs: hold.timeout,
    lingerMs: linger,
    backoffStartMs: backoff.start,
    backoffMaxMs: backoff.max,
    minUpMs: minUp,
    wakesPerHour: wakesPerHour ?? Infinity,
  };
}
