import { loadConfiguration } from './config/load.js';
import { createDaemon } from './daemon.js';
import { createLogger } from './host/log.js';

/** Runs the daemon in the foreground until SIGTERM or SIGINT; resolves after a clean end. Rejects with a DaemonError if it can't start. */
export async function runDaemon(configFile: string): Promise<void> {
  const settings = await loadConfiguration(configFile);
  const log = createLogger(settings.log);
  const signalled = nextSignal(['SIGTERM', 'SIGINT']);
  const daemon = await createDaemon(settings, log);
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
