/** A code for every way in which this program can fail; stable, to be matched by programs. */
export type ErrorCode =
  | 'ADDRESS_IN_USE' // a control socket that another daemon answers on
  | 'CONFIG_INVALID'
  | 'CONFIG_UNREADABLE'
  | 'CONTROL_REFUSED'
  | 'CONTROL_UNREACHABLE'
  | 'CREDENTIALS_UNAVAILABLE' // a password, passphrase or code that its file, command, … did not give
  | 'FIREWALL_FAILED' // iptables, ipset or nft refused what was asked
  | 'FLOWTABLE_FOUND' // packets of established connections could pass the gate unseen
  | 'LINK_FAILED'
  | 'MANAGEMENT_CLOSED'
  | 'MANAGEMENT_INVALID' // a command that the management interface could not carry
  | 'MANAGEMENT_PASSWORD'
  | 'MANAGEMENT_REFUSED' // OpenVPN answered ERROR
  | 'MANAGEMENT_TIMEOUT'
  | 'MANAGEMENT_UNREACHABLE'
  | 'NOT_PERMITTED'
  | 'PROGRAM_MISSING'
  | 'QUEUE_FAILED'
  | 'QUEUE_IN_USE'
  | 'RESOLVE_FAILED'
  | 'ROUTE_FAILED'
  | 'TUNNEL_UNKNOWN'
  | 'USAGE';

export interface ErrorDetails {
  readonly cause?: unknown;
  /** What the reader can do about it: one sentence. */
  readonly hint?: string;
  /** Where it happened: `config.yaml:12`, a command line, a path. */
  readonly place?: string;
}

/** The one error class of the daemon: a code to match, a sentence to read, the cause and the way out. */
export class DaemonError extends Error {
  override readonly name = 'DaemonError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly place: string | undefined;

  constructor(code: ErrorCode, message: string, { cause, hint, place }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
    this.place = place;
  }

  /** `CODE: place: message (hint)`, for a person to read. */
  describe(): string {
    const where = this.place === undefined ? '' : `${this.place}: `;
    const way = this.hint === undefined ? '' : ` (${this.hint})`;
    return `${this.code}: ${where}${this.message}${way}`;
  }
}

/** Whatever was thrown, as a sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
