import { Subscription } from 'rxjs';
import { loadApart } from './config/load-apart.js';
import type { Queues, Settings } from './config/load.js';
import { messageOf } from './core/errors.js';
import { createDaemon, type Daemon } from './daemon.js';
import { systemClock } from './host/clock.js';
import { createLogger } from './host/log.js';
import { ServiceManager } from './host/systemd.js';
import { fitV8To } from './v8.js';

/** Runs the daemon in the foreground until SIGTERM or SIGINT; SIGHUP reloads. Resolves after a clean end, rejects with a DaemonError if it can't start. */
export async function runDaemon(configFile: string): Promise<void> {
  let daemon: Daemon | undefined;
  const fitV8 = ({ tunnels }: Settings): void => {
    fitV8To({ tunnels: tunnels.length, prefixes: tunnels.reduce((sum, { protect, exclude }) => sum + protect.length + exclude.length, 0), started: daemon !== undefined });
  };
  const load = async (queues?: Queues): Promise<Settings> => {
    const settings = await loadApart(configFile, queues);
    fitV8(settings);
    return settings;
  };
  const settings = await load();
  const log = createLogger(settings.log);
  const manager = ServiceManager.of(process.env, log);
  const signals = new Signals();
  // From the beginning, when there is nothing to reload yet: unheard, either would end this process, or stop it for a debugger.
  signals.on('SIGHUP', () => {
    daemon?.reload().catch((error: unknown) => { log.error({ event: 'daemon.reload_failed' }, messageOf(error)); });
  });
  // A command that was started to bring a link up says that it has.
  signals.on('SIGUSR1', () => { daemon?.signalReady(); });
  const watched = new Subscription();
  try {
    daemon = await createDaemon(settings, log, { load });
    fitV8(settings);
    await manager.ready();
    watched.add(manager.watch(daemon.active$, systemClock));
    const signal = await signals.end;
    log.info({ event: 'daemon.stopping', signal }, `${signal}: stopping`);
    await manager.stopping();
    await daemon.stop();
  } finally {
    watched.unsubscribe();
    signals.release();
  }
}

/** The signals of this process: until `release` those that end it wait their turn, also during the start and the end. */
class Signals {
  readonly end: Promise<NodeJS.Signals>;
  readonly #listeners: [NodeJS.Signals, () => void][] = [];

  constructor() {
    this.end = new Promise((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) this.on(signal, () => { resolve(signal); });
    });
  }

  on(signal: NodeJS.Signals, listener: () => void): void {
    this.#listeners.push([signal, listener]);
    process.on(signal, listener);
  }

  release(): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener);
  }
}
