import type { Gate, TrafficCounters } from '../core/ports.js';
import { addressSet, anySet, chainPrefix, domainSet, gateList, ownSet, remoteSet } from './names.js';
import { onlyTunnel, type Plan } from './plan.js';
import { formatNet, type Family } from '../core/prefix.js';
import type { PlannedTunnel } from './planned-tunnel.js';
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
export function stands(plan: Plan, family: Family, saved: string, matchGate: MatchGate = inGateList): boolean {
  return standing(plan, family, saved, matchGate).every(({ hooks, chains }) => hooks && chains);
}

interface Standing {
  readonly name: TableName;
  readonly table: Table;
  /** Whether the system's chains lead into ours as planned. */
  readonly hooks: boolean;
  readonly chains: boolean;
}

function standing(plan: Plan, family: Family, saved: string, matchGate: MatchGate): readonly Standing[] {
  const tables = plan.tables.get(family);
  if (tables === undefined) return [];
  const counts = new Map<string, number>();
  let current = '';
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) current = line.slice(1);
    const chain = /^-A (\S+) /.exec(line)?.[1];
    if (chain === undefined || !(line.includes(` -j ${chainPrefix}`) || chain.startsWith(chainPrefix))) continue;
    counts.set(`${current} ${chain}`, (counts.get(`${current} ${chain}`) ?? 0) + 1);
  }
  return tableOrder.map((name) => {
    const table = tables[name];
    const hooks = table.hooks.every(({ at }) => counts.get(`${name} ${at}`) === table.hooks.filter((hook) => hook.at === at).length);
    const chains = [...table.chains].every(([chain, rules]) => (counts.get(`${name} ${chain}`) ?? 0) === linesOf(rules, { plan, family, matchGate }).length);
    return { name, table, hooks, chains };
  });
}

/**
 * The input of `iptables-restore --noflush` that brings one family to the plan, whatever is there: each table in one
 * transaction, in which our chains are refilled and our rules in the system's chains are put first.
 */
export function renderInstall(plan: Plan, family: Family, found: readonly FoundTable[], matchGate: MatchGate = inGateList): string {
  const tables = plan.tables.get(family);
  if (tables === undefined) return renderRemoval(found);
  const leftOver = found.filter(({ table }) => !tableOrder.some((name) => name === table));
  return tableOrder.map((name) => renderTable(name, tables[name], { plan, family, matchGate }, found.find(({ table }) => table === name))).join('') + renderRemoval(leftOver);
}

/**
 * The input that brings back what `iptables-save` shows to be gone. Who took it away may still be at it, and a rule that
 * is gone when it is to be deleted fails the whole: so what stands is left alone.
 */
