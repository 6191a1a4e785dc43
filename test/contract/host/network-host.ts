// A NetworkWatch in the namespace that this program is started in; tells changes on standard output, one JSON object a
// line, until the end of standard input. Addresses of VPN servers: the arguments; ovpn-own is a tunnel's device.
import { systemClock } from '../../../src/host/clock.js';
import { NetworkWatch } from '../../../src/host/network.js';
import { hasDevice } from '../../../src/link/device.js';

const remotes = process.argv.slice(2);
const tell = (value: object): void => { process.stdout.write(`${JSON.stringify(value)}\n`); };
const log = { debug: () => undefined, info: () => undefined, warn: (fields: object) => { tell({ type: 'warn', ...fields }); }, error: () => undefined };

const watch = await NetworkWatch.start({ remotes: () => remotes, ownDevices: () => new Set(['ovpn-own']), hasDevice, ownProtocol: 208 }, systemClock, log);
watch.changes$.subscribe({
  next: (change) => { tell({ type: 'changed', servers: remotes.filter((remote) => change.affects([remote])), defaultRoute: change.affects([]) }); },
  complete: () => { tell({ type: 'complete' }); },
});
watch.lost$.subscribe(() => { tell({ type: 'lost' }); });
watch.devices$.subscribe((news) => { tell({ type: 'device', ...news }); });
tell({ type: 'started' });
process.stdin.on('end', () => void watch.close()).resume();
