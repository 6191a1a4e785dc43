import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { firstValueFrom } from 'rxjs';
import split2 from 'split2';
import type { ClockPort } from '../core/ports.js';
import { isGroupAlive, signalGroup } from './process-group.js';
import { withUsualPriority } from './usual-priority.js';

export interface CommandStart {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** Added to our own environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Told of every line that it writes. */
  readonly output: (line: string) => void;
}

/** How a command ended. */
export interface CommandEnd {
  readonly how: 'done' | 'failed' | 'killed' | 'not-started';
  /** A sentence: the status or the signal, and the last line of standard error if it did not end well. */
  readonly detail: string;
}

/** What SIGTERM does not end within this time is killed. */
const TERM_MS = 5000;
const LOOK_MS = 5;
const LONGEST_LOOK_MS = 100;
/** What was written just before the end is still on its way through the pipe, which others may keep open. */
const LAST_WORDS_MS = 100;
const MAX_LINE = 4096;
/** Its types don't know it. */
const SKIP_LONGER = { skipOverflow: true };

/**
 * A command and everything it starts in its process group. A group of its own, so that ending it reaches what a script
 * has started, and so that Ctrl-C in our terminal leaves it to us.
 */
function start({ argv: [program = '', ...args], env }: CommandStart) {
  return withUsualPriority(execa(program, args, { env, stdin: 'ignore', detached: true, cleanup: false, buffer: false, reject: false }));
}

/** One run of a command, without a shell. */
export class CommandProcess {
  /** Resolves when the command itself has ended; what it started in the background may go on. */
  readonly ended: Promise<CommandEnd>;
  readonly #child: ReturnType<typeof start>;
  readonly #program: string;
  readonly #clock: ClockPort;
  #end: CommandEnd | undefined;
  #lastError = '';

  private constructor(options: CommandStart, clock: ClockPort) {
    this.#clock = clock;
    this.#program = options.argv[0] ?? '';
    this.#child = start(options);
    const { stdout, stderr } = this.#child;
    linesOf(stdout, options.output);
    linesOf(stderr, (line) => {
      if (line.trim() !== '') this.#lastError = line.trim();
      options.output(line);
    });
    this.ended = this.#watch(stderr);
  }

  static start(options: CommandStart, clock: ClockPort): CommandProcess {
    return new CommandProcess(options, clock);
  }

  /**
   * SIGTERM to all of the group, SIGKILL to what is left of it after 5 s. Resolves when it is gone. What a command that
   * ended well has left running is what it was asked for: that stays.
   */
  async end(): Promise<void> {
    const { pid } = this.#child;
    if (pid === undefined || this.#end?.how === 'done') return;
    const deadline = this.#clock.now() + TERM_MS;
    signalGroup(pid, 'SIGTERM');
    for (let pauseMs = LOOK_MS; isGroupAlive(pid) && this.#clock.now() < deadline; pauseMs *= 2) await this.#wait(Math.min(pauseMs, LONGEST_LOOK_MS));
    signalGroup(pid, 'SIGKILL');
    await this.ended;
  }

  /** Stops listening to what it left behind, which may hold our pipes open for ever. */
  forget(): void {
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }

  async #watch(stderr: Readable): Promise<CommandEnd> {
    const drained = once(stderr, 'close').catch(() => undefined);
    // Not execa's own promise: that one waits for the pipes, too.
    const end = await new Promise<CommandEnd>((resolve) => {
      this.#child.once('exit', (status, by) => { resolve(this.#endOf(status, by)); });
      // What did not even start says so by execa's promise.
      if (this.#child.pid === undefined) void this.#child.then(({ code, originalMessage }) => { resolve({ how: 'not-started', detail: this.#notStarted(code, originalMessage) }); });
    });
    this.#end = end;
    if (end.how === 'done' || end.how === 'not-started') return end;
    await Promise.race([drained, this.#wait(LAST_WORDS_MS)]);
    return this.#lastError === '' ? end : { ...end, detail: `${end.detail}: ${this.#lastError}` };
  }

  #endOf(status: number | null, by: NodeJS.Signals | null): CommandEnd {
    if (status === 0) return { how: 'done', detail: `${this.#program} ended` };
    if (by !== null) return { how: 'killed', detail: `${this.#program} was ended by ${by}` };
    return { how: 'failed', detail: `${this.#program} ended with status ${status ?? 'unknown'}` };
  }

  #notStarted(code: string | undefined, message: string | undefined): string {
    return code === 'ENOENT' ? `${this.#program} is not there` : `${this.#program} can't be started: ${message ?? code ?? 'no reason given'}`;
  }

  #wait(ms: number): Promise<unknown> {
    return firstValueFrom(this.#clock.at(this.#clock.now() + ms));
  }
}

function linesOf(stream: Readable, tell: (line: string) => void): void {
  stream.pipe(split2({ maxLength: MAX_LINE, ...SKIP_LONGER })).on('data', tell);
}

