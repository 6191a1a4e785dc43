import { catchError, defer, EMPTY, retry, switchMap } from 'rxjs';
import { messageOf } from './core/errors.js';
import type { GatePort, LogPort } from './core/ports.js';
import { routeProtocol } from './gate/names.js';
import { systemClock } from './host/clock.js';
import { NetworkWatch } from './host/network.js';
import { SuspendWatch } from './host/suspend.js';
import { hasDevice } from './link/device.js';
import type { TunnelSet } from './tunnel-set.js';

/** After the first failure; doubled after each, for some minutes. */
const RETRY_MS = 500;

/**
 * Tells the tunnels when the network under them changes, or the machine has slept: what OpenVPN waits for then may never
 * come. Nothing is polled. Resolves with how to end it.
 */
export async function watchSurroundings(tunnels: TunnelSet, gate: Pick<GatePort, 'look' | 'mendRoutes'>, log: LogPort): Promise<() => Promise<void>> {
  const remotesOf = (name: string): readonly string[] => tunnels.get(name).forGate.remotes;
  const network = await NetworkWatch.start({
    remotes: () => [...tunnels].flatMap(({ name }) => remotesOf(name)),
    ownDevices: () => new Set([...tunnels].map(({ settings }) => settings.device)),
    hasDevice,
    ownProtocol: routeProtocol,
  }, systemClock, log);
  const suspend = new SuspendWatch({}, log);
  network.changes$.subscribe((change) => {
    suspend.look();
    gate.look();
    for (const tunnel of tunnels) if (change.affects(remotesOf(tunnel.name))) tunnel.tell({ type: 'network', what: 'changed' });
    // This host may be in another LAN now, which is not to be reached through a tunnel.
    void tunnels.exempt();
  });
  network.devices$.subscribe(({ device, is }) => {
    for (const tunnel of tunnels) if (tunnel.settings.device === device) tunnel.tell({ type: 'device', is });
  });
  const mended$ = defer(() => gate.mendRoutes()).pipe(
    retry({ count: 8, delay: (error, times) => {
      log.error({ event: 'gate.routes_not_mended' }, `catch routes that somebody removed are not back yet: ${messageOf(error)}`);
      return systemClock.at(systemClock.now() + RETRY_MS * 2 ** times);
    } }),
    catchError(() => EMPTY),
  );
  const mending = network.lost$.pipe(switchMap(() => mended$)).subscribe();
  suspend.resumed$.subscribe(() => {
    for (const tunnel of tunnels) tunnel.tell({ type: 'network', what: 'resumed' });
  });
  return async () => {
    mending.unsubscribe();
    suspend.close();
    await network.close();
  };
}
