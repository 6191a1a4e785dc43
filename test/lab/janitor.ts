import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Netns } from './netns.js';
import { programPath } from './paths.js';

/**
 * Whoever makes namespaces and processes has a janitor first: a small process that waits for this one to be done, or
 * to die by whatever means, and then ends what runs in the namespaces and removes them and the temporary folder.
 */
export class Janitor {
  /** A temporary folder for certificates, logs, sockets. */
  readonly folder: string;
  readonly #child: ChildProcess;

  private constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.#child = child;
  }

  /** The namespaces need not exist yet. */
  static hire(namespaces: readonly Netns[]): Janitor {
    const folder = mkdtempSync(join(tmpdir(), 'ood-lab-'));
    const child = spawn('sh', [programPath('janitor.sh'), folder, ...namespaces.map(({ name }) => name)], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    });
    return new Janitor(folder, child);
  }

  /** Has everything removed; resolves when it is gone. */
  async clean(): Promise<void> {
    await this.#end('');
  }

  /** Leaves everything as it is. */
  async keep(): Promise<void> {
    await this.#end('keep\n');
  }

  async #end(word: string): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.stdin?.end(word);
    await exited;
  }
}
