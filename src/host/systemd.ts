import { execa } from 'execa';
import { type Observable, Subscription } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { ClockPort, LogPort } from '../core/ports.js';
import { watchdogMessages } from './watchdog.js';

/**
 * The service manager that started this process with `Type=notify`, if one did. Node has no datagram sockets of the unix
 * kind, so systemd's own program speaks for us (sd_notify(3)): the unit needs `NotifyAccess=all`.
 */
export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #log: LogPort;
  /** One after the other: what is told last must arrive last. */
  #last: Promise<void> = Promise.resolve();

  private constructor(socket: string | undefined, watchdogMs: number | undefined, log: LogPort) {
    this.#socket = socket;
    this.#watchdogMs = watchdogMs;
    this.#log = log;
  }

  /** Takes what is meant for us out of the environment: OpenVPN, started by us, would report its own readiness there. */
  static of(environment: NodeJS.ProcessEnv, log: LogPort): ServiceManager {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: interval, WATCHDOG_PID: pid } = environment;
    delete environment['NOTIFY_SOCKET'];
    delete environment['WATCHDOG_USEC'];
    delete environment['WATCHDOG_PID'];
    // sd_watchdog_enabled(3): it is for the process of that id, or for any.
    const watched = Number(interval) > 0 && (pid === undefined || Number(pid) === process.pid);
    return new ServiceManager(socket, watched ? Number(interval) / 1000 : undefined, log);
  }

  /** The trap is set: what comes after us may start. */
  ready(): Promise<void> {
    return this.#tell('READY=1', 'STATUS=the trap is set');
  }

  /** Gives signs of life while `active$` is true, if the manager wants them (`WatchdogSec=`); until the end of the subscription. */
  watch(active$: Observable<boolean>, clock: ClockPort): Subscription {
    if (this.#watchdogMs === undefined) return new Subscription();
    return watchdogMessages(active$, this.#watchdogMs, clock).subscribe((message) => { void this.#tell(message); });
  }

  stopping(): Promise<void> {
    return this.#tell('STOPPING=1', 'STATUS=answering what is held');
  }

  #tell(...assignments: string[]): Promise<void> {
    this.#last = this.#last.then(() => this.#notify(assignments));
    return this.#last;
  }

  /** Never rejects: a manager that hears nothing ends us by itself. */
  async #notify(assignments: readonly string[]): Promise<void> {
    if (this.#socket === undefined) return;
    try {
      await execa('systemd-notify', assignments, { env: { NOTIFY_SOCKET: this.#socket }, stdin: 'ignore' });
    } catch (cause) {
      this.#log.error({ event: 'systemd.notify_failed' }, `the service manager could not be told ${assignments[0] ?? ''}: ${messageOf(cause)}`);
    }
  }
}
