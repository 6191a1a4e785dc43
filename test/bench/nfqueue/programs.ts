import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Netns } from '../../lab/netns.js';

export const QUEUE = 7;
export const PORT = 9;

/** The programs of a bench: C peers compiled on the spot, npm packages installed by name, all in a folder that goes away. */
export class Programs {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async build(): Promise<Programs> {
    const programs = new Programs(await mkdtemp(join(tmpdir(), 'nfqueue-bench-')));
    for (const name of ['peer', 'flood', 'storm', 'sink']) await execa('cc', ['-O2', '-o', programs.compiled(name), source(`${name}.c`)]);
    return programs;
  }

  compiled(name: string): string {
    return join(this.#folder, name);
  }

  /** Installs an npm package by its name, building its addon. Resolves with its path. */
  async install(name: string): Promise<string> {
    if (!existsSync('/usr/include/libnetfilter_queue/libnetfilter_queue.h')) {
      throw new Error(`npm's ${name} needs libnetfilter_queue to build: apt-get install libnetfilter-queue-dev libnfnetlink-dev`);
    }
    await execa('npm', ['install', '--no-save', '--prefix', this.#folder, name], { cwd: this.#folder });
    return join(this.#folder, 'node_modules', name);
  }

  async dispose(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Arguments for `setsid` that run a command on one processor and before whatever else the machine does: ratios of figures
 * that were taken while something else ran are noise. A session of its own, since the scheduler weighs sessions first.
 */
export function atFront(processor: number, command: readonly string[]): string[] {
  const script = 'echo -20 > /proc/self/autogroup 2>/dev/null; exec nice -n -20 taskset -c "$0" "$@"';
  return ['sh', '-c', script, String(processor), ...command];
}

/** Path of a program's source beside this file. */
export function source(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url));
}

/** A program that runs in a namespace, on one processor and at the front, and speaks in lines. */
export class Running {
  readonly #process: ReturnType<Netns['spawn']>;
  readonly #lines: AsyncIterator<string>;

  private constructor(process: ReturnType<Netns['spawn']>) {
    this.#process = process;
    this.#lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
  }

  /** Resolves once the program has said `ready`. */
  static async start(netns: Netns, processor: number, command: readonly string[]): Promise<Running> {
    const running = new Running(netns.spawn('setsid', atFront(processor, command)));
    const first = await running.line();
    if (first !== 'ready') throw new Error(`${command.join(' ')} says ${first}`);
    return running;
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error('not started');
    return this.#process.pid;
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error(`ended: ${(await this.#process).stderr}`);
    return next.value;
  }

  /** Writes a line to the program, and resolves with the one that it answers. */
  ask(question: string): Promise<string> {
    this.#process.stdin.write(`${question}\n`);
    return this.line();
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#process;
  }
}
