import { DaemonError } from '../core/errors.js';

/** OpenVPN answered `ERROR: …`. */
export class CommandRefused extends DaemonError {
  /** The command line, its secrets masked. */
  readonly command: string;
  /** The line that OpenVPN answered. */
  readonly response: string;

  constructor(command: string, response: string) {
    super('MANAGEMENT_REFUSED', `${command}: ${response}`);
    this.command = command;
    this.response = response;
  }
}
