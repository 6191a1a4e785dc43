import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { Observable, ReplaySubject } from 'rxjs';
import split2 from 'split2';
import type { LinkFailure } from '../core/words.js';
import { messageOf } from '../core/errors.js';
import type { ManagementListener } from '../management/listen.js';
import type { ManagementClient } from '../management/client.js';
import { maskLog } from '../management/decode.js';
import type { Credentials } from '../management/credentials.js';
import { ManagementWatch, type WatchEvent } from './management-watch.js';
import { withUsualPriority } from './usual-priority.js';

/** What one OpenVPN process tells. `ended` comes last, once, and completes the stream. */
export type SessionEvent = WatchEvent | { readonly type: 'ended'; readonly reason: string; readonly failure: LinkFailure };

export interface SessionOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** Where relative file names of the configuration start. */
  readonly cwd: string;
  /** The configuration, given by standard input. */
  readonly config: string;
  /** On the management socket: OpenVPN dials us, so nobody has to wait for it, and it ends when we die. Closed at the end. */
  readonly listener: Promise<ManagementListener>;
  readonly device: string;
  readonly credentials: Credentials | undefined;
}

/** execa follows a SIGTERM that was not obeyed with SIGKILL, after 5 seconds. */
function start({ program, args, cwd, config }: SessionOptions) {
  return withUsualPriority(execa(program, [...args], { cwd, input: config, reject: false, buffer: false, cleanup: true, forceKillAfterDelay: 5000 }));
}

/** What was written just before the end is still on its way through the pipe. */
const LAST_WORDS_MS = 100;

interface ProcessEnd {
  readonly exitCode?: number | undefined;
  readonly signal?: NodeJS.Signals | undefined;
  readonly originalMessage?: string | undefined;
}

/** execa's own promise waits for the pipes, too, which something that an `up` script has left running may hold open for ever. */
async function ended(child: ReturnType<typeof start>): Promise<ProcessEnd> {
  const [exitCode, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  await sleep(LAST_WORDS_MS, undefined, { ref: false });
  return { exitCode: exitCode ?? undefined, signal: signal ?? undefined };
}

/** One OpenVPN process from its start to its end, over its management interface. */
export class Session {
  readonly events$: Observable<SessionEvent>;
  readonly #events$ = new ReplaySubject<SessionEvent>(64);
  readonly #options: SessionOptions;
  #process: ReturnType<typeof start> | undefined;
  #watch: ManagementWatch | undefined;
  #wanted = false;
  #reason = '';
  #failure: LinkFailure | undefined;
  #stopping = false;
  #lastError = '';

  private constructor(options: SessionOptions) {
    this.#options = options;
    this.events$ = this.#events$.asObservable();
  }

  static start(options: SessionOptions): Session {
    const session = new Session(options);
    void session.#run();
    return session;
  }

  /** A dial is wanted: holds are answered, from now on or from the start. */
  want(): void {
    this.#wanted = true;
    this.#watch?.want();
  }

  get holding(): boolean {
    return this.#watch?.holding === true;
  }

  /** OpenVPN waits for an answer: it can only be ended. */
  get asking(): boolean {
    return this.#watch?.asking === true;
  }

  /** Back into hold without ending the process. */
  rest(): void {
    this.#wanted = false;
    this.#watch?.unwant();
    if (!this.holding) this.#watch?.restart();
  }

  /** Starts over at once. */
  restart(): void {
    this.#watch?.restart();
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
      listener = await this.#options.listener;
      const ended = this.#spawn();
      if (this.#stopping) this.stop();
      const gone = new AbortController();
      const accepted = listener.accept({ signal: gone.signal, early: (client) => { this.#sayStates(client); } }).then((client) => { this.#attach(client); }, () => undefined);
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
    const { exitCode, signal, originalMessage } = await Promise.race([child, ended(child)]);
    // Or what a script has left running would hold them open, and this process back.
    child.stdout.destroy();
    child.stderr.destroy();
    if (exitCode === 0) return {};
    return { problem: signal ? `${program} was ended by ${signal}` : exitCode === undefined ? (originalMessage ?? 'it did not start') : `${program} ended with status ${exitCode}` };
  }

  /** The first command; its answer is not waited for, and it fails if OpenVPN has ended. */
  #sayStates(client: ManagementClient): void {
    client.stateOn().catch((error: unknown) => { this.#log(messageOf(error)); });
  }

  #attach(client: ManagementClient): void {
    this.#watch = new ManagementWatch(client, { device: this.#options.device, credentials: this.#options.credentials, emit: (event) => { this.#emit(event); } });
    if (this.#wanted) this.#watch.want();
  }

  #emit(event: WatchEvent): void {
    if (event.type === 'exiting') this.#reason = event.reason;
    if (event.type === 'failed') this.#failure ??= event.failure;
    this.#events$.next(event);
  }

  #log(line: string): void {
    // OpenVPN has no other way to say why it did not start.
    if (/^Options error|: fatal|Cannot|ERROR:/i.test(line)) this.#lastError = line.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /, '');
    if (this.#watch && line.includes('VERIFY ERROR')) this.#watch.certificateProblem = line.slice(line.indexOf('VERIFY ERROR'));
    // OpenVPN writes some answers to its log as they are.
    this.#events$.next({ type: 'log', line: maskLog(line) });
  }

  #end({ problem }: { readonly problem?: string }): void {
    const detail = [problem ?? `OpenVPN ended (${this.#reason || 'no reason given'})`, this.#lastError].filter(Boolean).join(': ');
    this.#events$.next({ type: 'ended', reason: this.#reason || (problem ?? 'exit'), failure: this.#failure ?? { code: 'exit', detail } });
    this.#events$.complete();
  }
}
