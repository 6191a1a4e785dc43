import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { fits, inodeOf, tablesOf, type SocketQuery } from './socket-table.js';
import { othersFirst } from './turn.js';

export type { SocketQuery };

export interface ProcessName {
  readonly pid: number;
  /** What the kernel calls the program (comm: 15 characters at most), printable. */
  readonly program: string;
}

export interface Limits {
  /** The event loop is not kept for longer than about this at once. */
  readonly sliceMs: number;
  /** Then it is given up. */
  readonly totalMs: number;
  /** File descriptors that are looked at. */
  readonly descriptors: number;
}

const LIMITS: Limits = { sliceMs: 0.5, totalMs: 200, descriptors: 20_000 };
const CHUNK_BYTES = 64 * 1024;

/**
 * Which process sent a packet that this host made: by its socket in /proc/net and the descriptors in /proc/PID/fd. While
 * a packet is held its sender is still there, as a rule. Best effort within the limits: undefined if the socket isn't
 * found, can't be told from others, or belongs to a process that we may not look at. Never rejects. Whatever else there is
 * to do goes first, before it starts and after every slice: the dial, and verdicts.
 */
export function processOf(query: SocketQuery, limits: Limits = LIMITS): Promise<ProcessName | undefined> {
  // One at a time: a hundred packets that wake a hundred tunnels want their verdicts first.
  const found = last.then(() => search(query, limits));
  last = found;
  return found;
}

let last: Promise<unknown> = Promise.resolve();

async function search(query: SocketQuery, limits: Limits): Promise<ProcessName | undefined> {
  try {
    const budget = new Budget(limits);
    const inode = await socketOf(query, budget);
    return inode === undefined ? undefined : await ownerOf(`socket:[${inode}]`, query.uid, budget);
  } catch {
    return undefined; // /proc is not there, or not for us
  }
}

class Budget {
  readonly #limits: Limits;
  readonly #start = performance.now();
  #sliceEnd = 0;
  #descriptors = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Lets others go first when the slice is over; resolves with whether there is anything left. */
  async left(): Promise<boolean> {
    if (performance.now() >= this.#sliceEnd) {
      await othersFirst(this.#limits.totalMs);
      this.#sliceEnd = performance.now() + this.#limits.sliceMs;
    }
    return this.#descriptors < this.#limits.descriptors && performance.now() - this.#start < this.#limits.totalMs;
  }

  spend(descriptors: number): void {
    this.#descriptors += descriptors;
  }
}

/** The inode of the one socket that fits best. */
async function socketOf(query: SocketQuery, budget: Budget): Promise<string | undefined> {
  let best = { fit: 0, inodes: new Set<string>() };
  for (const table of tablesOf(query)) {
    for await (const line of linesOf(`/proc/net/${table}`, budget)) {
      const fit = fits(line, query, table);
      if (fit === 0 || fit < best.fit) continue;
      if (fit > best.fit) best = { fit, inodes: new Set() };
      best.inodes.add(inodeOf(line));
    }
  }
  // Two ping programs look the same here: a guess could only be wrong.
  return best.inodes.size === 1 ? [...best.inodes][0] : undefined;
}

/** The lines of a table that may be long, while the budget lasts; none if there is no such table. */
async function* linesOf(path: string, budget: Budget): AsyncGenerator<string> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return; // no IPv6, or a kernel without ping sockets
  }
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let rest = '';
    while (await budget.left()) {
      const bytes = readSync(file, chunk);
      if (bytes === 0) break;
      const lines = (rest + chunk.toString('latin1', 0, bytes)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } finally {
    closeSync(file);
  }
}

/** Processes of the packet's user first, and young ones before old ones: they are the likely ones. */
async function ownerOf(link: string, uid: number | undefined, budget: Budget): Promise<ProcessName | undefined> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).reverse();
  const others: string[] = [];
  for (const pid of pids) {
    if (!(await budget.left())) return undefined;
    if (uid !== undefined && userOf(pid) !== uid) others.push(pid);
    else if (holds(pid, link, budget)) return nameOf(pid);
  }
  for (const pid of others) {
    if (!(await budget.left())) return undefined;
    if (holds(pid, link, budget)) return nameOf(pid);
  }
  return undefined;
}

function holds(pid: string, link: string, budget: Budget): boolean {
  try {
    const descriptors = readdirSync(`/proc/${pid}/fd`);
    budget.spend(descriptors.length);
    return descriptors.some((descriptor) => isLink(`/proc/${pid}/fd/${descriptor}`, link));
  } catch {
    return false; // it has ended, or is not for us to see
  }
}

function isLink(path: string, link: string): boolean {
  try {
    return readlinkSync(path) === link;
  } catch {
    return false; // closed meanwhile
  }
}

function userOf(pid: string): number | undefined {
  try {
    return statSync(`/proc/${pid}`).uid;
  } catch {
    return undefined;
  }
}

/** A process names itself as it likes: only what can be printed. */
function nameOf(pid: string): ProcessName {
  return { pid: Number(pid), program: readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd().replace(/[^\x20-\x7e]/g, '?') };
}
