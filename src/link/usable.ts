import { defer, of, switchMap, type Observable } from 'rxjs';
import type { ClockPort } from '../core/ports.js';
import type { Connection } from '../core/words.js';
import { hasTentativeAddress } from './device.js';

/** In milliseconds; where duplicates can be (tap), the kernel takes a second, and waiting for it would be worse. */
const PATIENCE_MS = 100;

/** Emits once, and completes, when the connection's addresses can be used: at once, or a few milliseconds later. */
export function whenUsable(connection: Connection, clock: ClockPort, patienceMs = PATIENCE_MS): Observable<unknown> {
  return defer(() => {
    if (connection.addresses.ipv6 === undefined || patienceMs === 0 || !hasTentativeAddress(connection.device)) return of(undefined);
    return clock.at(clock.now() + 1).pipe(switchMap(() => whenUsable(connection, clock, patienceMs - 1)));
  });
}
