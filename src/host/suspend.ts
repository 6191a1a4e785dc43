import { uptime } from 'node:os';
import { performance } from 'node:perf_hooks';
import { Subject, type Subscription } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { LogPort } from '../core/ports.js';
import { firstBoolean } from './bus-message.js';
import { busSignals, systemBusSocket } from './bus.js';

export interface SuspendOptions {
  /** The socket of the system bus. */
  readonly bus?: string;
  /** How long the machine has slept since its start, in milliseconds. */
  readonly sleptMs?: () => number;
}

/** systemd-logind announces a sleep with true, and its end with false (org.freedesktop.login1(5)). */
const RULE = "type='signal',sender='org.freedesktop.login1',path='/org/freedesktop/login1',interface='org.freedesktop.login1.Manager',member='PrepareForSleep'";

/** What the two clocks differ by without any sleep: /proc/uptime has hundredths of a second. */
const LEAST_MS = 1000;

/** CLOCK_BOOTTIME goes on while the machine sleeps, CLOCK_MONOTONIC does not (clock_gettime(2)). */
const systemSleptMs = (): number => uptime() * 1000 - performance.now();

/**
 * Tells when the machine has slept. No timer: logind says when to look, where it is there, and so does everybody else
 * who calls `look` when something happens anyway (a network that changes, a packet).
 */
export class SuspendWatch {
  readonly #resumed$ = new Subject<'resumed'>();
  readonly resumed$ = this.#resumed$.asObservable();
  readonly #sleptMs: () => number;
  readonly #log: LogPort;
  #before: number;
  #signals: Subscription | undefined;
  /** Whether logind tells us; resolves when that is known. */
  readonly listening: Promise<boolean>;

  constructor({ bus = systemBusSocket(process.env['DBUS_SYSTEM_BUS_ADDRESS']), sleptMs = systemSleptMs }: SuspendOptions, log: LogPort) {
    this.#sleptMs = sleptMs;
    this.#log = log;
    this.#before = sleptMs();
    this.listening = this.#listen(bus);
  }

  /** Compares the clocks. */
  look(): void {
    const now = this.#sleptMs();
    const slept = now - this.#before;
    if (slept < LEAST_MS) return;
    this.#before = now;
    this.#log.info({ event: 'host.resumed', sleptMs: Math.round(slept) }, `the machine slept for ${Math.round(slept / 1000)} s`);
    this.#resumed$.next('resumed');
  }

  close(): void {
    this.#signals?.unsubscribe();
    this.#resumed$.complete();
  }

  #listen(bus: string): Promise<boolean> {
    return new Promise((resolve) => {
      this.#signals = busSignals(bus, RULE).subscribe({
        next: (message) => {
          if (message.type === 'return') resolve(true);
          else if (firstBoolean(message) === false) this.look();
        },
        error: (error: unknown) => {
          this.#log.debug({ event: 'host.no_bus' }, `a sleep of the machine is noticed with the next event only: ${messageOf(error)}`);
          resolve(false);
        },
      });
    });
  }
}
