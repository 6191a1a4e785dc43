import { readdir, readFile, stat } from 'node:fs/promises';
import { execa } from 'execa';

/** How a program ended. */
export interface Ran {
  readonly succeeded: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the checks may look at: files and the output of programs. Nothing here changes the machine. */
export interface Machine {
  /** The text of a file, undefined if it can't be read. */
  read(path: string): Promise<string | undefined>;
  /** The names in a folder, none if it can't be read. */
  list(path: string): Promise<readonly string[]>;
  /** The permission bits of a file, undefined if there is none. */
  mode(path: string): Promise<number | undefined>;
  /** Runs a program; undefined if it is not installed. */
  run(program: string, args: readonly string[]): Promise<Ran | undefined>;
}

/** No look takes longer, whatever waits for a lock. */
const TIMEOUT_MS = 10_000;

export const thisMachine: Machine = {
  read: (path) => readFile(path, 'utf8').catch(() => undefined),
  list: (path) => readdir(path).catch(() => []),
  mode: (path) => stat(path).then(({ mode }) => mode & 0o7777, () => undefined),
  run: async (program, args) => {
    const result = await execa(program, args, { reject: false, stdin: 'ignore', timeout: TIMEOUT_MS, env: { LC_ALL: 'C' } });
    if (result.code === 'ENOENT') return undefined;
    return { succeeded: !result.failed, stdout: result.stdout, stderr: result.stderr };
  },
};
