import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Observable } from 'rxjs';
import type { Queues, Settings } from './config/load.js';
import type { Handlers } from './control/api.js';
import { ControlServer } from './control/server.js';
import { DaemonError } from './core/errors.js';
import type { Step } from './core/join.js';
import { DEFAULT_MARK, marksOf } from './core/marks.js';
import type { GatePort, LogPort } from './core/ports.js';
import { isOpening } from './core/state.js';
import { withoutEstablished } from './established.js';
import { createGate } from './gate/gate.js';
import { createHandlers } from './handlers.js';
import { systemClock } from './host/clock.js';
import { Conntrack } from './host/conntrack.js';
import { listFlowtables } from './host/flowtables.js';
import { askName } from './host/name-lookup.js';
import { StateFile } from './host/state-file.js';
import { goodMoment, othersFirst } from './host/turn.js';
import { Urgency } from './host/urgency.js';
import { later } from './later.js';
import { logGate, logStep } from './log-step.js';
import { withoutOffload } from './offload.js';
import { rehearse } from './rehearsal/rehearse.js';
import { tunnelStatus } from './status.js';
import { watchSurroundings } from './surroundings.js';
import { TunnelSet } from './tunnel-set.js';
import { version } from './version.js';

/** A running daemon. Its methods are what the command line asks for over the control socket. */
export interface Daemon extends Handlers {
  /** Every event of every tunnel, and what came of it. Completes at the end. */
  readonly steps$: Observable<Step>;
  /** Whether some tunnel is dialing, up or going down: at once, and at each change. Completes at the end. */
  readonly active$: Observable<boolean>;
  /** Something that was started to bring a link up says that it has, without a name: every tunnel that waits for that. */
  signalReady(): void;
  /** Answers what is held, ends every link and removes everything of ours from firewall and routes. */
  stop(): Promise<void>;
}

export interface DaemonOptions {
  /** Reads the settings anew, for `reload`; told of the queues that the tunnels have. */
  readonly load?: (queues: Queues) => Promise<Settings>;
}

/** What is to be undone at the end, or when the start fails: the last first. */
class Undo {
  readonly #steps: (() => unknown)[] = [];

  push(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** All of them, also when one fails; then rejects with what failed first. */
  async run(): Promise<void> {
    const failed: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        failed.push(error);
      }
    }
    if (failed.length > 0) throw failed[0];
  }
}

/** What comes after a release waits so long at most for others that are in more haste. */
const PATIENCE_MS = 10;

/**
 * Builds the adapters, sets the trap and resolves when the first packet may come. Rejects with a DaemonError, and then
 * nothing is left behind.
 */
export async function createDaemon(settings: Settings, log: LogPort, { load }: DaemonOptions = {}): Promise<Daemon> {
  const undo = new Undo();
  try {
    return await assemble(settings, log, load, undo);
  } catch (error) {
    // What went wrong first is told; that it also hinders the clean-up is no news.
    await undo.run().catch(() => undefined);
    throw error;
  }
}

/** Removes what a daemon that was killed left in firewall and routes; resolves with what it removed, one line each. */
export function removeEverything(): Promise<readonly string[]> {
  return createGate({ backend: 'auto', marks: marksOf(DEFAULT_MARK) }).remove();
}

