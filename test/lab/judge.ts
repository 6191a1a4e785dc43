import { readdirSync, readFileSync } from 'node:fs';
import type { Netns } from './netns.js';

/** How often the threads of a process have been on a processor and left it, voluntarily or not. */
export function contextSwitches(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.reduce((sum, task) => {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
    return [...status.matchAll(/ctxt_switches:\s+(\d+)/g)].reduce((subtotal, [, count]) => subtotal + Number(count), sum);
  }, 0);
}

/** The processes of that name in the namespace. */
export async function processesNamed(netns: Netns, name: string): Promise<number[]> {
  return (await netns.pids()).filter((pid) => commandOf(pid) === name);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // it has ended meanwhile
  }
}

/** One line of /proc/net/netfilter/nfnetlink_queue (net/netfilter/nfnetlink_queue.c, seq_show). */
export interface QueueLine {
  readonly queue: number;
  readonly held: number;
  readonly queueDropped: number;
  readonly userDropped: number;
  /** The id that the last packet got: it moves with every packet that passes user space. */
  readonly lastId: number;
}

/** The NFQUEUEs of the namespace that a process is in. */
export function queues(pid: number): QueueLine[] {
  return parseQueues(readFileSync(`/proc/${pid}/net/netfilter/nfnetlink_queue`, 'utf8'));
}

export function parseQueues(text: string): QueueLine[] {
  return text.split('\n').filter(Boolean).map((line) => {
    const [queue = 0, , held = 0, , , queueDropped = 0, userDropped = 0, lastId = 0] = line.trim().split(/\s+/).map(Number);
    return { queue, held, queueDropped, userDropped, lastId };
  });
}

/** The names of the devices in the namespace that a process is in. */
export function deviceNames(pid: number): string[] {
  return readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2).filter(Boolean).map((line) => line.split(':')[0]!.trim());
}

/**
 * Firewall, sets, routes, policy rules and the addresses of `lo`, without counters and without the empty tables that
 * iptables leaves after any use: two equal texts mean that nothing was left behind.
 */
export async function networkState(netns: Netns): Promise<string> {
  const parts = await Promise.all([
    netns.run('iptables-save'),
    netns.run('ip6tables-save'),
    netns.run('ipset', ['save']),
    netns.run('nft', ['list', 'ruleset']).then(withoutEmptyChains),
    netns.ip('-4 rule'),
    netns.ip('-6 rule'),
    netns.ip('-4 route show table all'),
    netns.ip('-6 route show table all'),
    netns.ip('-o addr show dev lo'),
  ]);
  const titles = ['iptables', 'ip6tables', 'ipset', 'nft', 'rule 4', 'rule 6', 'route 4', 'route 6', 'lo'];
  return parts.map((part, i) => `== ${titles[i]!}\n${part.split('\n').filter(telling).join('\n')}`).join('\n');
}

function telling(line: string): boolean {
  return line !== '' && !/^#|^\*|^COMMIT|^:[A-Z]+ ACCEPT /.test(line);
}

/** An nft listing without the base chains that have no rule, and without the tables that have no other chain. */
export function withoutEmptyChains(listing: string): string {
  const withoutChains = listing.replace(/\tchain \S+ \{\n\t\ttype [^\n]*policy accept;\n\t\}\n/g, '');
  return withoutChains.replace(/table [^\n]*\{\n\s*\}\n?/g, '').replace(/^# Warning[^\n]*\n/gm, '');
}