export function renderMend(plan: Plan, family: Family, saved: string, matchGate: MatchGate = inGateList): string {
  const found = parseSave(saved);
  return standing(plan, family, saved, matchGate)
    .filter(({ hooks, chains }) => !hooks || !chains)
    .map(({ name, table, hooks }) => {
      const context = { plan, family, matchGate };
      return hooks ? renderTable(name, { ...table, hooks: [] }, context, undefined) : renderTable(name, table, context, found.find((there) => there.table === name));
    })
    .join('');
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

/**
 * What rules say to match what belongs to these tunnels while their gate is `gate`, in as many rules as there are lines.
 * `all`: these are all tunnels of the family. `own` matches what is a tunnel's.
 */
export type MatchGate = (gate: Gate, whose: { readonly tunnels: readonly PlannedTunnel[]; readonly all: boolean; readonly family: Family }, own: (id: string) => readonly string[]) => readonly (readonly string[])[];

/** By the list of the sets of all tunnels whose gate it is; `hold`, which is asked for last, has none. */
export const inGateList: MatchGate = (gate, { tunnels, all, family }, own) => {
  const list = gate === 'hold' ? [] : inSet(gateList(gate, family), 'dst');
  return all && gate !== 'hold' ? [list] : tunnels.map(({ id }) => [...own(id), ...list]);
};

interface Context {
  readonly plan: Plan;
  readonly family: Family;
  readonly matchGate: MatchGate;
}

function renderTable(name: TableName, table: Table, context: Context, found: FoundTable | undefined): string {
  const stale = found?.chains.filter((chain) => !table.chains.has(chain)) ?? [];
  const hooks = [...new Set<Hook>(table.hooks.map(({ at }) => at))];
  return [
    `*${name}`,
    ...[...table.chains.keys(), ...stale].map((chain) => `:${chain} - [0:0]`),
    ...(found?.jumps ?? []).map((jump) => `-D ${jump}`),
    ...hooks.flatMap((hook) => table.hooks.filter(({ at }) => at === hook).flatMap(({ rule }) => linesOf([rule], context)).map(({ text }, index) => `-I ${hook} ${index + 1} ${text}`)),
    ...[...table.chains].flatMap(([chain, rules]) => linesOf(rules, context).map(({ text }) => `-A ${chain} ${text}`)),
    ...stale.map((chain) => `-X ${chain}`),
    'COMMIT',
    '',
  ].join('\n');
}

interface Line {
  readonly text: string;
  readonly counts: Rule['counts'];
}

/** Most rules are a line each. */
function linesOf(rules: readonly Rule[], context: Context): readonly Line[] {
  return rules.flatMap(({ if: matches, then, counts }) => {
    const alternatives = matches.reduce<readonly (readonly string[])[]>((before, match) => renderMatch(match, context).flatMap((words) => before.map((line) => [...line, ...words])), [[]]);
    return alternatives.map((words) => ({ text: [...words, ...renderVerdict(then, context)].join(' '), counts }));
  });
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** In as many ways as it takes rules. */
function renderMatch(match: Match, context: Context): readonly (readonly string[])[] {
  if (!('gate' in match)) return [renderPlainMatch(match, context)];
  const { plan, family, matchGate } = context;
  const { gate, of } = match;
  const tunnels = plan.tunnels.filter(({ id, families }) => families.includes(family) && (of === 'any' || id === of.id));
  return matchGate(gate, { tunnels, all: of === 'any', family }, (id) => inSet(ownSet(id, family), 'dst'));
}

function renderPlainMatch(match: Exclude<Match, { readonly gate: Gate }>, { plan, family }: Context): readonly string[] {
  if ('mark' in match) return ['-m', 'mark', '--mark', `${hex(match.mark)}/${hex(plan.marks.mask)}`];
  if ('notMark' in match) return ['-m', 'mark', '!', '--mark', `${hex(match.notMark)}/${hex(plan.marks.mask)}`];
  if ('to' in match) return inSet(setName(match.to, plan, family), 'dst');
  if ('from' in match) return inSet(setName(match.from, plan, family), 'src');
  if ('toDomain' in match) return inSet(domainSet(match.toDomain.id, family), 'dst');
  if ('notTo' in match) return ['-m', 'set', '!', '--match-set', setName(match.notTo, plan, family), 'dst'];
  if ('notKept' in match) return ['-m', 'set', '!', '--match-set', addressSet(match.notKept.id, family), 'src'];
  if ('toType' in match) return ['-m', 'addrtype', '--dst-type', match.toType.toUpperCase()];
  if ('fromLocal' in match) return ['-m', 'addrtype', '--src-type', 'LOCAL'];
  if ('net' in match) return [match.of === 'source' ? '-s' : '-d', formatNet(match.net)];
  if ('in' in match) return ['-i', wildcard(match.in)];
  if ('notIn' in match) return ['!', '-i', wildcard(match.notIn)];
  if ('out' in match) return ['-o', wildcard(match.out)];
  if ('protocol' in match) return renderProtocol(match, family);
  if ('udp' in match) return ['-p', 'udp', '-m', 'udp', '--sport', String(match.udp.source), '--dport', String(match.udp.destination)];
  const type = family === 4 ? ['-p', 'icmp', '-m', 'icmp', '--icmp-type', String(match.icmp)] : ['-p', 'ipv6-icmp', '-m', 'icmp6', '--icmpv6-type', String(match.icmp)];
  return match.hopLimit === undefined ? type : [...type, '-m', family === 4 ? 'ttl' : 'hl', family === 4 ? '--ttl-eq' : '--hl-eq', String(match.hopLimit)];
}

function renderProtocol({ protocol, ports }: ProtocolMatch, family: Family): readonly string[] {
  const name = protocol === 'icmp' && family === 6 ? 'ipv6-icmp' : protocol;
  return ['-p', name, ...(ports === undefined ? [] : ['-m', name, ports.of === 'source' ? '--sport' : '--dport', `${ports.first}:${ports.last}`])];
}

const wildcard = (device: string): string => device.replace(/\*$/, '+');

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

/** The tables with rules that count. */
export const countingTables = ['raw', 'mangle'] as const satisfies readonly TableName[];

/** Packets per tunnel of one family, from `iptables-save -c` of `countingTables`, which lists the rules of a chain as they were added. */
export function parseCounters(plan: Plan, family: Family, saved: string, matchGate: MatchGate = inGateList): ReadonlyMap<string, TrafficCounters> {
  const rules = new Map<string, string[]>();
  for (const [, packets = '0', chain = ''] of saved.matchAll(/^\[(\d+):\d+\] -A (\S+) /gm)) rules.set(chain, [...(rules.get(chain) ?? []), packets]);
  const counted = new Map<string, { in: number; out: number }>(plan.tunnels.map(({ id }) => [id, { in: 0, out: 0 }]));
  for (const [chain, planned] of countingTables.flatMap((table) => [...(plan.tables.get(family)?.[table].chains ?? [])])) {
    for (const [index, { counts }] of linesOf(planned, { plan, family, matchGate }).entries()) {
      const sums = counts === undefined ? undefined : counted.get(counts.id);
      if (counts !== undefined && sums !== undefined) sums[counts.direction] += Number(rules.get(chain)?.[index] ?? 0);
    }
  }
  return new Map(plan.tunnels.map(({ id, tunnel }) => [tunnel.name, counted.get(id) ?? { in: 0, out: 0 }]));
}
