import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DaemonError, messageOf } from '../core/errors.js';

/** What is kept of a pause. */
export interface KeptPause {
  /** Milliseconds since the epoch; without it: until `resume`. */
  readonly until?: number;
  readonly bypass: boolean;
}

interface Content {
  readonly paused: Readonly<Record<string, KeptPause>>;
}

/** What the user wants to outlive a restart. The file exists only if there is something in it to keep. */
export class StateFile {
  readonly #path: string;
  #content: Content = { paused: {} };
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /** Rejects with CONFIG_UNREADABLE if the file is there and is not what we wrote: to guess could open what was closed. */
  static async open(path: string): Promise<StateFile> {
    const file = new StateFile(path);
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw unreadable(path, cause);
    });
    if (text !== undefined) file.#content = parse(text, path);
    return file;
  }

  /** Pauses that have not ended. */
  paused(now: number): ReadonlyMap<string, KeptPause> {
    return new Map(Object.entries(this.#content.paused).filter(([, { until }]) => until === undefined || until > now));
  }

  async keep(tunnel: string, pause: KeptPause): Promise<void> {
    await this.#write({ paused: { ...this.#content.paused, [tunnel]: pause } });
  }

  async forget(tunnel: string): Promise<void> {
    if (!(tunnel in this.#content.paused)) return;
    await this.#write({ paused: Object.fromEntries(Object.entries(this.#content.paused).filter(([name]) => name !== tunnel)) });
  }

  /** Whole or not at all, also when the power fails: written beside, on to the disk, then renamed. */
  async #write(content: Content): Promise<void> {
    this.#content = content;
    const write = async (): Promise<void> => {
      await mkdir(dirname(this.#path), { recursive: true });
      await writeFile(`${this.#path}.new`, `${JSON.stringify(content)}\n`, { mode: 0o600, flush: true });
      await rename(`${this.#path}.new`, this.#path);
    };
    const written = this.#writing.then(write, write);
    this.#writing = written.catch(() => undefined);
    await written.catch((cause: unknown) => {
      throw new DaemonError('CONTROL_REFUSED', `it can't be kept: ${messageOf(cause)}`, { cause, place: this.#path, hint: 'name another file with `stateFile`' });
    });
  }
}

function parse(text: string, path: string): Content {
  try {
    const value = JSON.parse(text) as { readonly paused?: Content['paused'] | null } | null;
    if (typeof value?.paused === 'object' && value.paused !== null) return { paused: value.paused };
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw unreadable(path, new Error('it has no `paused`'));
}

function unreadable(path: string, cause: unknown): DaemonError {
  return new DaemonError('CONFIG_UNREADABLE', `the kept state can't be read: ${messageOf(cause)}`, { cause, place: path, hint: 'remove the file: every tunnel then starts idle' });
}
