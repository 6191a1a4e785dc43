import type { Gate, TrafficCounters } from '../core/ports.js';
import type { GateOf } from './firewall.js';
import { domainSet, isDomainSet, ownSet } from './names.js';
import { gates, onlyTunnel, type Plan } from './plan.js';
import { formatAddress, formatNet, type Family, type Net } from '../core/prefix.js';
import { matchedRanges } from './ranges.js';
import { hasDomains, type PlannedTunnel } from './planned-tunnel.js';
import type { KeptAddress } from './routes.js';
import type { Hook, Match, ProtocolMatch, Rule, Table, TableName, Verdict } from './rule.js';

/** The one table that is ours. */
export const nftTable = 'inet openvpn_ondemand';

/** Everything that we need of the kernel, for `nft --check -f -`: many a kernel has no `queue`. */
export const nftProbe = `table inet openvpn_ondemand_probe {
  set s { type ipv6_addr; flags interval; elements = { fd00::-fd00::5 }; }
  counter c { }
  chain raw { type filter hook prerouting priority -310; policy accept; fib daddr type local ip6 daddr @s counter name c queue num 1; }
  chain filter { type filter hook output priority -10; policy accept; meta mark & 0x3 == 0x1 meta l4proto tcp reject with tcp reset; }
  chain answer { reject with icmpx type admin-prohibited; }
  chain nat { type nat hook postrouting priority 90; policy accept; oifname "lo" masquerade; }
}
`;

/** What the kernel has of ours, from `nft --terse list table inet openvpn_ondemand`. */
export interface FoundNft {
  readonly chains: readonly string[];
  readonly sets: readonly string[];
  readonly counters: readonly string[];
  /** The rules of chains that have any. */
  readonly rules: ReadonlyMap<string, readonly string[]>;
}

