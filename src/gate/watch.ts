import { Socket } from 'node:net';
import { execa } from 'execa';
import split2 from 'split2';
import { nftTable } from './nft.js';
import { chainPrefix } from './names.js';
import type { ExecOptions } from './runner.js';

/** Tells that somebody took rules away. */
export interface Watch {
  /** Whether it would tell: false where the kernel has no such events, or the program that reads them has ended. */
  readonly listening: boolean;
  stop(): void;
}

/** Starts to watch; `onLoss` is called for every rule that is gone and may be one of ours. */
export type StartWatch = (onLoss: () => void) => Watch;

/**
 * What `nft monitor destroy rules` prints when rules of ours go: those of our chains or table, and those of the
 * system's chains that lead into ours (of these it says only where they were). The chains that we refill ourselves to
 * switch a gate tell nothing.
 */
export function mayBeOurs(line: string): boolean {
  if (line.startsWith(`delete rule ${nftTable} `)) return !/^delete rule \S+ \S+ (gate|nat)-/.test(line);
  return line.startsWith('delete rule ') && (line.includes(` ${chainPrefix}`) || /^delete rule ip6? (raw|mangle|filter|nat) (PREROUTING|FORWARD|OUTPUT|POSTROUTING) /.test(line));
}

const monitor: readonly string[] = ['monitor', 'destroy', 'rules'];

/** nf_tables tells its listeners of every change: a program that sleeps until there is one. */
export function nftWatch({ prefix = [], env = {} }: ExecOptions = {}): StartWatch {
  return (onLoss) => {
    const [file = 'nft', ...args] = [...prefix, 'nft', ...monitor];
    const child = execa(file, args, { stdin: 'ignore', stderr: 'ignore', buffer: false, reject: false, cleanup: true, env: { ...env, LC_ALL: 'C' } });
    const watch = { listening: true, stop: () => { child.kill('SIGTERM'); } };
    child.stdout.pipe(split2()).on('data', (line: string) => { if (mayBeOurs(line)) onLoss(); });
    void child.then(() => { watch.listening = false; });
    child.unref();
    // a pipe keeps this process alive, too (Node makes a socket of it)
    if (child.stdout instanceof Socket) child.stdout.unref();
    return watch;
  };
}

/** iptables-legacy has no events. */
export const noWatch: StartWatch = () => ({ listening: false, stop: () => undefined });
