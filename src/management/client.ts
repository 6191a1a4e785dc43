import { createConnection } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Observable } from 'rxjs';
import { DaemonError } from '../core/errors.js';
import { EventBuffer } from './buffer.js';
import { systemClock, type Clock } from './clock.js';
import { CommandSet, type CommandOptions } from './command-set.js';
import { prepareCommand } from './commands.js';
import { decodeEvent } from './decode.js';
import type { ConnectionEnd, OpenVpnEnd } from './ends.js';
import type { ManagementEvent, PasswordRefusal } from './events.js';
import { Exchange } from './exchange.js';
import { readLines } from './lines.js';
import { checkLine } from './parameters.js';
import { QuestionTracker, type Question } from './questions.js';
import { Secret } from './secret.js';

/** Where OpenVPN listens, or listens not: `--management PATH unix`, `--management HOST PORT`. */
export type ManagementAddress = { readonly path: string } | { readonly host: string; readonly port: number };

export interface ClientOptions {
  /** The first line of the password file that `--management` names. */
  readonly password?: string | Secret;
  /** For the connection and the greeting together. 5 s; Infinity to wait behind another client. */
  readonly connectTimeoutMs?: number;
  /** For a command, from the call to the end of its reply. 5 s. */
  readonly commandTimeoutMs?: number;
  /** Ends an attempt to connect, not a connection. */
  readonly signal?: AbortSignal;
  /** Called with the client before OpenVPN has greeted: what is sent here saves its wait. Not where a password is asked. */
  readonly early?: (client: ManagementClient) => void;
  readonly clock?: Clock;
}

const DEFAULT_TIMEOUT_MS = 5000;
/** After this long a second prompt is the answer to our password. */
const REFUSAL_MS = 400;

/**
 * One connection to OpenVPN's management interface. Everything that begins with `>` is an event; a command's reply is
 * told from them whatever slips in between. Nothing is polled, and no timer runs but while a command is in flight.
 */
export class ManagementClient extends CommandSet {
  /** How the connection ended; never rejects. */
  readonly closed: Promise<ConnectionEnd>;
  /** How OpenVPN ended, by the first thing that said so on this connection; never rejects. See `endOf`. */
  readonly ending: Promise<OpenVpnEnd>;
  readonly #socket: Duplex;
  readonly #exchange: Exchange;
  readonly #events = new EventBuffer();
  readonly #questions = new QuestionTracker();
  readonly #clock: Clock;
  readonly #commandTimeoutMs: number;
  readonly #password: Secret | undefined;
  readonly #greeted: Promise<void>;
  #resolveEnding: (end: OpenVpnEnd) => void = () => undefined;
  #refused: PasswordRefusal | undefined;
  #greet: { resolve(): void; reject(error: DaemonError): void } = { resolve: () => undefined, reject: () => undefined };
  #passwordSent = false;
  #cancelRefusal: (() => void) | undefined;
  #error: Error | undefined;
  #closing = false;

