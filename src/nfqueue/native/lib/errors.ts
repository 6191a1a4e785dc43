import { getSystemErrorName } from 'node:util';

/**
 * What went wrong, to be matched by programs: the kernel's errno by name (`EPERM`, `EBUSY`, `ENOENT`, …), or one of
 * ours, which begin with `ERR_`.
 */
export type NfQueueErrorCode =
  | 'ERR_CLOSED' // the queue is closed
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_LISTENER' // a listener of 'packets' threw; `cause` is what it threw
  | 'ERR_MALFORMED' // the kernel sent something that could not be read
  | 'ERR_STALE_VIEW' // a packet view was used after the call that it was valid for
  | `E${string}`;

export interface NfQueueErrorDetails {
  readonly cause?: unknown;
  /** Positive errno of the system. */
  readonly errno?: number | undefined;
  /** The system call or netlink message that failed. */
  readonly syscall?: string | undefined;
  /** What the reader can do about it: one sentence. */
  readonly hint?: string | undefined;
  /** The packet that it is about. */
  readonly packetId?: number | undefined;
  /** The process that has the queue (code EBUSY). */
  readonly owner?: QueueOwner | undefined;
}

/** A process that holds a queue open. */
export interface QueueOwner {
  readonly pid: number;
  readonly command: string;
}

/** The one error class of this package. */
export class NfQueueError extends Error {
  override readonly name = 'NfQueueError';
  readonly code: NfQueueErrorCode;
  readonly errno: number | undefined;
  readonly syscall: string | undefined;
  readonly hint: string | undefined;
  readonly packetId: number | undefined;
  readonly owner: QueueOwner | undefined;

  constructor(code: NfQueueErrorCode, message: string, details: NfQueueErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.errno = details.errno;
    this.syscall = details.syscall;
    this.hint = details.hint;
    this.packetId = details.packetId;
    this.owner = details.owner;
  }
}

/** The name of an errno, `E123` if the system has none for it. */
export function errnoName(errno: number): `E${string}` {
  const name = getSystemErrorName(-errno);
  return name.startsWith('E') ? (name as `E${string}`) : `E${errno}`;
}

/** An error of a system call. */
export function systemError(errno: number, syscall: string, what: string, details: NfQueueErrorDetails = {}): NfQueueError {
  const code = errnoName(errno);
  return new NfQueueError(code, `${what}: ${syscall} failed: ${code}`, { errno, syscall, ...details });
}

/** Refuses an argument. */
export function invalid(message: string): NfQueueError {
  return new NfQueueError('ERR_INVALID_ARGUMENT', message);
}
