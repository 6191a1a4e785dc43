import type { Gate } from '../core/ports.js';
import type { GateOf } from './firewall.js';
import { addressSet, anySet, domainSet, gateList, newSuffix, ownSet, remoteSet } from './names.js';
import type { Entry } from './ownership.js';
import { gates, onlyTunnel, type Plan } from './plan.js';
import { hasDomains, type PlannedTunnel } from './planned-tunnel.js';
import type { KeptAddress } from './routes.js';
import { formatAddress, formatNet, halves, type Family, type Net } from '../core/prefix.js';

interface NetSet {
  readonly name: string;
  readonly family: Family;
  readonly lines: readonly { readonly net: Net; readonly match: boolean }[];
}

function netSets({ families, tunnels, any, remotes }: Plan): readonly NetSet[] {
  const inFamily = (entries: readonly Entry[], family: Family): readonly Entry[] => entries.filter(({ net }) => net.family === family);
  return [
    ...tunnels.flatMap(({ id, families: own, entries }) => own.map((family) => ({ name: ownSet(id, family), family, lines: inFamily(entries, family) }))),
    ...families.filter((family) => onlyTunnel(tunnels, family) === undefined).map((family) => ({ name: anySet(family), family, lines: inFamily(any, family) })),
    ...families.map((family) => ({ name: remoteSet(family), family, lines: remotes.filter((net) => net.family === family).map((net) => ({ net, match: true })) })),
  ];
}

/** Whether there are lists that tell the gates apart; without them something else does. */
interface SetOptions {
  readonly gateLists: boolean;
}

/** `hold` has no list: it is the gate of those who are in none. */
const listed = gates.filter((gate) => gate !== 'hold');

/** The names of all sets of the plan. */
export function setsOf(plan: Plan, { gateLists }: SetOptions = { gateLists: true }): readonly string[] {
  const ofGates = gateLists ? plan.families.flatMap((family) => listed.map((gate) => gateList(gate, family))) : [];
  return [...[...netSets(plan), ...addressSets(plan), ...domainSets(plan)].map(({ name }) => name), ...ofGates];
}

function addressSets({ tunnels }: Plan): readonly { readonly name: string; readonly family: Family }[] {
  return tunnels.flatMap(({ id, families }) => families.map((family) => ({ name: addressSet(id, family), family })));
}

function domainSets({ tunnels }: Plan): readonly { readonly name: string; readonly family: Family }[] {
  return tunnels.filter(hasDomains).flatMap(({ id, families }) => families.map((family) => ({ name: domainSet(id, family), family })));
}

/** What ipset gives a set by itself. */
const HASHSIZE = 1024;

/** What does not fit is not protected, and dnsmasq says nothing of it. */
const DOMAIN_ADDRESSES = 262_144;

const createAddressSet = (name: string, family: Family): string => `create ${name} hash:ip family ${family === 4 ? 'inet' : 'inet6'} hashsize 64 maxelem 64`;

/** The input of `ipset restore` that replaces a tunnel's own addresses, each family in one step. */
export function renderAddresses(id: string, families: readonly Family[], addresses: readonly KeptAddress[]): string {
  return families.map((family) => {
    const name = addressSet(id, family);
    const added = addresses.filter((kept) => kept.family === family).map(({ address }) => `add ${name}${newSuffix} ${address}\n`);
    // one that a change left that failed half-way is used again
    return `${createAddressSet(`${name}${newSuffix}`, family)} -exist\nflush ${name}${newSuffix}\n${added.join('')}swap ${name}${newSuffix} ${name}\ndestroy ${name}${newSuffix}\n`;
  }).join('');
}

/**
 * The input of `ipset restore` that brings all sets to the plan, with every gate at `hold` that is not `staying`. Sets that
 * are there are filled beside and swapped, so that the rules of an earlier run never see one half full; gates are closed
 * before, and lists of those that stay are swapped, too. A list has its members by their place, not by what is in it.
 */
