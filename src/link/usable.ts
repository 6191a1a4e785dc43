import { Observable } from 'rxjs';
import type { ClockPort } from '../core/ports.js';
import type { Connection } from '../core/words.js';
import { hasTentativeAddress } from './device.js';

/** In milliseconds; where duplicates can be (tap), the kernel takes a second, and waiting for it would be worse. */
const PATIENCE_MS = 100;

/** Emits once, and completes, when the connection's addresses can be used: at once, or a few milliseconds later. */
export function whenUsable(connection: Connection, clock: ClockPort): Observable<undefined> {
  return new Observable((subscriber) => {
    const look = (patienceMs: number): void => {
      if (connection.addresses.ipv6 !== undefined && patienceMs > 0 && hasTentativeAddress(connection.device)) {
        subscriber.add(clock.at(clock.now() + 1).subscribe(() => { look(patienceMs - 1); }));
        return;
      }
      subscriber.next(undefined);
      subscriber.complete();
    };
    look(PATIENCE_MS);
  });
}
