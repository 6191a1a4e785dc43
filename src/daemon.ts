import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { merge, Subject, type Observable } from 'rxjs';
import type { Settings } from './config/load.js';
import { DEFAULT_MARK } from './config/schema.js';
import type { Handlers } from './control/api.js';
import { ControlServer } from './control/server.js';
import type { Step } from './core/join.js';
import type { GatePort, LogPort, Marks } from './core/ports.js';
import { createGate } from './gate/gate.js';
import { createHandlers } from './handlers.js';
import { systemClock } from './host/clock.js';
import { StateFile } from './host/state-file.js';
import { logStep } from './log-step.js';
import { tunnelStatus } from './status.js';
import { RunningTunnel } from './tunnel.js';
import { version } from './version.js';

/** A running daemon. Its methods are what the command line asks for over the control socket. */
export interface Daemon extends Handlers {
  /** Every event of every tunnel, and what came of it. Completes at the end. */
  readonly steps$: Observable<Step>;
  /** Answers what is held, ends every link and removes everything of ours from firewall and routes. */
  stop(): Promise<void>;
}

/** What is to be undone at the end, or when the start fails: the last first. */
class Undo {
  readonly #steps: (() => unknown)[] = [];

  push(step: () => unknown): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}

/**
 * Builds the adapters, sets the trap and resolves when the first packet may come. Rejects with a DaemonError, and then
 * nothing is left behind.
 */
export async function createDaemon(settings: Settings, log: LogPort): Promise<Daemon> {
  const undo = new Undo();
  try {
    return await assemble(settings, log, undo);
  } catch (error) {
    await undo.run();
    throw error;
  }
}

/** Removes what a daemon that was killed left in firewall and routes; resolves with what it removed, one line each. */
export function removeEverything(): Promise<readonly string[]> {
  return createGate({ backend: 'auto', marks: marksOf(DEFAULT_MARK) }).remove();
}

async function assemble(settings: Settings, log: LogPort, undo: Undo): Promise<Daemon> {
  const marks = marksOf(settings.mark);
  const tunnels = new Map<string, RunningTunnel>();
  const kept: { file?: StateFile } = {};
  const handlers = createHandlers(tunnels, () => kept.file ?? fail('the state file is opened before anybody is served'));
  // In this order: what another daemon has is seen before anything is touched, and the guard is removed last.
  const control = await ControlServer.listen(settings.control.socket, handlers);
  undo.push(() => control.close());
  kept.file = await StateFile.open(settings.stateFile);
  const folder = await privateFolder(settings.control.socket);
  undo.push(() => rm(folder, { recursive: true, force: true }));
  for (const tunnel of settings.tunnels) {
    const running = await RunningTunnel.prepare(tunnel, { marks, folder, log });
    undo.push(() => running.closeQueue());
    tunnels.set(tunnel.name, running);
  }
  const count = await serveMetrics(settings, tunnels, undo);
  const gate = createGate({ backend: settings.gate, marks });
  await gate.install([...tunnels.values()].map(({ forGate }) => forGate));
  undo.push(() => gate.remove());
  const steps$ = setGoing([...tunnels.values()], gate, log, undo);
  steps$.subscribe(count);
  await Promise.all([...tunnels.values()].map((tunnel) => tunnel.start()));
  await pauseAgain(kept.file, handlers, tunnels);
  log.info({ event: 'daemon.started', version, tunnels: [...tunnels.keys()] }, 'the trap is set');
  control.serve();
  return {
    ...handlers,
    steps$,
    stop: async () => {
      await undo.run();
      log.info({ event: 'daemon.stopped' }, 'stopped, and everything removed');
    },
  };
}

function setGoing(tunnels: readonly RunningTunnel[], gate: GatePort, log: LogPort, undo: Undo): Observable<Step> {
  const steps$ = new Subject<Step>();
  undo.push(() => Promise.all(tunnels.map((tunnel) => tunnel.closeLink())));
  const subscription = merge(...tunnels.map((tunnel) => tunnel.run(gate))).subscribe((step) => {
    logStep(step, log);
    steps$.next(step);
  });
  undo.push(() => {
    subscription.unsubscribe();
    steps$.complete();
    for (const tunnel of tunnels) tunnel.answer();
  });
  return steps$.asObservable();
}

/** Answers for metrics, if anybody may ask; resolves with what is to be told every step. */
async function serveMetrics({ metrics: address }: Settings, tunnels: ReadonlyMap<string, RunningTunnel>, undo: Undo): Promise<(step: Step) => void> {
  if (address === undefined) return () => undefined;
  // Loaded only if it is wanted: an idle daemon is small.
  const [{ Metrics }, { MetricsServer }] = await Promise.all([import('./metrics/registry.js'), import('./metrics/http.js')]);
  const metrics = new Metrics(version, () => [...tunnels.values()].map(({ settings, tunnel, queueStats }) => tunnelStatus(settings, tunnel, queueStats)));
  const server = await MetricsServer.listen(address, metrics);
  undo.push(() => server.close());
  return (step) => { metrics.observe(step); };
}

/** What the user paused stays paused across a restart. */
async function pauseAgain(file: StateFile, handlers: Handlers, tunnels: ReadonlyMap<string, RunningTunnel>): Promise<void> {
  const now = systemClock.now();
  for (const [tunnel, { until, bypass }] of file.paused(now)) {
    if (tunnels.has(tunnel)) await handlers.pause({ tunnel, bypass, persist: true, ...(until === undefined ? {} : { forMs: until - now }) });
  }
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

function fail(message: string): never {
  throw new Error(message);
}
