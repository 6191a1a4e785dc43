import { loadConfiguration } from './config/load.js';
import { messageOf } from './core/errors.js';
import { createDaemon } from './daemon.js';
import { createLogger } from './host/log.js';

/** Runs the daemon in the foreground until SIGTERM or SIGINT; SIGHUP reloads. Resolves after a clean end, rejects with a DaemonError if it can't start. */
export async function runDaemon(configFile: string): Promise<void> {
  const load = (): ReturnType<typeof loadConfiguration> => loadConfiguration(configFile);
  const settings = await load();
  const log = createLogger(settings.log);
  const signalled = nextSignal(['SIGTERM', 'SIGINT']);
  const daemon = await createDaemon(settings, log, { load });
  process.on('SIGHUP', () => {
    daemon.reload().catch((error: unknown) => { log.error({ event: 'daemon.reload_failed' }, messageOf(error)); });
  });
  // A command that was started to bring a link up says that it has.
  process.on('SIGUSR1', () => { daemon.signalReady(); });
  const signal = await signalled;
  log.info({ event: 'daemon.stopping', signal }, `${signal}: stopping`);
  await daemon.stop();
}

/** Signals that come while it already stops are left to the first. */
function nextSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, () => { resolve(signal); });
  });
}
