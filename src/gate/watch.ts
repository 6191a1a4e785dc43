import { readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import split2 from 'split2';
import { nftTable } from './nft.js';
import { chainPrefix } from './names.js';
import type { ExecOptions } from './runner.js';

/** Tells that somebody took rules away. */
export interface Watch {
  /** Whether it would tell: false where the kernel has no such events, or the program that reads them has ended. */
  readonly listening: boolean;
  /** Resolves when no loss is missed any more, or it is clear that it will never listen. */
  readonly ready: Promise<void>;
  stop(): void;
}

/**
 * Starts to watch; `onLoss` is called for every rule that is gone and may be one of ours, `onEnd` when it has ended
 * without `stop`, with whether it ever listened.
 */
export type StartWatch = (onLoss: () => void, onEnd: (listened: boolean) => void) => Watch;

/**
 * What `nft monitor destroy rules` prints when rules of ours go: those of our chains or table, and those of the
 * system's chains that lead into ours (of these it says only where they were). The chains that we refill ourselves to
 * switch a gate tell nothing.
 */
export function mayBeOurs(line: string): boolean {
  if (line.startsWith(`delete rule ${nftTable} `)) return !/^delete rule \S+ \S+ (gates?|nat)-/.test(line);
  return line.startsWith('delete rule ') && (line.includes(` ${chainPrefix}`) || /^delete rule ip6? (raw|mangle|filter|nat) (PREROUTING|FORWARD|OUTPUT|POSTROUTING) /.test(line));
}

const monitor: readonly string[] = ['monitor', 'destroy', 'rules'];
const listeningMs = 500;

/**
 * nf_tables tells its listeners of every change: a program that sleeps until there is one. Should we be killed, it ends
 * when it tells of the next one, since nobody reads its pipe.
 */
export function nftWatch({ prefix = [], env = {} }: ExecOptions = {}): StartWatch {
  return (onLoss, onEnd) => {
    const [file = 'nft', ...args] = [...prefix, 'nft', ...monitor];
    const child = execa(file, args, { stdin: 'ignore', stderr: 'ignore', buffer: false, reject: false, cleanup: true, env: { ...env, LC_ALL: 'C' } });
    const state = { listening: false, stopped: false, ended: false };
    child.stdout.pipe(split2()).on('data', (line: string) => { if (mayBeOurs(line)) onLoss(); });
    const ready = isListening(child.pid, () => state.ended).then((listening) => { state.listening = listening && !state.ended; });
    void child.then(async () => {
      state.ended = true;
      const listened = state.listening;
      state.listening = false;
      await ready;
      if (!state.stopped) onEnd(listened);
    });
    child.unref();
    // a pipe keeps this process alive, too (Node makes a socket of it)
    if (child.stdout instanceof Socket) child.stdout.unref();
    return {
      get listening() { return state.listening; },
      ready,
      stop: () => {
        state.stopped = true;
        child.kill('SIGTERM');
      },
    };
  };
}

/** Waits for its socket to be in a multicast group. In /proc/net/netlink: socket, protocol (12: netfilter), port id (the pid), groups, … */
async function isListening(pid: number | undefined, ended: () => boolean): Promise<boolean> {
  const deadline = performance.now() + listeningMs;
  while (pid !== undefined && !ended() && performance.now() < deadline) {
    const lines = await readFile(`/proc/${pid}/net/netlink`, 'utf8').catch(() => '');
    if (lines.split('\n').map((line) => line.trim().split(/\s+/)).some(([, protocol, port, groups = '']) => protocol === '12' && port === String(pid) && Number.parseInt(groups, 16) !== 0)) return true;
    await sleep(2);
  }
  return false;
}

/** iptables-legacy has no events. */
export const noWatch: StartWatch = () => ({ listening: false, ready: Promise.resolve(), stop: () => undefined });
