import { execa } from 'execa';
import { Observable, ReplaySubject } from 'rxjs';
import split2 from 'split2';
import type { Connection, LinkFailure } from '../core/words.js';
import { messageOf } from '../core/errors.js';
import { ManagementListener } from '../management/listen.js';
import type { ManagementClient } from '../management/client.js';
import type { ManagementEvent, StateEvent } from '../management/events.js';

/** What one OpenVPN process tells. `ended` comes last, once, and completes the stream. */
export type SessionEvent =
  /** It waits for `hold release`, and wants to wait so long before. */
  | { readonly type: 'held'; readonly waitSeconds: number }
  | { readonly type: 'connected'; readonly connection: Connection }
  /** Another step on the way up. */
  | { readonly type: 'progress'; readonly step: string }
  /** CONNECTED, but traffic can't pass; or credentials that were refused or are not there. */
  | { readonly type: 'failed'; readonly failure: LinkFailure }
  | { readonly type: 'reconnecting'; readonly reason: string }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'ended'; readonly reason: string; readonly failure: LinkFailure };

export interface SessionOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** Where relative file names of the configuration start. */
  readonly cwd: string;
  /** The configuration, given by standard input. */
  readonly config: string;
  /** The management socket: OpenVPN dials us, so nobody has to wait for it, and it ends when we die. */
  readonly socket: string;
  readonly device: string;
}

/** execa follows a SIGTERM that was not obeyed with SIGKILL, after 5 seconds. */
function start({ program, args, cwd, config }: SessionOptions) {
  return execa(program, [...args], { cwd, input: config, reject: false, buffer: false, cleanup: true, forceKillAfterDelay: 5000 });
}

/** One OpenVPN process from its start to its end, over its management interface. */
export class Session {
  readonly events$: Observable<SessionEvent>;
  readonly #events$ = new ReplaySubject<SessionEvent>(64);
  readonly #options: SessionOptions;
  #process: ReturnType<typeof start> | undefined;
  #client: ManagementClient | undefined;
  #reason = '';
  #failure: LinkFailure | undefined;
  #stopping = false;
  #lastError = '';
  /** What OpenVPN said against the server's certificate. */
  #refusal = '';

  private constructor(options: SessionOptions) {
    this.#options = options;
    this.events$ = this.#events$.asObservable();
  }

  static start(options: SessionOptions): Session {
    const session = new Session(options);
    void session.#run();
    return session;
  }

  /** Answers a hold. Sending it twice for one hold would double the dial: the caller sees to it. */
  release(): void {
    this.#command((client) => client.holdRelease());
  }

  /** Back into hold without ending the process (warm standby). */
  restart(): void {
    this.#command((client) => client.signal('SIGUSR1'));
  }

  /**
   * SIGTERM, or without delay: the first makes OpenVPN tell the server (exit-notify) and linger, a second one ends the
   * lingering. What does not end within 5 s is killed.
   */
  stop(): void {
    this.#stopping = true;
    this.#process?.kill('SIGTERM');
  }

  async #run(): Promise<void> {
    let listener: ManagementListener | undefined;
    try {
      listener = await ManagementListener.listen({ path: this.#options.socket });
      const ended = this.#spawn();
      if (this.#stopping) this.stop();
      const gone = new AbortController();
      const accepted = listener.accept({ signal: gone.signal }).then((client) => this.#attach(client), () => undefined);
      const result = await ended;
      gone.abort();
      await accepted;
      this.#end(result);
    } catch (error) {
      this.#end({ problem: messageOf(error) });
    } finally {
      await listener?.close();
    }
  }

  async #spawn(): Promise<{ readonly problem?: string }> {
    const { program } = this.#options;
    const child = start(this.#options);
    this.#process = child;
    child.stdout.pipe(split2()).on('data', (line: string) => { this.#log(line); });
    child.stderr.pipe(split2()).on('data', (line: string) => { this.#log(line); });
    const { exitCode, signal, originalMessage } = await child;
    if (exitCode === 0) return {};
    return { problem: signal ? `${program} was ended by ${signal}` : exitCode === undefined ? (originalMessage ?? 'it did not start') : `${program} ended with status ${exitCode}` };
  }

  async #attach(client: ManagementClient): Promise<void> {
    this.#client = client;
    client.events$.subscribe({ next: (event) => { this.#see(event); } });
    await client.stateOn();
  }

  #see(event: ManagementEvent): void {
    switch (event.type) {
      case 'hold':
        this.#events$.next({ type: 'held', waitSeconds: event.waitSeconds });
        break;
      case 'state':
        this.#seeState(event);
        break;
      case 'fatal':
        this.#failure = { code: 'fatal', detail: event.text };
        break;
      case 'password':
        if (event.kind === 'need') this.#fail({ code: 'auth', detail: `OpenVPN asks for ${event.realm} ${event.asks}, and no credentials are configured` });
        if (event.kind === 'verification-failed') this.#fail({ code: 'auth', detail: `${event.realm} was refused${event.reason === undefined ? '' : `: ${event.reason}`}` });
        break;
      default:
        break;
    }
  }

  #seeState({ name, description, tunIpv4, tunIpv6 }: StateEvent): void {
    if (name === 'CONNECTED' && description === 'SUCCESS') {
      const addresses = { ...(tunIpv4 === undefined ? {} : { ipv4: tunIpv4 }), ...(tunIpv6 === undefined ? {} : { ipv6: tunIpv6 }) };
      this.#events$.next({ type: 'connected', connection: { device: this.#options.device, addresses } });
    } else if (name === 'CONNECTED') {
      this.#fail({ code: 'route', detail: `OpenVPN connected with ${description}: traffic can't pass` });
    } else if (name === 'RECONNECTING') {
      // A certificate does not get better by trying again.
      if (description === 'tls-error' && this.#refusal !== '') this.#fail({ code: 'tls', detail: this.#refusal });
      else if (description.startsWith('auth-failure')) this.#fail({ code: 'auth', detail: description });
      else this.#events$.next({ type: 'reconnecting', reason: description });
    } else if (name === 'EXITING') {
      this.#reason = description;
      if (description.startsWith('auth-failure')) this.#fail({ code: 'auth', detail: this.#failure?.detail ?? 'the server refused the credentials' });
    } else {
      this.#events$.next({ type: 'progress', step: name });
    }
  }

  #fail(failure: LinkFailure): void {
    this.#failure ??= failure;
    this.#events$.next({ type: 'failed', failure: this.#failure });
  }

  #log(line: string): void {
    // OpenVPN has no other way to say why it did not start.
    if (/^Options error|: fatal|Cannot|ERROR:/i.test(line)) this.#lastError = line.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /, '');
    if (line.includes('VERIFY ERROR')) this.#refusal = line.slice(line.indexOf('VERIFY ERROR'));
    this.#events$.next({ type: 'log', line });
  }

  #end({ problem }: { readonly problem?: string }): void {
    const detail = [problem ?? `OpenVPN ended (${this.#reason || 'no reason given'})`, this.#lastError].filter(Boolean).join(': ');
    this.#events$.next({ type: 'ended', reason: this.#reason || (problem ?? 'exit'), failure: this.#failure ?? { code: 'exit', detail } });
    this.#events$.complete();
  }

  #command(send: (client: ManagementClient) => Promise<unknown>): void {
    const client = this.#client;
    if (!client) return;
    // Refused, or gone: what OpenVPN does next tells all that matters.
    send(client).catch((error: unknown) => { this.#log(messageOf(error)); });
  }
}