async function assemble(settings: Settings, log: LogPort, load: DaemonOptions['load'], undo: Undo): Promise<Daemon> {
  const marks = marksOf(settings.mark);
  const { offload } = settings;
  const conntrack = new Conntrack();
  const patiently = (): Promise<void> => othersFirst(PATIENCE_MS);
  const bare = createGate({ backend: settings.gate, marks, watch: true, guardForward: offload === 'end', othersFirst: patiently, warn: (event, message) => { log.warn({ event }, message); } });
  const gate = withoutOffload(withoutEstablished(bare, conntrack, log), { offload, flowtables: listFlowtables, conntrack, log });
  // In this order: what another daemon has is seen before anything is touched, and the guard is removed last.
  const control = await ControlServer.listen(settings.control.socket);
  undo.push(() => control.close());
  const stateFile = await StateFile.open(settings.stateFile);
  const folder = await privateFolder(settings.control.socket);
  undo.push(() => rm(folder, { recursive: true, force: true }));
  const tunnels: TunnelSet = new TunnelSet({ marks, folder, log, clock: systemClock, askName: askName(systemClock), othersFirst: patiently, routes: (tunnel) => gate.routes(tunnel), moved: () => tunnels.exempt() }, gate);
  undo.push(() => tunnels.unbind());
  await tunnels.prepare(settings.tunnels);
  const handlers: Handlers = {
    ...createHandlers(tunnels, stateFile, gate),
    reload: async () => {
      if (!load) throw new DaemonError('CONTROL_REFUSED', 'this daemon was given its settings, not a file to read them from');
      const reloaded = await tunnels.reload(async (queues) => sameBut(settings, await load(queues)).tunnels);
      log.info({ event: 'daemon.reloaded', ...reloaded }, `reloaded: ${reloaded.started.length} started, ${reloaded.ended.length} ended, ${reloaded.unchanged.length} unchanged`);
      return { version, ...reloaded };
    },
  };
  gate.events$.subscribe((event) => { logGate(event, log); });
  const urgency = new Urgency();
  tunnels.steps$.subscribe({
    next: (step) => {
      if (step.event.type === 'packets-held') gate.held();
      urgency.set(step.tunnel, isOpening(step.after.state));
    },
    complete: () => { urgency.end(); },
  });
  tunnels.gone$.subscribe((name) => { urgency.set(name, false); });
  // A line in the log takes as long as a verdict.
  tunnels.steps$.pipe(later(() => goodMoment(() => urgency.raised))).subscribe((step) => { logStep(step, log); });
  await serveMetrics(settings, tunnels, undo);
  startPaused(stateFile, tunnels);
  // While the firewall's programs are at work we have time.
  const rehearsed = rehearse({ folder, clock: systemClock, othersFirst: patiently, tunnels: settings.tunnels.length });
  undo.push(() => rehearsed);
  await tunnels.install();
  undo.push(() => (settings.onStop === 'flush' ? gate.remove({ keepDomains: true }) : holdAll(tunnels, gate)));
  undo.push(() => tunnels.end());
  await rehearsed;
  await tunnels.start();
  undo.push(await watchSurroundings(tunnels, gate, log));
  log.info({ event: 'daemon.started', version, tunnels: settings.tunnels.map(({ name }) => name) }, 'the trap is set');
  control.serve(handlers);
  return {
    ...handlers,
    steps$: tunnels.steps$.asObservable(),
    active$: tunnels.active$,
    signalReady: () => {
      for (const tunnel of tunnels) tunnel.ready();
    },
    stop: async () => {
      await undo.run();
      log.info({ event: 'daemon.stopped', onStop: settings.onStop }, settings.onStop === 'flush' ? 'stopped, and everything removed' : 'stopped; nothing gets to the protected prefixes until the next start, or `flush`');
    },
  };
}

/** With nobody to listen, what is held is dropped by the kernel. */
async function holdAll(tunnels: TunnelSet, gate: GatePort): Promise<void> {
  for (const { settings } of tunnels) await gate.set(settings.name, 'hold');
}

/** The new settings, if they differ only in what a reload can change. */
function sameBut(settings: Settings, next: Settings): Settings {
  const fixed = (['control', 'gate', 'mark', 'offload', 'stateFile', 'onStop', 'metrics', 'log'] as const).filter((key) => JSON.stringify(settings[key]) !== JSON.stringify(next[key]));
  if (fixed.length > 0) throw new DaemonError('CONFIG_INVALID', `${fixed.map((key) => `\`${key}\``).join(', ')} can't change while the daemon runs`, { hint: 'restart the daemon' });
  return next;
}

/** Answers for metrics, if anybody may ask; resolves with what is to be told every step. */
async function serveMetrics({ metrics: address }: Settings, tunnels: TunnelSet, undo: Undo): Promise<void> {
  if (address === undefined) return;
  // Loaded only if it is wanted: an idle daemon is small.
  const [{ Metrics }, { MetricsServer }] = await Promise.all([import('./metrics/registry.js'), import('./metrics/http.js')]);
  const metrics = new Metrics(version, () => [...tunnels].map(({ settings, tunnel, queueStats, standing }) => tunnelStatus(settings, tunnel, queueStats, standing)));
  const server = await MetricsServer.listen(address, metrics);
  undo.push(() => server.close());
  tunnels.steps$.subscribe((step) => { metrics.observe(step); });
}

/** What the user paused stays paused across a restart. */
function startPaused(file: StateFile, tunnels: TunnelSet): void {
  for (const [name, pause] of file.paused(systemClock.now())) if (tunnels.has(name)) tunnels.get(name).startPaused(pause);
}

async function privateFolder(socket: string): Promise<string> {
  await mkdir(dirname(socket), { recursive: true });
  return mkdtemp(join(dirname(socket), 'openvpn-'));
}
