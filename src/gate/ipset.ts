import type { Gate } from '../core/ports.js';
import { addressSet, anySet, gateSet, newSuffix, ownSet, remoteSet } from './names.js';
import type { Entry } from './ownership.js';
import { gates, onlyTunnel, type Plan } from './plan.js';
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

/** Whether there are sets that tell the gates apart; without them something else does. */
interface SetOptions {
  readonly gateSets: boolean;
}

/** The names of all sets of the plan. */
export function setsOf(plan: Plan, { gateSets }: SetOptions = { gateSets: true }): readonly string[] {
  const ofGates = gateSets ? plan.tunnels.flatMap(({ id }) => gates.map((gate) => gateSet(id, gate))) : [];
  return [...netSets(plan).map(({ name }) => name), ...addressSets(plan).map(({ name }) => name), ...ofGates];
}

function addressSets({ tunnels }: Plan): readonly { readonly name: string; readonly family: Family }[] {
  return tunnels.flatMap(({ id, families }) => families.map((family) => ({ name: addressSet(id, family), family })));
}

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
 * The input of `ipset restore` that brings all sets to the plan with every gate at `hold`. Sets that are there are
 * filled beside and swapped, so that the rules of an earlier run never see one half full; `hold` is on before the
 * other gates are off.
 */
export function renderSets(plan: Plan, existing: ReadonlySet<string>, { gateSets }: SetOptions = { gateSets: true }): string {
  const lines: string[] = [];
  for (const { name, family, lines: content } of netSets(plan)) {
    const target = existing.has(name) ? `${name}${newSuffix}` : name;
    if (existing.has(`${name}${newSuffix}`)) lines.push(`destroy ${name}${newSuffix}`);
    // twice what is there, since a set cannot grow beyond it when something else adds to it
    lines.push(`create ${target} hash:net family ${family === 4 ? 'inet' : 'inet6'} maxelem ${Math.max(65_536, 2 * content.length)}`);
    for (const { net, match } of content) lines.push(...elements(net).map((element) => `add ${target} ${element}${match ? '' : ' nomatch'}`));
    if (target !== name) lines.push(`swap ${target} ${name}`, `destroy ${target}`);
  }
  for (const { name, family } of addressSets(plan)) lines.push(existing.has(name) ? `flush ${name}` : createAddressSet(name, family));
  for (const { id, families } of gateSets ? plan.tunnels : []) {
    for (const gate of gates) if (!existing.has(gateSet(id, gate))) lines.push(`create ${gateSet(id, gate)} list:set size 2`);
    lines.push(...families.map((family) => `add ${gateSet(id, 'hold')} ${ownSet(id, family)} -exist`));
    // one that lost its family: the line above has added what is planned, the rest has to go
    const lost = ([4, 6] as const).filter((family) => !families.includes(family) && existing.has(ownSet(id, family)));
    lines.push(...lost.map((family) => `del ${gateSet(id, 'hold')} ${ownSet(id, family)} -exist`));
    lines.push(...gates.filter((gate) => gate !== 'hold').map((gate) => `flush ${gateSet(id, gate)}`));
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** hash:net can't store a length of 0. */
function elements(net: Net): readonly string[] {
  return (net.length === 0 ? halves(net) : [net]).map((part) => (part.length === (part.family === 4 ? 32 : 128) ? formatAddress(part) : formatNet(part)));
}

/** Whether all sets are there, from `ipset -terse list`; sets of addresses have some, and of each tunnel's gates one is on. */
export function setsStand(plan: Plan, listed: string, options: SetOptions = { gateSets: true }): boolean {
  const sizes = new Map([...listed.matchAll(/^Name: (\S+)$[^]*?^Number of entries: (\d+)$/gm)].map(([, name = '', size]) => [name, Number(size)]));
  const filled = netSets(plan).every(({ name, lines }) => lines.length === 0 || (sizes.get(name) ?? 0) > 0);
  const anyGate = !options.gateSets || plan.tunnels.every(({ id, families }) => families.length === 0 || gates.some((gate) => (sizes.get(gateSet(id, gate)) ?? 0) > 0));
  return filled && setsOf(plan, options).every((name) => sizes.has(name)) && anyGate;
}

/** The sets whose swap switches a gate: the list that is full changes places with an empty one, in one step. */
export function switchedSets(id: string, from: Gate, to: Gate): readonly [string, string] {
  return [gateSet(id, from), gateSet(id, to)];
}

/** Which gate is on, from the output of `ipset save`: the one list that is not empty. */
export function parseGate(id: string, saved: string): Gate | undefined {
  return gates.find((gate) => saved.split('\n').some((line) => line.startsWith(`add ${gateSet(id, gate)} `)));
}
