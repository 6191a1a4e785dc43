import { Subject, type Observable } from 'rxjs';
import { DaemonError, messageOf } from '../core/errors.js';
import { ManagementClient, type ClientOptions, type ManagementAddress } from './client.js';
import { systemClock, type Clock } from './clock.js';
import type { ManagementEvent, StateEvent } from './events.js';
import type { Question } from './questions.js';
import type { Secret } from './secret.js';

export type AttachEvent =
  /** Connected. `state` is today's: it is absent while OpenVPN holds, whatever its history says. */
  | { readonly type: 'attached'; readonly client: ManagementClient; readonly state?: StateEvent; readonly question?: Question }
  /** Not connected, and why; once for every new reason. */
  | { readonly type: 'detached'; readonly error: DaemonError }
  | { readonly type: 'event'; readonly event: ManagementEvent };

export type ReconnectOptions = ManagementAddress & {
  /** Asked before every attempt; a password that OpenVPN refused is not given to it again. */
  readonly password?: () => Promise<Secret>;
  /** Between attempts, doubling from `startMs` to `maxMs`. 50 ms and 500 ms. */
  readonly retry?: { readonly startMs: number; readonly maxMs: number };
  /** Commands to send after every attach, besides `state on`: OpenVPN forgets them with each client. */
  readonly subscriptions?: readonly string[];
  readonly commandTimeoutMs?: number;
  /** A connection that is not greeted for so long is reported: another client has OpenVPN. 1 s. */
  readonly silentMs?: number;
  readonly clock?: Clock;
};

/**
 * A management connection that comes back: OpenVPN runs elsewhere, is restarted by others, and speaks with one client
 * at a time. While it cannot be reached it is tried again; once it can, the subscriptions are renewed and the state is
 * asked for. A connection that waits behind another client is kept, since OpenVPN turns to it as soon as that leaves.
 */
export class ReconnectingClient {
  readonly events$: Observable<AttachEvent>;
  readonly #events$ = new Subject<AttachEvent>();
  readonly #options: ReconnectOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #client: ManagementClient | undefined;
  #refused: Secret | undefined;
  #lastProblem = '';

  private constructor(options: ReconnectOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.events$ = this.#events$.asObservable();
    // Whoever made it subscribes first.
    this.#done = Promise.resolve().then(() => this.#run());
  }

  static start(options: ReconnectOptions): ReconnectingClient {
    return new ReconnectingClient(options);
  }

  /** The present connection, if there is one that was greeted and whose state is known. */
  get client(): ManagementClient | undefined {
    return this.#client;
  }

  /** Closes the connection and completes `events$`. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { startMs, maxMs } = this.#options.retry ?? { startMs: 50, maxMs: 500 };
    let waitMs = startMs;
    while (!this.#stop.signal.aborted) {
      try {
        const client = await this.#connect();
        await this.#attend(client, () => {
          waitMs = startMs;
        });
      } catch (error) {
        this.#report(error instanceof DaemonError ? error : new DaemonError('MANAGEMENT_UNREACHABLE', messageOf(error), { cause: error }));
        await this.#pause(waitMs);
        waitMs = Math.min(2 * waitMs, maxMs);
      }
    }
    this.#events$.complete();
  }

  async #connect(): Promise<ManagementClient> {
    const { commandTimeoutMs, silentMs = 1000 } = this.#options;
    const password = await this.#options.password?.();
    if (password !== undefined && this.#refused?.equals(password) === true) {
      throw new DaemonError('MANAGEMENT_PASSWORD', 'OpenVPN has refused this management password; it is not tried again', { hint: 'change the password file' });
    }
    const cancel = this.#clock.after(silentMs, () => {
      this.#report(new DaemonError('MANAGEMENT_TIMEOUT', 'OpenVPN does not greet', { hint: 'is another client connected to its management port?' }));
    });
    const options: ClientOptions = {
      connectTimeoutMs: Infinity,
      signal: this.#stop.signal,
      clock: this.#clock,
      ...(commandTimeoutMs === undefined ? {} : { commandTimeoutMs }),
      ...(password === undefined ? {} : { password }),
    };
    try {
      return await ManagementClient.connect({ ...this.#address(), ...options });
    } catch (error) {
      if (error instanceof DaemonError && error.code === 'MANAGEMENT_PASSWORD') this.#refused = password;
      throw error;
    } finally {
      cancel();
    }
  }

  #address(): ManagementAddress {
    return 'path' in this.#options ? { path: this.#options.path } : { host: this.#options.host, port: this.#options.port };
  }

  /** Renews the subscriptions and passes events on until the connection ends, for which it rejects. */
  async #attend(client: ManagementClient, onAttached: () => void): Promise<void> {
    // Until the state is known events are kept, so that none of them comes before `attached`.
    let early: ManagementEvent[] | undefined = [];
    const hangUp = (): void => void client.close();
    this.#stop.signal.addEventListener('abort', hangUp, { once: true });
    if (this.#stop.signal.aborted) hangUp();
    client.events$.subscribe((event) => {
      if (early === undefined) this.#events$.next({ type: 'event', event });
      else early.push(event);
    });
    try {
      await client.stateOn();
      for (const command of this.#options.subscriptions ?? []) await client.command(command);
      const newest = await client.state();
      this.#client = client;
      this.#lastProblem = '';
      onAttached();
      const { question } = client;
      // While it holds, the newest state is of a connection that is over.
      const state = question?.type === 'hold' ? undefined : newest;
      this.#events$.next({ type: 'attached', client, ...(state === undefined ? {} : { state }), ...(question === undefined ? {} : { question }) });
      const kept = early;
      early = undefined;
      for (const event of withoutOlder(kept, newest)) this.#events$.next({ type: 'event', event });
      const end = await client.closed;
      throw new DaemonError('MANAGEMENT_CLOSED', 'the management connection has ended', end.by === 'error' ? { cause: end.error } : {});
    } finally {
      this.#client = undefined;
      this.#stop.signal.removeEventListener('abort', hangUp);
      hangUp();
    }
  }

  #report(error: DaemonError): void {
    const problem = `${error.code} ${error.message}`;
    if (this.#stop.signal.aborted || problem === this.#lastProblem) return;
    this.#lastProblem = problem;
    this.#events$.next({ type: 'detached', error });
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#stop;
      const finish = (): void => {
        cancel();
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const cancel = this.#clock.after(signal.aborted ? 0 : delayMs, finish);
      signal.addEventListener('abort', finish, { once: true });
    });
  }
}

/** State lines that came while the state was being asked for, and that are not newer than the answer, are history. */
function withoutOlder(events: readonly ManagementEvent[], newest: StateEvent | undefined): ManagementEvent[] {
  const known = JSON.stringify(newest);
  const at = events.findIndex((event) => JSON.stringify(event) === known);
  return events.filter((event, index) => event.type !== 'state' || index > at);
}
