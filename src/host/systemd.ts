import { execa } from 'execa';
import { messageOf } from '../core/errors.js';
import type { LogPort } from '../core/ports.js';

/**
 * The service manager that started this process with `Type=notify`, if one did. Node has no datagram sockets of the unix
 * kind, so systemd's own program speaks for us (sd_notify(3)): the unit needs `NotifyAccess=all`.
 */
export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #log: LogPort;

  private constructor(socket: string | undefined, log: LogPort) {
    this.#socket = socket;
    this.#log = log;
  }

  /** Takes the address out of the environment: OpenVPN, started by us, would report its own readiness there. */
  static of(environment: NodeJS.ProcessEnv, log: LogPort): ServiceManager {
    const socket = environment['NOTIFY_SOCKET'];
    delete environment['NOTIFY_SOCKET'];
    return new ServiceManager(socket, log);
  }

  /** The trap is set: what comes after us may start. */
  ready(): Promise<void> {
    return this.#tell('READY=1', 'STATUS=the trap is set');
  }

  stopping(): Promise<void> {
    return this.#tell('STOPPING=1', 'STATUS=answering what is held');
  }

  /** Never rejects: a manager that hears nothing ends us by itself. */
  async #tell(...assignments: string[]): Promise<void> {
    if (this.#socket === undefined) return;
    try {
      await execa('systemd-notify', assignments, { env: { NOTIFY_SOCKET: this.#socket }, stdin: 'ignore' });
    } catch (cause) {
      this.#log.error({ event: 'systemd.notify_failed' }, `the service manager could not be told ${assignments[0] ?? ''}: ${messageOf(cause)}`);
    }
  }
}
