import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { filter, firstValueFrom, map, merge, Subject, type Observable, type Subscription } from 'rxjs';
import type { Settings, TunnelSettings } from './config/load.js';
import type { Handlers, Status } from './control/api.js';
import { DEFAULT_MARK } from './config/schema.js';
import { ControlServer } from './control/server.js';
import { DaemonError } from './core/errors.js';
import type { CommandEvent } from './core/events.js';
import { joinTunnel, type Step } from './core/join.js';
import type { Policy } from './core/policy.js';
import type { GatePort, LogPort, Marks } from './core/ports.js';
import { startingTunnel, type Tunnel } from './core/state.js';
import { createGate } from './gate/gate.js';
import { systemClock } from './host/clock.js';
import { OpenvpnLink } from './link/openvpn.js';
import { logStep } from './log-step.js';
import { HoldQueue } from './nfqueue/queue.js';
import { tunnelStatus } from './status.js';
import { version } from './version.js';

/** A running daemon. Its methods are what the command line asks for over the control socket. */
export interface Daemon extends Handlers {
  /** Every event of every tunnel, and what came of it. Completes at the end. */
  readonly steps$: Observable<Step>;
  /** Answers what is held, ends every link and removes everything of ours from firewall and routes. */
  stop(): Promise<void>;
}

interface Running {
  readonly settings: TunnelSettings;
  readonly queue: HoldQueue;
  readonly link: OpenvpnLink;
  readonly commands$: Subject<CommandEvent>;
  tunnel: Tunnel;
}

/**
 * Builds the adapters, sets the trap and resolves when the first packet may come. Rejects with a DaemonError, and then
 * nothing is left behind.
 */
export async function createDaemon(settings: Settings, log: LogPort): Promise<Daemon> {
  const undo: (() => Promise<unknown>)[] = [];
  const unwind = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    return await assemble(settings, log, undo, unwind);
  } catch (error) {
    await unwind();
    throw error;
  }
}

/** Removes what a daemon that was killed left in firewall and routes; resolves with what it removed, one line each. */
export function removeEverything(): Promise<readonly string[]> {
  return createGate({ backend: 'auto', marks: marksOf(DEFAULT_MARK) }).remove();
}

async function assemble(settings: Settings, log: LogPort, undo: (() => Promise<unknown>)[], unwind: () => Promise<void>): Promise<Daemon> {
  const marks = marksOf(settings.mark);
  const running = new Map<string, Running>();
  const steps$ = new Subject<Step>();
  const handlers = handlersOf(running, steps$);
  // In this order: what other daemons have is seen before anything is touched, and the guard is removed last.
  const control = await ControlServer.listen(settings.control.socket, handlers);
  undo.push(() => control.close());
  const folder = await privateFolder(settings.control.socket);
  undo.push(() => rm(folder, { recursive: true, force: true }));
  for (const tunnel of settings.tunnels) running.set(tunnel.name, await prepare(tunnel, { marks, folder, log, undo }));
  const gate = createGate({ backend: settings.gate, marks });
  await gate.install([...running.values()].map(({ settings: tunnel, link }) => ({ ...tunnel, remotes: link.remotes })));
  undo.push(() => gate.remove());
  for (const { link } of running.values()) undo.push(() => link.close());
  const subscription = subscribeAll(running, gate, steps$, log);
  undo.push(() => {
    subscription.unsubscribe();
    for (const { queue } of running.values()) queue.answer();
    return Promise.resolve();
  });
  await Promise.all([...running.values()].map(({ link }) => link.start()));
  log.info({ event: 'daemon.started', version, tunnels: [...running.keys()] }, 'the trap is set');
  return {
    ...handlers,
    steps$: steps$.asObservable(),
    stop: async () => {
      await unwind();
      steps$.complete();
      log.info({ event: 'daemon.stopped' }, 'stopped, and everything removed');
    },
  };
}