  /** Takes a connected socket, or one that is being connected, over. */
  private constructor(socket: Duplex, { password, commandTimeoutMs = DEFAULT_TIMEOUT_MS, clock = systemClock }: ClientOptions) {
    super();
    this.#socket = socket;
    this.#clock = clock;
    this.#commandTimeoutMs = commandTimeoutMs;
    this.#password = typeof password === 'string' ? new Secret(password) : password;
    this.#exchange = new Exchange(
      (text) => socket.write(text),
      ({ parameters }, refused) => {
        if (!refused) this.#questions.succeeded(parameters);
      },
      clock,
    );
    this.ending = new Promise((resolve) => {
      this.#resolveEnding = resolve;
    });
    this.#greeted = new Promise((resolve, reject) => {
      this.#greet = { resolve, reject };
    });
    this.#greeted.catch(() => undefined);
    socket.on('error', (error) => {
      this.#error = error;
    });
    this.closed = new Promise((resolve) => {
      readLines(socket, {
        prompt: () => {
          this.#answerPrompt();
        },
        line: (line) => {
          this.#line(line);
        },
        end: (rest) => {
          resolve(this.#end(rest));
        },
      });
    });
  }

  /**
   * Connects, gives the password if it is asked for, and resolves once OpenVPN has greeted.
   * @throws DaemonError MANAGEMENT_UNREACHABLE, MANAGEMENT_PASSWORD, MANAGEMENT_CLOSED, MANAGEMENT_INVALID (a password
   * that could not be one: what follows its newline would run as a command), or MANAGEMENT_TIMEOUT: OpenVPN serves one client at a time, and the next hears nothing until the first has left
   */
  static connect(options: ManagementAddress & ClientOptions): Promise<ManagementClient> {
    const socket = 'path' in options ? createConnection(options.path) : createConnection({ host: options.host, port: options.port, noDelay: true });
    return ManagementClient.greet(socket, options, 'path' in options ? options.path : `${options.host}:${options.port}`);
  }

  /** A client on a socket, or another stream, that somebody else made, once OpenVPN has greeted. */
  static async greet(socket: Duplex, options: ClientOptions, place: string): Promise<ManagementClient> {
    checkPassword(socket, options.password);
    const client = new ManagementClient(socket, options);
    const { connectTimeoutMs = DEFAULT_TIMEOUT_MS, signal, early, clock = systemClock } = options;
    early?.(client);
    const giveUp = (error: DaemonError): void => {
      client.#greet.reject(error);
    };
    const cancelDeadline = clockAfter(clock, connectTimeoutMs, () => {
      giveUp(new DaemonError('MANAGEMENT_TIMEOUT', `OpenVPN did not greet within ${connectTimeoutMs} ms`, { place, hint: 'it serves one client at a time: is another connected?' }));
    });
    const onAbort = (): void => {
      giveUp(new DaemonError('MANAGEMENT_CLOSED', 'the attempt to connect was given up', { place }));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    void client.closed.then((end) => {
      giveUp(notGreeted(end, client.#passwordSent, place));
    });
    try {
      await client.#greeted;
      return client;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      cancelDeadline();
      client.#cancelRefusal?.();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /**
   * One event for every real-time line, in order; completes when the connection has ended. What comes while nobody has
   * subscribed is kept for who subscribes next (the last 1024 events).
   */
  get events$(): Observable<ManagementEvent> {
    return this.#events.events$;
  }

  /** What OpenVPN waits for, as of the last line that was read; undefined while it is at work. */
  get question(): Question | undefined {
    return this.#questions.current;
  }

  /**
   * Sends a command as soon as those before it were answered.
   * @param line as OpenVPN reads it, without a newline; `quote` makes a parameter of any text
   * @returns the reply's lines without END: `SUCCESS: …` itself, or the lines of a list; none for what has no reply
   * @throws DaemonError MANAGEMENT_INVALID before anything is sent, MANAGEMENT_REFUSED (a CommandRefused with `command`
   * and `response`), MANAGEMENT_TIMEOUT, MANAGEMENT_CLOSED
   */
  override async command(line: string, { body, timeoutMs = this.#commandTimeoutMs }: CommandOptions = {}): Promise<string[]> {
    const prepared = prepareCommand(line, body);
    if (prepared.shape.kind === 'close') this.#closing = true;
    return this.#exchange.submit(prepared, timeoutMs);
  }

  /** Closes the connection; resolves when it is closed. OpenVPN lives on, unless it dialled us. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#socket.end(() => {
      this.#socket.destroy();
    });
    if (this.#socket.writableNeedDrain) this.#socket.destroy();
    await this.closed;
  }

  /** A wrong password brings nothing but another prompt. That may also have been on its way before ours was read. */
  #answerPrompt(): void {
    const hint = 'it is the first line of the file that `management` names in the OpenVPN configuration';
    if (this.#password === undefined) {
      this.#greet.reject(new DaemonError('MANAGEMENT_PASSWORD', 'OpenVPN asks for a management password', { hint }));
    } else if (this.#passwordSent) {
      this.#cancelRefusal ??= this.#clock.after(REFUSAL_MS, () => {
        this.#greet.reject(new DaemonError('MANAGEMENT_PASSWORD', 'OpenVPN refused the management password', { hint }));
      });
    } else {
      this.#passwordSent = true;
      this.#socket.write(`${this.#password.reveal()}\n`);
    }
  }

  #line(line: string): void {
    if (line.startsWith('>')) {
      const event = decodeEvent(line);
      this.#exchange.realTime(line);
      this.#questions.event(event);
      this.#noteEnding(event);
      this.#events.next(event);
      this.#greet.resolve();
      return;
    }
    const role = this.#exchange.line(line);
    // An answer to a question that was never asked says nothing; anything else may.
    if (role === 'late' || (role === 'stray' && !/^(?:SUCCESS:|ERROR:|END$)/.test(line))) this.#events.next({ type: 'unknown', line });
  }

  #noteEnding(event: ManagementEvent): void {
    if (event.type === 'password' && event.kind === 'verification-failed' && event.challenge === undefined) this.#refused = event;
    if (event.type === 'state' && event.name === 'CONNECTED') this.#refused = undefined;
    if (event.type === 'state' && event.name === 'EXITING') this.#ended({ by: 'exiting', reason: event.description });
    if (event.type === 'fatal') this.#ended({ by: 'fatal', reason: event.text });
  }

  #ended(end: OpenVpnEnd): void {
    this.#resolveEnding(this.#refused === undefined ? end : { ...end, refused: this.#refused });
  }

  #end(rest: string): ConnectionEnd {
    if (rest !== '') this.#events.next({ type: 'unknown', line: rest });
    this.#exchange.end(new DaemonError('MANAGEMENT_CLOSED', 'the management connection has ended', { cause: this.#error }));
    const end = this.#connectionEnd();
    this.#ended({ by: 'connection', reason: end.by === 'error' ? end.error.message : 'the management connection has ended', connection: end });
    this.#events.complete();
    return end;
  }

  #connectionEnd(): ConnectionEnd {
    if (this.#closing) return { by: 'us' };
    return this.#error === undefined ? { by: 'peer' } : { by: 'error', error: this.#error };
  }
}

function notGreeted(end: ConnectionEnd, passwordSent: boolean, place: string): DaemonError {
  if (end.by === 'error') {
    return new DaemonError('MANAGEMENT_UNREACHABLE', `cannot reach the management interface: ${end.error.message}`, { cause: end.error, place, hint: 'does OpenVPN run, with `management` at this address?' });
  }
  if (passwordSent) return new DaemonError('MANAGEMENT_PASSWORD', 'OpenVPN closed the connection after the management password', { place });
  return new DaemonError('MANAGEMENT_CLOSED', 'the connection ended before OpenVPN greeted', { place });
}

/** A limit of Infinity needs no timer. */
function clockAfter(clock: Clock, delayMs: number, callback: () => void): () => void {
  return Number.isFinite(delayMs) ? clock.after(delayMs, callback) : () => undefined;
}

function checkPassword(socket: Duplex, password: string | Secret | undefined): void {
  if (password === undefined) return;
  try {
    checkLine(typeof password === 'string' ? password : password.reveal(), 'the management password');
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
