import { execa } from 'execa';
import { DaemonError } from '../core/errors.js';
import type { Forget, TrackedConnection } from '../core/established.js';
import type { Family } from '../core/prefix.js';

export interface ConntrackOptions {
  /** A command that is given the program and its arguments, for tests: `['ip', 'netns', 'exec', NAME]`. */
  readonly prefix?: readonly string[];
}

/** The kernel's table of connections, by the program `conntrack`. Rejects with PROGRAM_MISSING, NOT_PERMITTED or FIREWALL_FAILED. */
export class Conntrack {
  readonly #prefix: readonly string[];

  constructor({ prefix = [] }: ConntrackOptions = {}) {
    this.#prefix = prefix;
  }

  /** What is tracked now; `offloaded`: what flowtables forward. */
  async list(family: Family, { offloaded = false } = {}): Promise<readonly TrackedConnection[]> {
    const text = await this.#run(['-L', '-f', name(family), ...(offloaded ? OFFLOADED : [])]);
    return text.split('\n').flatMap((line) => parseConnection(line, family) ?? []);
  }

  /** Resolves with how many were forgotten. */
  async forget({ family, source, destination, replySource, replyDestination, offloaded }: Forget): Promise<number> {
    const which = Object.entries({ '-s': source, '-d': destination, '-r': replySource, '-q': replyDestination }).flatMap(([option, value]) => (value === undefined ? [] : [option, value]));
    const text = await this.#run(['-D', '-f', name(family), ...which, ...(offloaded === true ? OFFLOADED : [])]);
    return text.split('\n').filter((line) => line !== '').length;
  }

  async #run(args: readonly string[]): Promise<string> {
    const [file = 'conntrack', ...rest] = [...this.#prefix, 'conntrack', ...args];
    const { stdout, stderr, exitCode, code } = await execa(file, rest, { stdin: 'ignore', env: { LC_ALL: 'C' }, reject: false, timeout: TIMEOUT_MS, maxBuffer: MOST_BYTES });
    // It ends with 1, too, when there was nothing to forget.
    if (exitCode === 0 || stderr.includes(' 0 flow entries ')) return stdout;
    // ENOENT from us, or from the command in `prefix`
    if (code === 'ENOENT' || stderr.includes('No such file or directory')) throw new DaemonError('PROGRAM_MISSING', 'conntrack was not found', { hint: 'install it; in Debian: apt install conntrack' });
    const said = stderr.replace(/^conntrack v\S+ \(conntrack-tools\): /, '').trim();
    if (/not permitted|superuser|must be root/i.test(said)) throw new DaemonError('NOT_PERMITTED', `conntrack is not permitted: ${said}`, { hint: 'run as root, or with CAP_NET_ADMIN' });
    throw new DaemonError('FIREWALL_FAILED', `conntrack: ${said}`, { place: ['conntrack', ...args].join(' ') });
  }
}

const OFFLOADED: readonly string[] = ['-u', 'OFFLOAD'];
const TIMEOUT_MS = 60_000;
/** A table of a million connections. */
const MOST_BYTES = 512 << 20;

const name = (family: Family): string => `ipv${family}`;

/** A line of `conntrack -L`: two times `src= dst=`, the first packet's and the replies', and flags in brackets. */
export function parseConnection(line: string, family: Family): TrackedConnection | undefined {
  const [source, replySource] = [...line.matchAll(/ src=(\S+)/g)].map(([, address]) => address);
  const [destination, replyDestination] = [...line.matchAll(/ dst=(\S+)/g)].map(([, address]) => address);
  if (source === undefined || destination === undefined || replySource === undefined || replyDestination === undefined) return undefined;
  return { family, source, destination, replySource, replyDestination, offloaded: /\[(HW_)?OFFLOAD\]/.test(line) };
}
