import { readdir, readFile, readlink } from 'node:fs/promises';
import { systemError, type NfQueueError, type QueueOwner } from './errors.js';
import { native, type NativeFailure } from './native.js';
import type { Settings } from './options.js';

const EPERM = 1;
const ENOENT = 2;
const EBUSY = 16;
const EOPNOTSUPP = 95;
const NETLINK_NETFILTER = '12';
const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

/** Rows of a file below /proc/net, split at blanks. */
function rows(netns: number, name: string): string[][] {
  const text = native.readNet(netns, name);
  return typeof text === 'string' ? text.split('\n').map((line) => line.trim().split(/\s+/)) : [];
}

/** Netlink port id of the queue's owner, from the kernel's list of queues. */
function ownerPort(settings: Settings): string | undefined {
  return rows(settings.netns, 'netfilter/nfnetlink_queue').find(([num]) => num === String(settings.num))?.[1];
}

/** Inode of the netlink socket with that port id: columns sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode. */
function socketInode(settings: Settings, port: string): string | undefined {
  return rows(settings.netns, 'netlink').find((row) => row[1] === NETLINK_NETFILTER && row[2] === port)?.[9];
}

async function holdsSocket(pid: string, link: string): Promise<boolean> {
  // processes end, and may not be ours to look into
  const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const name of names) {
    if ((await readlink(`/proc/${pid}/fd/${name}`).catch(() => '')) === link) return true;
  }
  return false;
}

async function findOwner(settings: Settings, port: string): Promise<QueueOwner | undefined> {
  const inode = socketInode(settings, port);
  if (inode === undefined) return undefined;
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  // the port id of a process's first netlink socket is its process id: look there first
  pids.sort((a, b) => Number(b === port) - Number(a === port));
  for (const pid of pids) {
    if (!(await holdsSocket(pid, `socket:[${inode}]`))) continue;
    const command = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
    return { pid: Number(pid), command };
  }
  return undefined;
}

async function hasCapability(bit: bigint): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> bit) & 1n) === 1n;
}

async function hintFor(failure: NativeFailure, settings: Settings): Promise<string | undefined> {
  if (failure.syscall === 'setns') {
    if (failure.errno !== EPERM) return 'netns has to be an open descriptor of a network namespace, such as /run/netns/NAME';
    const has = await hasCapability(CAP_SYS_ADMIN);
    return `entering another network namespace needs CAP_SYS_ADMIN${has ? ' in the user namespace that owns it' : ', which this process lacks'}`;
  }
  if (failure.errno === EPERM) {
    const has = await hasCapability(CAP_NET_ADMIN);
    return `NFQUEUE needs CAP_NET_ADMIN${has ? ' in the user namespace that owns the network namespace' : ', which this process lacks: run as root, or give it by setcap or AmbientCapabilities='}`;
  }
  if (failure.errno === EOPNOTSUPP) {
    const asked = Object.entries(settings.flags).filter(([, on]) => on).map(([name]) => name).join(', ');
    return `the kernel does not know all of these flags, or their module is not loaded: ${asked}`;
  }
  if (failure.errno === ENOENT || failure.syscall === 'socket') return 'the kernel has no nfnetlink_queue: try modprobe nfnetlink_queue';
  return undefined;
}

/** Says why a queue could not be opened: who has it, which capability is missing. */
export async function explainOpenFailure(failure: NativeFailure, settings: Settings): Promise<NfQueueError> {
  const what = `queue ${settings.num} not opened`;
  const port = failure.syscall === 'bind queue' && [EPERM, EBUSY].includes(failure.errno) ? ownerPort(settings) : undefined;
  if (port !== undefined) {
    // the kernel says EPERM of a queue that somebody else has bound
    const owner = await findOwner(settings, port);
    const who = owner === undefined ? `a process that cannot be seen from here (netlink port ${port})` : `${owner.command}, process ${owner.pid}`;
    return systemError(EBUSY, failure.syscall, what, { hint: `the queue belongs to ${who}; a queue has one owner`, owner });
  }
  return systemError(failure.errno, failure.syscall, what, { hint: await hintFor(failure, settings) });
}
