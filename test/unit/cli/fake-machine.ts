import type { Machine, Ran } from '../../../src/cli/commands/doctor/machine.js';

export interface FakeMachine {
  readonly files?: Readonly<Record<string, string>>;
  readonly modes?: Readonly<Record<string, number>>;
  readonly folders?: Readonly<Record<string, readonly string[]>>;
  /** What a command line prints; one that is not here is not installed. */
  readonly programs?: Readonly<Record<string, string | Ran>>;
}

/** A machine that says what a test wants. */
export function fakeMachine({ files = {}, modes = {}, folders = {}, programs = {} }: FakeMachine): Machine {
  return {
    read: (path) => Promise.resolve(files[path]),
    list: (path) => Promise.resolve(folders[path] ?? []),
    mode: (path) => Promise.resolve(modes[path]),
    run: (program, args) => {
      const said = programs[[program, ...args].join(' ')];
      return Promise.resolve(typeof said === 'string' ? { succeeded: true, stdout: said, stderr: '' } : said);
    },
  };
}
