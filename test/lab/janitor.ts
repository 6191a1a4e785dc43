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
  readonly #namespaces: readonly Netns[];

  private constructor(folder: string, namespaces: readonly Netns[], child: ChildProcess) {
    this.folder = folder;
    this.#namespaces = namespaces;
    this.#child = child;
    hired.add(this);
  }

  /** The namespaces need not exist yet. */
  static hire(namespaces: readonly Netns[]): Janitor {
    assertNotAbandoned();
    const folder = mkdtempSync(join(tmpdir(), 'ood-lab-'));
    const child = spawn('sh', [programPath('janitor.sh'), folder, ...namespaces.map(({ name }) => name)], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    });
    return new Janitor(folder, namespaces, child);
  }

  /** Has everything removed, whoever made it and however far it got; from now on no program can be started. */
  static async abandonAll(): Promise<void> {
    abandoned = true;
    await Promise.all([...hired].map((janitor) => janitor.#end('')));
  }

  /** The shell command that cleans what `keep` has left. */
  get command(): string {
    return ['sh', programPath('janitor.sh'), this.folder, ...this.#namespaces.map(({ name }) => name), '</dev/null'].join(' ');
  }

  /** Has everything removed; resolves when it is gone. */
  async clean(): Promise<void> {
    await this.#end('clean\n');
  }

  /** Leaves everything as it is. */
  async keep(): Promise<void> {
    await this.#end('keep\n');
  }

  async #end(word: string): Promise<void> {
    hired.delete(this);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.stdin?.end(word);
    await exited;
  }
}

const hired = new Set<Janitor>();
let abandoned = false;

/** Throws when everything is being removed: what would start now would stay. */
export function assertNotAbandoned(): void {
  if (abandoned) throw new Error('the lab is being removed');
}
