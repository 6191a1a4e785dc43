import { concat, defer, distinctUntilChanged, map, type Observable, of, repeat, switchMap } from 'rxjs';
import type { ClockPort } from '../core/ports.js';

/**
 * What systemd's watchdog is told (sd_notify(3), WATCHDOG_USEC= and WATCHDOG=1): signs of life, twice as often as it wants
 * them, while `active$` is true. While it is false the watchdog is off (0 stops systemd's timer) and nothing runs here.
 */
export function watchdogMessages(active$: Observable<boolean>, intervalMs: number, clock: ClockPort): Observable<string> {
  const signs$ = defer(() => clock.at(clock.now() + intervalMs / 2)).pipe(repeat(), map(() => 'WATCHDOG=1'));
  return active$.pipe(
    distinctUntilChanged(),
    switchMap((active) => (active ? concat(of(`WATCHDOG_USEC=${intervalMs * 1000}`), signs$) : of('WATCHDOG_USEC=0'))),
  );
}
