import type { Gate, TrafficCounters } from '../core/ports.js';
import { addressSet, anySet, chainPrefix, countChain, gateSet, guardChain, ownSet, remoteSet } from './names.js';
import { onlyTunnel, type Plan } from './plan.js';
import { formatNet, type Family } from '../core/prefix.js';
import type { Hook, Match, ProtocolMatch, Rule, Table, TableName, Verdict } from './rule.js';

/** The guard is the first to come and the last to go: `iptables-restore` commits table by table, in this order. */
const tableOrder: readonly TableName[] = ['mangle', 'raw', 'filter', 'nat'];

/** What of ours one table has, as `iptables-save` prints it. */
export interface FoundTable {
  readonly table: string;
  readonly chains: readonly string[];
  /** The rules in other chains that lead into ours, without the `-A`. */
  readonly jumps: readonly string[];
}

/** Reads the output of `iptables-save`; only our own is kept. */
export function parseSave(text: string): readonly FoundTable[] {
  const tables: { table: string; chains: string[]; jumps: string[] }[] = [];
  for (const line of text.split('\n')) {
    const current = tables.at(-1);
    if (line.startsWith('*')) tables.push({ table: line.slice(1), chains: [], jumps: [] });
    else if (line.startsWith(`:${chainPrefix}`)) current?.chains.push(line.slice(1).split(' ', 1)[0] ?? '');
    else if (line.startsWith('-A ') && !line.startsWith(`-A ${chainPrefix}`) && (line.includes(` -j ${chainPrefix}`) || line.includes(` -g ${chainPrefix}`))) current?.jumps.push(line.slice(3));
  }
  return tables.filter(({ chains, jumps }) => chains.length + jumps.length > 0);
}

/** Whether all chains of one family have as many rules as planned, and all of the system's that lead into ours do. */
export function stands(plan: Plan, family: Family, saved: string): boolean {
  const tables = plan.tables.get(family);
  if (tables === undefined) return true;
  const counts = new Map<string, number>();
  let table = '';
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const chain = /^-A (\S+) /.exec(line)?.[1];
    if (chain === undefined || !(line.includes(` -j ${chainPrefix}`) || chain.startsWith(chainPrefix))) continue;
    counts.set(`${table} ${chain}`, (counts.get(`${table} ${chain}`) ?? 0) + 1);
  }
  return tableOrder.every((name) => {
    const { hooks, chains } = tables[name];
    const systems = hooks.every(({ at }) => counts.get(`${name} ${at}`) === hooks.filter((hook) => hook.at === at).length);
    return systems && [...chains].every(([chain, rules]) => (counts.get(`${name} ${chain}`) ?? 0) === rules.length);
  });
}

/**
 * The input of `iptables-restore --noflush` that brings one family to the plan, whatever is there: each table in one
 * transaction, in which our chains are refilled and our rules in the system's chains are put first.
 */
export function renderInstall(plan: Plan, family: Family, found: readonly FoundTable[], matchGate: MatchGate = inGateSet): string {
  const tables = plan.tables.get(family);
  if (tables === undefined) return renderRemoval(found);
  const leftOver = found.filter(({ table }) => !tableOrder.some((name) => name === table));
  return tableOrder.map((name) => renderTable(name, tables[name], { plan, family, matchGate }, found.find(({ table }) => table === name))).join('') + renderRemoval(leftOver);
}

/** The input that takes everything of ours away, the guard last. */
export function renderRemoval(found: readonly FoundTable[]): string {
  const order = (table: string): number => tableOrder.findIndex((name) => name === table);
  return [...found]
    .sort((a, b) => order(b.table) - order(a.table))
    .map(({ table, chains, jumps }) =>
      [`*${table}`, ...chains.map((chain) => `:${chain} - [0:0]`), ...jumps.map((jump) => `-D ${jump}`), ...chains.map((chain) => `-X ${chain}`), 'COMMIT', ''].join('\n'),
    )
    .join('');
}

/** What a rule says to match what is this tunnel's (`own` matches that) while its gate is `gate`. */
export type MatchGate = (id: string, gate: Gate, own: readonly string[]) => readonly string[];

/** By a list of the tunnel's own sets that is full while the gate is on. */
export const inGateSet: MatchGate = (id, gate) => inSet(gateSet(id, gate), 'dst');

interface Context {
  readonly plan: Plan;
  readonly family: Family;
  readonly matchGate: MatchGate;
}

