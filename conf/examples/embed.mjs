// A router's own program with the daemon in it: it shows what every tunnel does, and takes them down at night.
// Usage: node embed.mjs CONFIG
import { createDaemon, DaemonError, loadConfiguration } from 'openvpn-ondemand';

const file = process.argv[2] ?? '/etc/openvpn-ondemand/config.yaml';

try {
  const load = () => loadConfiguration(file);
  // `load` is for daemon.reload(); the second argument is any logger with debug, info, warn and error.
  const daemon = await createDaemon(await load(), { debug: () => undefined, info: () => undefined, warn: console.error, error: console.error }, { load });

  // Every event of every tunnel, the state before and after, and the effects that it has.
  daemon.steps$.subscribe(({ tunnel, event, before, after }) => {
    if (before.state.at !== after.state.at) console.log(`${tunnel}: ${before.state.at} → ${after.state.at} (${event.type})`);
  });
  console.log('ready');

  process.once('SIGUSR2', async () => {
    for (const { name } of (await daemon.status()).tunnels) await daemon.pause({ tunnel: name, forMs: 8 * 3_600_000 });
  });
  process.once('SIGTERM', async () => {
    await daemon.stop();
  });
} catch (error) {
  // A code to match, a sentence, the place and the way out.
  console.error(error instanceof DaemonError ? error.describe() : error);
  process.exitCode = 1;
}
