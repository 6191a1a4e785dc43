import type { GateTunnel } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import { byNesting, formatNet, parseNet, specials, subtract, walkNested, type Net } from '../core/prefix.js';

/**
 * Whose an address is: the most specific statement about it decides. A tunnel that protects it, a tunnel that
 * excludes it (then the next one around decides), or an exemption that makes it nobody's.
 */
interface Statement {
  readonly net: Net;
  readonly says: { readonly protectedBy: string } | { readonly excludedBy: string } | { readonly exempt: 'lan' | 'special' };
}

/** One line of a set: what is inside matches, or (`match: false`) does not, unless a longer line says otherwise. */
export interface Entry {
  readonly net: Net;
  readonly match: boolean;
  /** Not matching since it is on a LAN of this host: the connected route is there and needs no room made for it. */
  readonly lan: boolean;
}

interface Node {
  readonly net: Net;
  readonly statements: readonly Statement[];
  readonly around: Node | undefined;
  readonly owner: string | undefined;
  readonly lan: boolean;
}

/** The whole address space of both families with its owners. */
export class Ownership {
  readonly #nodes: readonly Node[];

  /** `lans` are the prefixes on link, exempt where they are strictly inside a protected one. Throws CONFIG_INVALID. */
  constructor(tunnels: readonly GateTunnel[], lans: readonly Net[]) {
    const merged: { net: Net; statements: Statement[] }[] = [];
    for (const statement of [...statementsOf(tunnels, lans)].sort((a, b) => byNesting(a.net, b.net))) {
      const last = merged.at(-1);
      if (last !== undefined && byNesting(last.net, statement.net) === 0) last.statements.push(statement);
      else merged.push({ net: statement.net, statements: [statement] });
    }
    for (const { net, statements } of merged) if (statements.length > 1) refuseTwoOwners(net, statements);
    const nodes: Node[] = [];
    walkNested<{ net: Net; statements: Statement[] }, Node>(merged, (item, around) => {
      const node = { ...item, around, ...decide(item.statements, around) };
      nodes.push(node);
      return node;
    });
    this.#nodes = nodes;
  }

  /** The lines of a set that matches what is this tunnel's, or, without a name, anybody's. */
  entries(tunnel?: string): readonly Entry[] {
    const wanted = (node: Node): boolean => (tunnel === undefined ? node.owner !== undefined : node.owner === tunnel);
    const matches = (node: Node | undefined): boolean => node !== undefined && wanted(node);
    return this.#nodes.filter((node) => wanted(node) !== matches(node.around)).map((node) => ({ net: node.net, match: wanted(node), lan: node.lan }));
  }
}

function statementsOf(tunnels: readonly GateTunnel[], lans: readonly Net[]): readonly Statement[] {
  const exempt = (nets: readonly Net[], why: 'lan' | 'special'): readonly Statement[] => nets.map((net) => ({ net, says: { exempt: why } }));
  const ofTunnels = tunnels.flatMap(({ name, protect, exclude }): readonly Statement[] => {
    // one object for all: there may be a hundred thousand
    const [mine, notMine] = [{ protectedBy: name }, { excludedBy: name }];
    return [...protect.map((text) => ({ net: parseNet(text), says: mine })), ...exclude.map((text) => ({ net: parseNet(text), says: notMine }))];
  });
  return [...exempt(specials, 'special'), ...exempt(lans, 'lan'), ...ofTunnels];
}

function refuseTwoOwners(net: Net, statements: readonly Statement[]): void {
  const owners = [...new Set(statements.flatMap(({ says }) => ('protectedBy' in says ? [says.protectedBy] : [])))];
  if (owners.length < 2) return;
  throw new DaemonError('CONFIG_INVALID', `${formatNet(net)} is protected by both ${owners.slice(0, 2).join(' and ')}`, { hint: 'of nested prefixes the longer one wins; equal ones need one owner' });
}

/** Walks from the most specific statements outwards. */
function decide(statements: readonly Statement[], around: Node | undefined): { owner: string | undefined; lan: boolean } {
  const [only] = statements;
  if (statements.length === 1 && only !== undefined && 'protectedBy' in only.says) return { owner: only.says.protectedBy, lan: false };
  const excluding = new Set<string>();
  for (let level: { statements: readonly Statement[]; around: Node | undefined } | undefined = { statements, around }; level !== undefined; level = level.around) {
    for (const { says } of level.statements) if ('excludedBy' in says) excluding.add(says.excludedBy);
    for (const { says } of level.statements) if ('protectedBy' in says && !excluding.has(says.protectedBy)) return { owner: says.protectedBy, lan: false };
    for (const { says } of level.statements) if ('exempt' in says) return { owner: undefined, lan: says.exempt === 'lan' };
  }
  return { owner: undefined, lan: false };
}

/**
 * The prefixes that a tunnel's catch routes in the main table must have: its matching entries without what other
 * routes must be able to reach (what does not match, except LANs, and `remotes`). A default route needs no holes:
 * every other route is longer, and the real default route has the better metric.
 */
export function catchPrefixes(entries: readonly Entry[], remotes: readonly Net[]): readonly Net[] {
  const holes = new Map<Entry, Net[]>();
  const found: Entry[] = [];
  const items = [...entries.map((entry) => ({ net: entry.net, entry })), ...remotes.map((net) => ({ net, entry: undefined }))];
  walkNested<{ net: Net; entry: Entry | undefined }, Entry | undefined>(items, ({ net, entry }, around) => {
    if (entry?.match === true) {
      holes.set(entry, []);
      found.push(entry);
      return entry;
    }
    if (entry?.lan !== true && around !== undefined) holes.get(around)?.push(net);
    return entry === undefined ? around : undefined;
  });
  return found.flatMap((entry) => (entry.net.length === 0 ? [entry.net] : subtract(entry.net, holes.get(entry) ?? [])));
}