function renderTable(name: TableName, table: Table, context: Context, found: FoundTable | undefined): string {
  const stale = found?.chains.filter((chain) => !table.chains.has(chain)) ?? [];
  const line = (chain: string, rule: Rule): string => [chain, ...rule.if.flatMap((match) => renderMatch(match, context)), ...renderVerdict(rule.then, context)].join(' ');
  const hooks = [...new Set<Hook>(table.hooks.map(({ at }) => at))];
  return [
    `*${name}`,
    ...[...table.chains.keys(), ...stale].map((chain) => `:${chain} - [0:0]`),
    ...(found?.jumps ?? []).map((jump) => `-D ${jump}`),
    ...hooks.flatMap((hook) => table.hooks.filter(({ at }) => at === hook).map(({ rule }, index) => line(`-I ${hook} ${index + 1}`, rule))),
    ...[...table.chains].flatMap(([chain, rules]) => rules.map((rule) => line(`-A ${chain}`, rule))),
    ...stale.map((chain) => `-X ${chain}`),
    'COMMIT',
    '',
  ].join('\n');
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function renderMatch(match: Match, { plan, family, matchGate }: Context): readonly string[] {
  if ('mark' in match) return ['-m', 'mark', '--mark', `${hex(match.mark)}/${hex(plan.marks.mask)}`];
  if ('gate' in match) return matchGate(match.to.id, match.gate, inSet(ownSet(match.to.id, family), 'dst'));
  if ('to' in match) return inSet(setName(match.to, plan, family), 'dst');
  if ('from' in match) return inSet(setName(match.from, plan, family), 'src');
  if ('notKept' in match) return ['-m', 'set', '!', '--match-set', addressSet(match.notKept.id, family), 'src'];
  if ('toType' in match) return ['-m', 'addrtype', '--dst-type', match.toType.toUpperCase()];
  if ('fromLocal' in match) return ['-m', 'addrtype', '--src-type', 'LOCAL'];
  if ('net' in match) return [match.of === 'source' ? '-s' : '-d', formatNet(match.net)];
  if ('in' in match) return ['-i', match.in.replace(/\*$/, '+')];
  if ('notIn' in match) return ['!', '-i', match.notIn];
  if ('out' in match) return ['-o', match.out];
  if ('protocol' in match) return renderProtocol(match, family);
  if ('udp' in match) return ['-p', 'udp', '-m', 'udp', '--sport', String(match.udp.source), '--dport', String(match.udp.destination)];
  const type = family === 4 ? ['-p', 'icmp', '-m', 'icmp', '--icmp-type', String(match.icmp)] : ['-p', 'ipv6-icmp', '-m', 'icmp6', '--icmpv6-type', String(match.icmp)];
  return match.hopLimit === undefined ? type : [...type, '-m', family === 4 ? 'ttl' : 'hl', family === 4 ? '--ttl-eq' : '--hl-eq', String(match.hopLimit)];
}

function renderProtocol({ protocol, ports }: ProtocolMatch, family: Family): readonly string[] {
  const name = protocol === 'icmp' && family === 6 ? 'ipv6-icmp' : protocol;
  return ['-p', name, ...(ports === undefined ? [] : ['-m', name, ports.of === 'source' ? '--sport' : '--dport', `${ports.first}:${ports.last}`])];
}

const inSet = (name: string, direction: 'dst' | 'src'): readonly string[] => ['-m', 'set', '--match-set', name, direction];

function setName(whose: 'any' | 'remote' | { readonly id: string }, plan: Plan, family: Family): string {
  const only = onlyTunnel(plan.tunnels, family);
  if (whose === 'any') return only === undefined ? anySet(family) : ownSet(only.id, family);
  return whose === 'remote' ? remoteSet(family) : ownSet(whose.id, family);
}

function renderVerdict(verdict: Verdict, { plan, family }: Context): readonly string[] {
  switch (verdict.do) {
    case 'return':
      return ['-j', 'RETURN'];
    case 'drop':
      return ['-j', 'DROP'];
    case 'count':
      return [];
    case 'masquerade':
      return ['-j', 'MASQUERADE'];
    case 'reset':
      return ['-j', 'REJECT', '--reject-with', 'tcp-reset'];
    case 'prohibit':
      return ['-j', 'REJECT', '--reject-with', family === 4 ? 'icmp-admin-prohibited' : 'icmp6-adm-prohibited'];
    case 'goto':
      return ['-g', verdict.chain];
    case 'jump':
      return ['-j', verdict.chain];
    case 'queue':
      return ['-j', 'NFQUEUE', '--queue-num', String(verdict.queue)];
    case 'mark':
      return ['-j', 'MARK', '--set-xmark', `${hex(verdict.mark)}/${hex(plan.marks.mask)}`];
  }
}

/** Packets per tunnel, from `iptables-save -c -t mangle`; both families may follow one another. */
export function parseCounters(plan: Plan, text: string): ReadonlyMap<string, TrafficCounters> {
  const out = new Map<string, number>();
  const incoming = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, packets = '0', chain = '', rule = ''] = /^\[(\d+):\d+\] -A (\S+) (.*)$/.exec(line) ?? [];
    // what returns from a chain of counts, or by more than the device from a guard's, is ignored
    const counts = chain === countChain || chain.startsWith(`${countChain}-`);
    const [into, key] = counts ? [incoming, /--match-set (\S+)-[46] src$/.exec(rule)?.[1]] : [out, /^-o \S+ -j RETURN$/.test(rule) ? chain : undefined];
    if (key !== undefined) into.set(key, (into.get(key) ?? 0) + Number(packets));
  }
  return new Map(plan.tunnels.map(({ id, tunnel }) => [tunnel.name, { out: out.get(guardChain(id)) ?? 0, in: incoming.get(ownSet(id, 4).slice(0, -2)) ?? 0 }]));
}
