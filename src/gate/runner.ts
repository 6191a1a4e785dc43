import { spawn } from 'node:child_process';
import { execa, ExecaError } from 'execa';
import { DaemonError, type ErrorCode } from '../core/errors.js';

/** How programs are started; for tests, in another network namespace. */
export interface ExecOptions {
  /** A command that is given the program and its arguments, for example `['ip', 'netns', 'exec', NAME]`. */
  readonly prefix?: readonly string[];
  /** The file of the network namespace that `prefix` enters (`/run/netns/NAME`): for what is done without a program. */
  readonly netns?: string;
  /** The folder `/proc/PID/net` of a process in there: for what is done by writing a file. */
  readonly procNet?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program with an input and resolves with its standard output; rejects with a DaemonError. */
export type Runner = (program: string, args: readonly string[], input?: string) => Promise<string>;

/** A program that was started ahead of its time and waits for its input. */
export interface ReadyProgram {
  /** Gives it its input; resolves when it has ended well, rejects as a Runner does. */
  finish(input: string): Promise<void>;
  /** It ends without having done anything. */
  cancel(): void;
}

export type ReadyRunner = (program: string, args: readonly string[]) => ReadyProgram;

const packages: Readonly<Record<string, string>> = { ip: 'iproute2', ipset: 'ipset', nft: 'nftables' };

/** A program hangs only if another one holds a lock for ever. */
const timeoutMs = 60_000;

export function createRunner({ prefix = [], env = {} }: ExecOptions = {}): Runner {
  return async (program, args, input) => {
    const [file = program, ...rest] = [...prefix, program, ...args];
    try {
      const result = await execa(file, rest, { ...(input === undefined ? { stdin: 'ignore' as const } : { input }), env: { ...env, LC_ALL: 'C' }, timeout: timeoutMs, stripFinalNewline: false });
      return result.stdout;
    } catch (cause) {
      if (!(cause instanceof ExecaError)) throw cause;
      throw failure(program, args, input, { code: cause.code, stderr: String(cause.stderr), shortMessage: cause.shortMessage });
    }
  };
}

/** Starts programs ahead: starting one blocks us for milliseconds, writing to one that waits does not. */
export function createReadyRunner({ prefix = [], env = {} }: ExecOptions = {}): ReadyRunner {
  return (program, args) => {
    const [file = program, ...rest] = [...prefix, program, ...args];
    // Bare: what execa does around a process takes a millisecond, just when packets wait for their verdicts.
    const child = spawn(file, rest, { stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, ...env, LC_ALL: 'C' } });
    let stderr = '';
    const failed = new Promise<Failed | undefined>((resolve) => {
      child.once('error', (cause: NodeJS.ErrnoException) => { resolve({ code: cause.code, stderr, shortMessage: cause.message }); });
      child.once('close', (status, signal) => { resolve(status === 0 ? undefined : { code: undefined, stderr, shortMessage: `${program} ended with ${signal ?? `status ${status ?? 'unknown'}`}` }); });
    });
    // Without descriptors for its pipes there is no program, and no pipe.
    const { stdin, stderr: complaints } = child as Partial<typeof child>;
    stdin?.on('error', () => undefined); // it ended before: the exit status tells why
    complaints?.on('data', (data: Buffer) => { stderr += data.toString(); });
    return {
      finish: async (input) => {
        stdin?.end(input);
        const problem = await failed;
        if (problem) throw failure(program, args, input, problem);
      },
      cancel: () => { stdin?.end(); },
    };
  };
}

/** What is told of a program that failed; ExecaError has it, too. */
interface Failed {
  readonly code?: string | undefined;
  readonly stderr: string;
  readonly shortMessage: string;
}

function failure(program: string, args: readonly string[], input: string | undefined, error: Failed): DaemonError {
  const { stderr } = error;
  const command = [program, ...args].join(' ');
  // ENOENT from spawn itself, or from the command in `prefix`
  if (error.code === 'ENOENT' || /(exec of ".*" failed|failed to execute).*No such file/.test(stderr)) {
    return new DaemonError('PROGRAM_MISSING', `${program} was not found`, { cause: error, place: command, hint: `install it; in Debian: apt install ${packages[program] ?? 'iptables'}` });
  }
  if (/Operation not permitted|Permission denied|you must be root/.test(stderr)) {
    return new DaemonError('NOT_PERMITTED', `${command} is not permitted`, { cause: error, hint: `run as root, or with CAP_NET_ADMIN${/^ip6?tables/.test(program) ? ' and CAP_NET_RAW' : ''}` });
  }
  const said = stderr.trim() === '' ? error.shortMessage : stderr.trim().split('\n').slice(0, 5).join('; ');
  const code: ErrorCode = program === 'ip' ? 'ROUTE_FAILED' : 'FIREWALL_FAILED';
  return new DaemonError(code, said, { cause: error, place: offendingLine(input, stderr) ?? command });
}

/** iptables-restore says `line 3` or `line: 3`, ipset `line 3`, nft says `:3:`, `ip -batch` says `-:3`. */
function offendingLine(input: string | undefined, stderr: string): string | undefined {
  const line = /line:? (\d+)|-:(\d+)|:(\d+):\d+/.exec(stderr);
  const number = line?.slice(1).find(Boolean);
  return number === undefined ? undefined : input?.split('\n')[Number(number) - 1];
}
