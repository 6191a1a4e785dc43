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

/** Where the kernel has thrown packets away so far: `ovpn-office tx_dropped`, `UDP RcvbufErrors` … with their counts. */
export async function kernelDrops(netns: Netns): Promise<ReadonlyMap<string, number>> {
  const links = JSON.parse(await netns.ip('-j -s link')) as { ifname: string; stats64: Record<'rx' | 'tx', { dropped: number }> }[];
  const devices = links.flatMap(({ ifname, stats64 }): [string, number][] => [[`${ifname} tx_dropped`, stats64.tx.dropped], [`${ifname} rx_dropped`, stats64.rx.dropped]]);
  const [names = [], values = []] = (await netns.run('cat', ['/proc/net/snmp'])).split('\n').filter((line) => line.startsWith('Udp:')).map((line) => line.split(' '));
  const sockets = names.map((name, i): [string, number] => [`UDP ${name}`, Number(values[i])]).filter(([name]) => name.endsWith('Errors'));
  return new Map([...devices, ...sockets].filter(([, count]) => count > 0));
}

/** The names of the devices in the namespace that a process is in. */
export function deviceNames(pid: number): string[] {
  return readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2).filter(Boolean).map((line) => line.split(':')[0]!.trim());
}

/**
 * Firewall, sets, routes, policy rules and the addresses of `lo`, one line each, without counters and without what
 * iptables leaves empty after any use.
 */
export async function networkState(netns: Netns): Promise<readonly string[]> {
  const parts: readonly (readonly [string, Promise<string>])[] = [
    ['iptables', netns.run('iptables-save')],
    ['ip6tables', netns.run('ip6tables-save')],
    ['ipset', netns.run('ipset', ['save'])],
    ['nft', netns.run('nft', ['list', 'tables']).then(withoutIptables)],
    ['rule', netns.ip('-4 rule')],
    ['rule6', netns.ip('-6 rule')],
    ['route', netns.ip('-4 route show table all')],
    ['route6', netns.ip('-6 route show table all').then(withoutLinkLocal)],
    ['lo', netns.ip('-o addr show dev lo')],
  ];
  const lines = await Promise.all(parts.map(async ([title, text]) => (await text).split('\n').filter(telling).map((line) => `${title}: ${line}`)));
  return lines.flat();
}

/** Routes without those that the kernel makes for link-local addresses: on a busy machine it is sure of an address only after seconds. */
export function withoutLinkLocal(routes: string): string {
  return routes.split('\n').filter((line) => !/^((local|anycast|multicast) )?(fe80|ff00):.* proto kernel /.test(line)).join('\n');
}

/** What two states differ in: `+ ` what came, `- ` what went. */
export function changes(before: readonly string[], after: readonly string[]): string[] {
  const [had, has] = [new Set(before), new Set(after)];
  return [...after.filter((line) => !had.has(line)).map((line) => `+ ${line}`), ...before.filter((line) => !has.has(line)).map((line) => `- ${line}`)];
}

function telling(line: string): boolean {
  return line !== '' && !/^#|^\*|^COMMIT|^:[A-Z]+ ACCEPT /.test(line);
}

/** `nft list tables` without those that iptables-save and ip6tables-save tell about. */
export function withoutIptables(tables: string): string {
  return tables.replace(/^table ip6? (filter|nat|mangle|raw|security)$/gm, '');
}