export function parseTable(text: string): FoundNft {
  const found = { chains: [] as string[], sets: [] as string[], counters: [] as string[], rules: new Map<string, string[]>() };
  let chain: string | undefined;
  for (const line of text.split('\n')) {
    const [, kind, name = ''] = /^\t(chain|set|counter) (\S+) \{$/.exec(line) ?? [];
    if (kind === 'set') found.sets.push(name);
    else if (kind === 'counter') found.counters.push(name);
    else if (kind === 'chain') found.chains.push((chain = name));
    else if (line === '\t}') chain = undefined;
    else if (chain !== undefined && !line.startsWith('\t\ttype ')) found.rules.set(chain, [...(found.rules.get(chain) ?? []), line.trim()]);
  }
  return found;
}

/** Base chains come right before those that use the usual priorities (netfilter_ipv4.h). */
const bases: Readonly<Record<TableName, { readonly type: string; readonly priority: number }>> = {
  mangle: { type: 'filter', priority: -160 },
  raw: { type: 'filter', priority: -310 },
  filter: { type: 'filter', priority: -10 },
  nat: { type: 'nat', priority: 90 },
};

type GateMatch = Extract<Match, { readonly gate: Gate }>;

interface Context {
  readonly plan: Plan;
  readonly family: Family;
}

interface RenderedChain {
  readonly name: string;
  /** Of a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

/**
 * The input of `nft -f -` that brings the table to the plan with every gate at `hold`, in one transaction. Base
 * chains are never deleted: that would flush every held packet of the machine.
 */
export function renderNftInstall(plan: Plan, found: FoundNft | undefined, staying: GateOf = () => undefined): string {
  const chains = [...baseChains(plan), ...innerChains(plan), ...gateChains(plan, (id) => staying(id) ?? 'hold'), ...natChains(plan)];
  const sets = netSets(plan);
  const ofDomains = domainSets(plan);
  const filled = new Set((found?.sets ?? []).filter((name) => ofDomains.some((set) => set.name === name)));
  const keep = new Set([...chains.map(({ name }) => name), ...sets.map(({ name }) => name)]);
  return [
    `add table ${nftTable}`,
    ...(found === undefined ? [] : [`flush table ${nftTable}`]),
    ...(found?.chains ?? []).filter((name) => !keep.has(name)).map((name) => (name.startsWith('hook-') ? `flush chain ${nftTable} ${name}` : `delete chain ${nftTable} ${name}`)),
    ...(found?.sets ?? []).filter((name) => !filled.has(name)).map((name) => `delete set ${nftTable} ${name}`),
    ...(found?.counters ?? []).map((name) => `delete counter ${nftTable} ${name}`),
    ...sets.map(({ name, family }) => `add set ${nftTable} ${name} { type ipv${family}_addr; flags interval; }`),
    ...sets.filter(({ ranges }) => ranges.length > 0).map(({ name, ranges }) => `add element ${nftTable} ${name} { ${ranges.join(', ')} }`),
    ...ofDomains.filter(({ name }) => !filled.has(name)).map(({ name, family }) => `add set ${nftTable} ${name} { type ipv${family}_addr; }`),
    ...counterNames(plan).map((name) => `add counter ${nftTable} ${name}`),
    ...chains.map(({ name, hook }) => `add chain ${nftTable} ${name}${hook === undefined ? '' : ` { ${hook} }`}`),
    ...chains.flatMap(({ name, rules }) => rules.map((rule) => `add rule ${nftTable} ${name} ${rule}`)),
    '',
  ].join('\n');
}

/** Whether all chains, sets and counters are there, and the chains that no gate empties have rules. */
export function nftStands(plan: Plan, found: FoundNft): boolean {
  const fixed = [...baseChains(plan), ...innerChains(plan), ...natChains(plan)];
  const chains = [...fixed, ...gateChains(plan, () => 'hold')];
  return (
    chains.every(({ name }) => found.chains.includes(name)) &&
    fixed.every(({ name, rules }) => rules.length === 0 || found.rules.has(name)) &&
    [...netSets(plan), ...domainSets(plan)].every(({ name }) => found.sets.includes(name)) &&
    counterNames(plan).every((name) => found.counters.includes(name))
  );
}

/** The input that brings one tunnel's gate to where `gateOf` says, in one transaction: only chains change, never sets. */
export function renderNftSwitch(plan: Plan, id: string, gateOf: (id: string) => Gate): string {
  const own = gateChains(plan, gateOf).filter(({ name }) => gates.some((gate) => name.startsWith(gatePrefix(gate, 'any')) || name.startsWith(gatePrefix(gate, { id }))));
  return [...own.map(({ name }) => `flush chain ${nftTable} ${name}`), ...own.flatMap(({ name, rules }) => rules.map((rule) => `add rule ${nftTable} ${name} ${rule}`)), ''].join('\n');
}

/** The input that replaces a tunnel's own addresses in one transaction: in a rule, since elements beside large sets take half a second. */
export function renderNftAddresses(id: string, families: readonly Family[], addresses: readonly KeptAddress[]): string {
  return families.map((family) => {
    const sources = addresses.filter((kept) => kept.family === family).map(({ address }) => address);
    const others = sources.length === 0 ? '' : `${family === 4 ? 'ip' : 'ip6'} saddr != { ${sources.join(', ')} } `;
    return `flush chain ${nftTable} ${natChain(id, family)}\nadd rule ${nftTable} ${natChain(id, family)} ${others}masquerade\n`;
  }).join('');
}

/** The input that adds addresses to a tunnel's sets, or, without an identifier, to the union's. */
export function renderNftAdded(addresses: readonly Net[], id?: string): string {
  return ([4, 6] as const).map((family) => {
    const elements = addresses.filter((net) => net.family === family).map(formatAddress).join(', ');
    return elements === '' ? '' : `add element ${nftTable} ${id === undefined ? unionSet(family) : ownSet(id, family)} { ${elements} }\n`;
  }).join('');
}

/** The input that takes away the table, or, with `keepDomains`, all that is in it but the sets that dnsmasq fills. */
export function renderNftRemoval(found: FoundNft, keepDomains: boolean): string {
  const sets = found.sets.filter((name) => !isDomainSet(name));
  if (!keepDomains || sets.length === found.sets.length) return `delete table ${nftTable}\n`;
  const deleted = [...found.chains.map((name) => `chain ${nftTable} ${name}`), ...sets.map((name) => `set ${nftTable} ${name}`), ...found.counters.map((name) => `counter ${nftTable} ${name}`)];
  return [`flush table ${nftTable}`, ...deleted.map((what) => `delete ${what}`), ''].join('\n');
}

/** The input that takes away all but the guard, whose base chain is the only one on `postrouting` that filters. */
export function renderNftOpen(found: FoundNft): string {
  return found.chains.filter((name) => name.startsWith('hook-') && name !== baseName('mangle', 'POSTROUTING')).map((name) => `flush chain ${nftTable} ${name}\n`).join('');
}

/** Which gate is on: the one whose chains have rules for the tunnel's set; `hold` has no chain for all tunnels. Undefined if nothing is installed, or it is no single one. */
export function parseNftGate({ id, families }: Pick<PlannedTunnel, 'id' | 'families'>, { chains, rules }: FoundNft): Gate | undefined {
  const on = gates.filter((gate) => families.some((family) => [...rules].some(([chain, lines]) => chain.startsWith(gatePrefix(gate, 'any')) && lines.some((line) => line.includes(` @${ownSet(id, family)} `)))));
  if (!chains.some((chain) => chain.startsWith(gatePrefix('open', 'any')))) return undefined;
  return on.length > 1 ? undefined : (on[0] ?? 'hold');
}

/** Packets per tunnel, from `nft reset counters table inet openvpn_ondemand`. */
export function parseNftCounters(plan: Plan, text: string): ReadonlyMap<string, TrafficCounters> {
  const packets = new Map([...text.matchAll(/counter (\S+) \{\s+packets (\d+) /g)].map(([, name, count]) => [name, Number(count)]));
  const sum = (direction: 'in' | 'out', id: string): number => ([4, 6] as const).reduce((total, family) => total + (packets.get(counterName(direction, id, family)) ?? 0), 0);
  return new Map(plan.tunnels.map(({ id, tunnel }) => [tunnel.name, { out: sum('out', id), in: sum('in', id) }]));
}

function netSets({ families, tunnels, any, remotes }: Plan): readonly { readonly name: string; readonly family: Family; readonly ranges: readonly string[] }[] {
  const remoteEntries = remotes.map((net) => ({ net, match: true }));
  return [
    ...tunnels.flatMap(({ id, families: own, entries }) => own.map((family) => ({ name: ownSet(id, family), family, ranges: matchedRanges(entries, family) }))),
    ...families.filter((family) => onlyTunnel(tunnels, family) === undefined).map((family) => ({ name: unionSet(family), family, ranges: matchedRanges(any, family) })),
    ...families.map((family) => ({ name: `remote${family}`, family, ranges: matchedRanges(remoteEntries, family) })),
  ];
}

const unionSet = (family: Family): string => `any${family}`;

function domainSets({ tunnels }: Plan): readonly { readonly name: string; readonly family: Family }[] {
  return tunnels.filter(hasDomains).flatMap(({ id, families }) => families.map((family) => ({ name: domainSet(id, family), family })));
}

function setName(whose: 'any' | 'remote' | { readonly id: string }, plan: Plan, family: Family): string {
  const only = onlyTunnel(plan.tunnels, family);
  if (whose === 'any' && only !== undefined) return ownSet(only.id, family);
  return typeof whose === 'string' ? `${whose}${family}` : ownSet(whose.id, family);
}

const counterName = (direction: 'in' | 'out', id: string, family: Family): string => `${direction}-${id}-${family}`;

function counterNames({ tunnels }: Plan): readonly string[] {
  return tunnels.flatMap(({ id, families }) => families.flatMap((family) => (['in', 'out'] as const).map((direction) => counterName(direction, id, family))));
}

const baseName = (table: TableName, hook: Hook): string => `hook-${table}-${hook.toLowerCase()}`;

/** Chains are per family, as the plan is. */
const inFamily = (chain: string, family: Family): string => `${chain}-${family}`;

function tableEntries(plan: Plan): readonly { readonly family: Family; readonly name: TableName; readonly table: Table }[] {
  return [...plan.tables].flatMap(([family, tables]) => (Object.keys(bases) as TableName[]).map((name) => ({ family, name, table: tables[name] })));
}

function baseChains(plan: Plan): readonly RenderedChain[] {
  const chains = new Map<string, { hook: string; rules: string[] }>();
  for (const { family, name: table, table: { hooks } } of tableEntries(plan)) {
    for (const { at, rule } of hooks) {
      const name = baseName(table, at);
      const chain = chains.get(name) ?? { hook: `type ${bases[table].type} hook ${at.toLowerCase()} priority ${bases[table].priority}; policy accept;`, rules: [] };
      const text = renderRule(rule, { plan, family });
      chain.rules.push(rule.if.some((match) => 'to' in match) ? text : `meta nfproto ipv${family} ${text}`);
      chains.set(name, chain);
    }
  }
  return [...chains].map(([name, chain]) => ({ name, ...chain }));
}

function innerChains(plan: Plan): readonly RenderedChain[] {
  return tableEntries(plan).flatMap(({ family, table }) => [...table.chains].map(([chain, rules]) => ({ name: inFamily(chain, family), rules: rules.map((rule) => renderRule(rule, { plan, family })) })));
}

const gatePrefix = (gate: Gate, of: GateMatch['of']): string => (of === 'any' ? `gates-${gate}-` : `gate-${of.id}-${gate}-`);

/** Named by all that it does: what comes in may lead to another chain than what goes out. */
const gateChain = ({ gate, of }: GateMatch, verdict: Verdict, family: Family): string => `${gatePrefix(gate, of)}${verdict.do}${'chain' in verdict ? `-${verdict.chain}` : ''}-${family}`;

/** One chain for everything that a gate does, of one tunnel or of all: with a rule for each whose gate it is. */
function gateChains(plan: Plan, gateOf: (id: string) => Gate): readonly RenderedChain[] {
  const chains = new Map<string, RenderedChain>();
  for (const { family, table } of tableEntries(plan)) {
    for (const rules of table.chains.values()) {
      for (const { if: matches, then } of rules) {
        const match = matches.find((candidate) => 'gate' in candidate);
        if (match === undefined) continue;
        const name = gateChain(match, then, family);
        if (chains.has(name)) continue;
        // to leave a chain from within another is to accept: nobody but us has rules behind in this base chain
        const verdict = then.do === 'return' ? 'accept' : renderVerdict(then, { plan, family });
        const on = plan.tunnels.filter(({ id, families }) => families.includes(family) && gateOf(id) === match.gate && (match.of === 'any' || match.of.id === id));
        chains.set(name, { name, rules: on.map(({ id }) => `${daddr(family)} @${ownSet(id, family)} ${verdict}`) });
      }
    }
  }
  return [...chains.values()];
}

/** What is NATed, but for the tunnel's own addresses: a chain of its own, to be replaced when these change. */
const natChain = (id: string, family: Family): string => `nat-${id}-${family}`;

function natChains({ tunnels }: Plan): readonly RenderedChain[] {
  return tunnels.flatMap(({ id, families }) => families.map((family) => ({ name: natChain(id, family), rules: ['masquerade'] })));
}

function renderRule({ if: matches, then, counts }: Rule, context: Context): string {
  const gate = matches.find((match) => 'gate' in match);
  const nat = matches.find((match) => 'notKept' in match);
  const inner = gate === undefined ? nat && natChain(nat.notKept.id, context.family) : gateChain(gate, then, context.family);
  const verdict = inner === undefined ? renderVerdict(then, context) : `jump ${inner}`;
  const counter = counts === undefined ? '' : `counter name ${counterName(counts.direction, counts.id, context.family)}`;
  return [...matches.map((match) => renderMatch(match, context)), counter, verdict].filter((part) => part !== '').join(' ');
}

const daddr = (family: Family): string => `${family === 4 ? 'ip' : 'ip6'} daddr`;

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

function renderMatch(match: Match, { plan, family }: Context): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  if ('gate' in match) return ''; // its chain says so
  if ('notMark' in match) return `meta mark & ${hex(plan.marks.mask)} != ${hex(match.notMark)}`;
  if ('mark' in match) return `meta nfproto ipv${family} meta mark & ${hex(plan.marks.mask)} == ${hex(match.mark)}`;
  if ('to' in match) return `${daddr(family)} @${setName(match.to, plan, family)}`;
  if ('from' in match) return `${ip} saddr @${setName(match.from, plan, family)}`;
  if ('toDomain' in match) return `${daddr(family)} @${domainSet(match.toDomain.id, family)}`;
  if ('notTo' in match) return `${daddr(family)} != @${setName(match.notTo, plan, family)}`;
  if ('notKept' in match) return ''; // its chain says so
  if ('toType' in match) return `fib daddr type ${match.toType}`;
  if ('fromLocal' in match) return `meta nfproto ipv${family} fib saddr type local`;
  if ('net' in match) return `${ip} ${match.of === 'source' ? 'saddr' : 'daddr'} ${formatNet(match.net)}`;
  if ('in' in match) return `iifname "${match.in}"`;
  if ('notIn' in match) return `iifname != "${match.notIn}"`;
  if ('out' in match) return `oifname "${match.out}"`;
  if ('protocol' in match) return renderProtocol(match, family);
  if ('udp' in match) return `udp sport ${match.udp.source} udp dport ${match.udp.destination}`;
  const hops = match.hopLimit === undefined ? '' : `${family === 4 ? 'ip ttl' : 'ip6 hoplimit'} ${match.hopLimit} `;
  return `${hops}${family === 4 ? 'icmp' : 'icmpv6'} type ${match.icmp}`;
}

function renderProtocol({ protocol, ports }: ProtocolMatch, family: Family): string {
  if (ports === undefined) return `meta l4proto ${protocol === 'icmp' && family === 6 ? 'ipv6-icmp' : protocol}`;
  return `${protocol} ${ports.of === 'source' ? 'sport' : 'dport'} ${ports.first}-${ports.last}`;
}

function renderVerdict(verdict: Verdict, { plan, family }: Context): string {
  switch (verdict.do) {
    case 'return':
    case 'drop':
    case 'masquerade':
      return verdict.do;
    case 'count':
      return '';
    case 'reset':
      return 'reject with tcp reset';
    case 'prohibit':
      return 'reject with icmpx type admin-prohibited';
    case 'goto':
    case 'jump':
      return `${verdict.do} ${inFamily(verdict.chain, family)}`;
    case 'queue':
      return `queue num ${verdict.queue}`;
    case 'mark':
      return `meta mark set meta mark & ${hex(~plan.marks.mask)} | ${hex(verdict.mark)}`;
  }
}
