import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assertNotAbandoned } from './janitor.js';
import type { Netns } from './netns.js';
import { patience, until, type WaitOptions } from './wait.js';

export interface ProgramOptions {
  /** In what namespace it runs. */
  readonly netns: Netns;
  /** Where its output goes: FOLDER/LABEL.out and FOLDER/LABEL.err. */
  readonly folder: string;
  /** Also the name of its files. */
  readonly label: string;
  /** Added to this process' environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A program that runs beside the test, in a session of its own and with its output in files: Ctrl-C in a terminal
 * does not reach it, and it can outlive the lab (`--keep`).
 */
export class Program {
  readonly label: string;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #files: { readonly out: string; readonly err: string };
  #exit: Exit | undefined;

  private constructor(label: string, child: ChildProcess, files: { out: string; err: string }) {
    this.label = label;
    this.#child = child;
    this.#files = files;
    this.exited = new Promise((resolve) => {
      const ended = (exit: Exit): void => {
        this.#exit = exit;
        resolve(exit);
      };
      child.once('exit', (code, signal) => { ended({ code, signal }); });
      child.once('error', () => { ended({ code: 127, signal: null }); });
    });
    child.unref();
  }

  static start(command: string, args: readonly string[], { netns, folder, label, env }: ProgramOptions): Program {
    assertNotAbandoned();
    const files = { out: join(folder, `${label}.out`), err: join(folder, `${label}.err`) };
    const out = openSync(files.out, 'w');
    const err = openSync(files.err, 'w');
    // `ip netns exec` replaces itself by the command: the child's pid is the program's own.
    const child = spawn('ip', ['netns', 'exec', netns.name, command, ...args], {
      stdio: ['ignore', out, err],
      detached: true,
      env: { ...process.env, ...env },
    });
    closeSync(out);
    closeSync(err);
    return new Program(label, child, files);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.label} did not start`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** The file that its standard error goes to. */
  get logFile(): string {
    return this.#files.err;
  }

  /** What it has written to standard output so far. */
  get stdout(): string {
    return readFileSync(this.#files.out, 'utf8');
  }

  /** What it has written to standard error so far. */
  get stderr(): string {
    return readFileSync(this.#files.err, 'utf8');
  }

  /** Waits for a text in its output; rejects with that output if the program ends or the time passes before. */
  async says(pattern: string | RegExp, options: WaitOptions = {}): Promise<void> {
    const said = (): boolean => {
      const output = this.stdout + this.stderr;
      return typeof pattern === 'string' ? output.includes(pattern) : pattern.test(output);
    };
    // The end is looked at first: what was written just before it counts, too.
    const outcome = await until(String(pattern), () => {
      const ended = !this.running;
      if (said()) return 'said';
      return ended && 'ended';
    }, options).catch(() => 'late');
    if (outcome !== 'said') throw new Error(`${this.label} did not say ${String(pattern)} (${outcome}):\n${this.stdout}${this.stderr}`);
  }

  signal(name: NodeJS.Signals): void {
    if (this.running) process.kill(this.pid, name);
  }

  /** Sends a signal and waits for the end; rejects, after a SIGKILL, if it takes longer than the time. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 10_000 * patience): Promise<Exit> {
    const deadline = performance.now() + timeoutMs;
    const timer = setTimeout(() => { this.signal('SIGKILL'); }, timeoutMs);
    this.signal(signal);
    const exit = await this.exited;
    clearTimeout(timer);
    if (performance.now() >= deadline) throw new Error(`${this.label} did not end within ${timeoutMs} ms of ${signal}`);
    return exit;
  }
}
