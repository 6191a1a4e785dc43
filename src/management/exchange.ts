import { DaemonError } from '../core/errors.js';
import type { Clock } from './clock.js';
import type { PreparedCommand } from './commands.js';
import { CommandRefused } from './refused.js';
import { ReplyCollector } from './replies.js';

/** A refusal after END, not of the first line. */
const RAN_TO_ITS_END = /command failed|not supported|password too long|base64-decode/;

interface Request {
  readonly command: PreparedCommand;
  readonly collector: ReplyCollector;
  readonly settle: { resolve(lines: string[]): void; reject(error: DaemonError): void };
  cancelDeadline: () => void;
  /** Nobody waits for the reply any more; it is still read to its end, or it would be taken for the next one's. */
  abandoned: boolean;
}

/** One command in flight, the others in a queue; replies matched by their shape. Knows no socket. */
export class Exchange {
  readonly #write: (text: string) => void;
  readonly #onAnswer: (command: PreparedCommand, refused: boolean) => void;
  readonly #clock: Clock;
  readonly #queue: Request[] = [];
  #current: Request | undefined;
  #ignorable: string[] = [];
  #ended: DaemonError | undefined;

  /** @param onAnswer is called with the last line of a reply, before the next line is read */
  constructor(write: (text: string) => void, onAnswer: (command: PreparedCommand, refused: boolean) => void, clock: Clock) {
    this.#write = write;
    this.#onAnswer = onAnswer;
    this.#clock = clock;
  }

  /** Resolves with the reply's lines. `timeoutMs` counts from now, the wait for earlier commands included. */
  submit(command: PreparedCommand, timeoutMs: number): Promise<string[]> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const request: Request = {
        command,
        collector: new ReplyCollector(command.shape),
        settle: { resolve, reject },
        cancelDeadline: () => undefined,
        abandoned: false,
      };
      this.#queue.push(request);
      request.cancelDeadline = this.#clock.after(timeoutMs, () => {
        this.#abandon(request, timeoutMs);
      });
      this.#pump();
    });
  }

  /** A line that does not begin with `>`: of a reply, of one that nobody waits for any more, or of none. */
  line(line: string): 'reply' | 'late' | 'stray' {
    const ignorable = this.#ignorable.findIndex((start) => line.startsWith(start));
    if (ignorable >= 0) {
      this.#ignorable.splice(ignorable, 1);
      return 'reply';
    }
    const late = this.#current?.abandoned === true;
    if (!this.#offer((collector) => collector.line(line))) return 'stray';
    return late ? 'late' : 'reply';
  }

  /** A real-time line, which may be what a command waits for. */
  realTime(line: string): void {
    this.#offer((collector) => collector.realTime(line));
  }

  /** The connection has ended: what is still open fails. */
  end(error: DaemonError): void {
    this.#ended ??= error;
    const open = [...(this.#current ? [this.#current] : []), ...this.#queue.splice(0)];
    this.#current = undefined;
    for (const request of open) {
      request.cancelDeadline();
      if (request.command.shape.kind === 'close') request.settle.resolve([]);
      else request.settle.reject(error);
    }
  }

  #pump(): void {
    while (this.#current === undefined) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#ignorable.push(...next.command.mayFollow);
      if (next.command.shape.kind === 'none') {
        next.cancelDeadline();
        next.settle.resolve([]);
      } else {
        this.#current = next;
      }
      // Last, since the answer may come before this returns.
      this.#write(next.command.wire);
    }
  }

  #offer(take: (collector: ReplyCollector) => 'ignored' | 'more' | 'done'): boolean {
    const request = this.#current;
    if (request === undefined) return false;
    const progress = take(request.collector);
    if (progress === 'done') this.#finish(request);
    return progress !== 'ignored';
  }

  #finish({ command, collector, settle, cancelDeadline }: Request): void {
    cancelDeadline();
    this.#current = undefined;
    const { error } = collector;
    // Replies come in order: what earlier commands may still have caused cannot come any more.
    this.#ignorable = error === undefined || RAN_TO_ITS_END.test(error) ? [] : [...command.followsRefusal];
    this.#onAnswer(command, error !== undefined);
    if (error === undefined) settle.resolve([...collector.lines]);
    else settle.reject(new CommandRefused(command.shown, error));
    this.#pump();
  }

  #abandon(request: Request, timeoutMs: number): void {
    const queued = this.#queue.indexOf(request);
    if (queued >= 0) this.#queue.splice(queued, 1);
    request.abandoned = true;
    request.settle.reject(
      new DaemonError('MANAGEMENT_TIMEOUT', `no answer to ${request.command.shown} within ${timeoutMs} ms`, {
        hint: queued >= 0 ? 'an earlier command was not answered either; this one was not sent' : 'OpenVPN is stopped, or busy with a name look-up or a script',
      }),
    );
  }
}