interface Means {
  readonly marks: Marks;
  readonly folder: string;
  readonly log: LogPort;
  readonly undo: (() => Promise<unknown>)[];
}

async function prepare(settings: TunnelSettings, { marks, folder, log, undo }: Means): Promise<Running> {
  const { name, device, idle } = settings;
  const inactiveMs = typeof idle === 'object' && idle.by === 'openvpn' ? { inactiveMs: idle.after } : {};
  const link = await OpenvpnLink.create({ name, device, ...settings.openvpn, mark: marks.transport, standby: settings.standby, folder, ...inactiveMs }, systemClock, log);
  const queue = await HoldQueue.open({ tunnel: name, num: settings.queue, packets: settings.hold.packets, device, marks, silent: settings.onFailure === 'drop' }, systemClock, log);
  undo.push(() => queue.close());
  return { settings, queue, link, commands$: new Subject(), tunnel: startingTunnel(systemClock.now()) };
}

function subscribeAll(running: ReadonlyMap<string, Running>, gate: GatePort, steps$: Subject<Step>, log: LogPort): Subscription {
  const all = [...running.values()].map((entry) =>
    joinTunnel({ name: entry.settings.name, policy: policyOf(entry.settings), queue: entry.queue, link: entry.link, gate, clock: systemClock, commands$: entry.commands$, random: Math.random }));
  return merge(...all).subscribe((step) => {
    const entry = running.get(step.tunnel);
    if (entry) entry.tunnel = step.after;
    logStep(step, log);
    steps$.next(step);
  });
}

function handlersOf(running: ReadonlyMap<string, Running>, steps$: Observable<Step>): Handlers {
  const find = (name: string): Running => {
    const entry = running.get(name);
    if (!entry) throw new DaemonError('TUNNEL_UNKNOWN', `there is no tunnel "${name}"`, { hint: `there are: ${[...running.keys()].join(', ')}` });
    return entry;
  };
  /** Sends the command and waits until the tunnel is where `reached` wants it. */
  const command = (entry: Running, command: CommandEvent['command'], reached: (state: Tunnel['state']) => boolean): Promise<Tunnel['state']> => {
    const states$ = steps$.pipe(filter(({ tunnel }) => tunnel === entry.settings.name), map(({ after }) => after.state));
    const result = firstValueFrom(states$.pipe(filter(reached)));
    entry.commands$.next({ type: 'command', command });
    return result;
  };
  return {
    status: () => Promise.resolve<Status>({ version, tunnels: [...running.values()].map(({ settings, queue, tunnel }) => tunnelStatus(settings, tunnel, queue.stats())) }),
    up: async (name) => {
      const state = await command(find(name), 'up', ({ at }) => at === 'up' || at === 'backoff' || at === 'locked');
      if (state.at === 'backoff' || state.at === 'locked') throw new DaemonError('LINK_FAILED', state.failure.detail, { place: `tunnel ${name}`, hint: 'the log has what OpenVPN said' });
    },
    down: async (name) => {
      await command(find(name), 'down', ({ at }) => at !== 'draining' && at !== 'up');
    },
  };
}

function policyOf({ idle, hold, linger, backoff }: TunnelSettings): Policy {
  return {
    idleMs: typeof idle === 'number' ? idle : Infinity,
    holdTimeoutMs: hold.timeout,
    lingerMs: linger,
    backoffStartMs: backoff.start,
    backoffMaxMs: backoff.max,
  };
}

/** Our two bits: 01 OpenVPN's own socket, 10 released, 11 answered with an error. */
function marksOf(mask: number): Marks {
  const low = mask & -mask;
  return { mask, transport: low >>> 0, release: (low << 1) >>> 0, reject: mask };
}

async function privateFolder(socket: string): Promise<string> {
  await mkdir(dirname(socket), { recursive: true });
  return mkdtemp(join(dirname(socket), 'openvpn-'));
}