export function renderSets(plan: Plan, existing: ReadonlySet<string>, { gateLists }: SetOptions = { gateLists: true }, staying: GateOf = () => undefined): string {
  const lines: string[] = [];
  const late: string[] = [];
  for (const [gate, family] of gateLists ? plan.families.flatMap((each) => listed.map((gate) => [gate, each] as const)) : []) {
    const name = gateList(gate, family);
    const members = plan.tunnels.filter(({ id, families }) => families.includes(family) && staying(id) === gate).map(({ id }) => ownSet(id, family));
    const there = members.filter((own) => existing.has(own));
    if (existing.has(`${name}${newSuffix}`)) lines.push(`destroy ${name}${newSuffix}`);
    if (!existing.has(name)) lines.push(`create ${name} list:set size 65535`);
    else if (there.length === 0) lines.push(`flush ${name}`);
    else lines.push(`create ${name}${newSuffix} list:set size 65535`, ...there.map((own) => `add ${name}${newSuffix} ${own}`), `swap ${name}${newSuffix} ${name}`, `destroy ${name}${newSuffix}`);
    late.push(...members.filter((own) => !existing.has(name) || !existing.has(own)).map((own) => `add ${name} ${own}`));
  }
  for (const { name, family, lines: content } of netSets(plan)) {
    const target = existing.has(name) ? `${name}${newSuffix}` : name;
    if (existing.has(`${name}${newSuffix}`)) lines.push(`destroy ${name}${newSuffix}`);
    // twice what is there, since a set cannot grow beyond it when something else adds to it
    lines.push(`create ${target} hash:net family ${family === 4 ? 'inet' : 'inet6'}${hashsize(content.length)} maxelem ${Math.max(65_536, 2 * content.length)}`);
    for (const { net, match } of content) {
      // hash:net can't store a length of 0
      for (const part of net.length === 0 ? halves(net) : [net]) lines.push(`add ${target} ${element(part)}${match ? '' : ' nomatch'}`);
    }
    if (target !== name) lines.push(`swap ${target} ${name}`, `destroy ${target}`);
  }
  lines.push(...late);
  for (const { name, family } of addressSets(plan)) lines.push(existing.has(name) ? `flush ${name}` : createAddressSet(name, family));
  for (const { name, family } of domainSets(plan)) if (!existing.has(name)) lines.push(`create ${name} hash:ip family ${family === 4 ? 'inet' : 'inet6'} maxelem ${DOMAIN_ADDRESSES}`);
  return `${lines.join('\n')}\n`;
}

/** A set that grows from ipset's own 1024 places takes half as long again to fill, since all that is in it finds a new place each time. */
function hashsize(elements: number): string {
  return elements <= HASHSIZE ? '' : ` hashsize ${2 ** Math.ceil(Math.log2(elements / 2))}`;
}

/** As ipset prints it: an address without its length. */
function element(net: Net): string {
  return net.length === (net.family === 4 ? 32 : 128) ? formatAddress(net) : formatNet(net);
}

/** Whether all sets are there, from `ipset -terse list`; sets of addresses have some, and lists of gates the tunnels' sets. */
export function setsStand(plan: Plan, terse: string, gateOf: GateOf, options: SetOptions = { gateLists: true }): boolean {
  const sizes = new Map([...terse.matchAll(/^Name: (\S+)$[^]*?^Number of entries: (\d+)$/gm)].map(([, name = '', size]) => [name, Number(size)]));
  const filled = netSets(plan).every(({ name, lines }) => lines.length === 0 || (sizes.get(name) ?? 0) > 0);
  return filled && setsOf(plan, options).every((name) => sizes.has(name)) && (!options.gateLists || listsStand(plan, sizes, gateOf));
}

function listsStand({ families, tunnels }: Plan, sizes: ReadonlyMap<string, number>, gateOf: GateOf): boolean {
  if (tunnels.some(({ id }) => gateOf(id) === undefined)) return true;
  const members = (gate: Gate, family: Family): number => tunnels.filter((tunnel) => tunnel.families.includes(family) && gateOf(tunnel.id) === gate).length;
  return families.every((family) => listed.every((gate) => sizes.get(gateList(gate, family)) === members(gate, family)));
}

/** Which gate is on, from the output of `ipset save`; undefined if there are no lists, or the tunnel's families are in different ones. */
export function parseGate({ id, families }: Pick<PlannedTunnel, 'id' | 'families'>, saved: string): Gate | undefined {
  const lines = new Set(saved.split('\n'));
  const found = families.map((family) => listed.filter((gate) => lines.has(`add ${gateList(gate, family)} ${ownSet(id, family)}`)));
  const lists = families.every((family) => listed.every((gate) => saved.includes(`create ${gateList(gate, family)} `)));
  const [first = []] = found;
  if (!lists || first.length > 1 || found.some((gatesOn) => gatesOn.join() !== first.join())) return undefined;
  return first[0] ?? 'hold';
}
