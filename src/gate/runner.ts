import { execa, ExecaError } from 'execa';
import { DaemonError, type ErrorCode } from '../core/errors.js';

/** How programs are started; for tests, in another network namespace. */
export interface ExecOptions {
  /** A command that is given the program and its arguments, for example `['ip', 'netns', 'exec', NAME]`. */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program with an input and resolves with its standard output; rejects with a DaemonError. */
export type Runner = (program: string, args: readonly string[], input?: string) => Promise<string>;

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
      throw failure(program, args, input, cause as Failed);
    }
  };
}

/** With text output, which is what we ask for. */
type Failed = ExecaError & { readonly stderr: string };

function failure(program: string, args: readonly string[], input: string | undefined, error: Failed): DaemonError {
  const { stderr } = error;
  const command = [program, ...args].join(' ');
  // ENOENT from spawn itself, or from the command in `prefix`
  if (error.code === 'ENOENT' || /(exec of ".*" failed|failed to execute).*No such file/.test(stderr)) {
    return new DaemonError('PROGRAM_MISSING', `${program} was not found`, { cause: error, place: command, hint: `install it; in Debian: apt install ${packages[program] ?? 'iptables'}` });
  }
  if (/Operation not permitted|Permission denied|you must be root/.test(stderr)) {
    return new DaemonError('NOT_PERMITTED', `${command} is not permitted`, { cause: error, hint: 'run as root, or with CAP_NET_ADMIN' });
  }
  const said = stderr.trim() === '' ? error.shortMessage : stderr.trim().split('\n').slice(0, 5).join('; ');
  const code: ErrorCode = program === 'ip' ? 'ROUTE_FAILED' : 'FIREWALL_FAILED';
  return new DaemonError(code, said, { cause: error, place: offendingLine(input, stderr) ?? command });
}

/** iptables-restore and ipset say `line 3`, nft says `:3:`, `ip -batch` says `-:3`. */
function offendingLine(input: string | undefined, stderr: string): string | undefined {
  const line = /line (\d+)|-:(\d+)|:(\d+):\d+/.exec(stderr);
  const number = line?.slice(1).find(Boolean);
  return number === undefined ? undefined : input?.split('\n')[Number(number) - 1];
}
