import type { GateTunnel } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import { byNesting, formatNet, parseNet, specials, subtract, walkNested, type Net } from '../core/prefix.js';

/**
 * Whose an address is: the most specific statement about it decides. A tunnel that protects it, a tunnel that
 * excludes it (then the next one around decides), or an exemption that makes it nobody's.
 */
type Statement = { readonly protectedBy: string } | { readonly excludedBy: string } | { readonly exempt: 'lan' | 'special' };

/** One line of a set: what is inside matches, or (`match: false`) does not, unless a longer line says otherwise. */
export interface Entry {
  readonly net: Net;
  readonly match: boolean;
  /** Not matching since it is on a LAN of this host: the connected route is there and needs no room made for it. */
  readonly lan: boolean;
  /** Matching since `protect` names just this network, and not one around it. */
  readonly asProtected: boolean;
}

/** A network with all that is said of it, and what follows from that. There may be a hundred thousand: one object for each, filled in place. */
interface Node {
  readonly net: Net;
  statements: readonly Statement[];
  around: Node | undefined;
  owner: string | undefined;
  /** Its owner says so of just this network, not of one around it. */
  asProtected: boolean;
  /** Nobody's for being on a LAN. */
  lan: boolean;
}

/** The whole address space of both families with its owners. */
export class Ownership {
  readonly #nodes: readonly Node[];

  /** `lans` are the prefixes on link, exempt where they are strictly inside a protected one. Throws CONFIG_INVALID. */
  constructor(tunnels: readonly GateTunnel[], lans: readonly Net[]) {
    const nodes: Node[] = [];
    for (const node of saidOf(tunnels, lans).sort((a, b) => byNesting(a.net, b.net))) {
      const last = nodes.at(-1);
      if (last !== undefined && byNesting(last.net, node.net) === 0) last.statements = [...last.statements, ...node.statements];
      else nodes.push(node);
    }
    for (const { net, statements } of nodes) if (statements.length > 1) refuseTwoOwners(net, statements);
    walkNested<Node, Node>(nodes, (node, around) => {
      node.around = around;
      decide(node);
      return node;
    });
    this.#nodes = nodes;
  }

  /** The lines of a set that matches what is this tunnel's, or, without a name, anybody's. */
  entries(tunnel?: string): readonly Entry[] {
    const matches = (node: Node | undefined): boolean => node !== undefined && (tunnel === undefined ? node.owner !== undefined : node.owner === tunnel);
    const entries: Entry[] = [];
    for (const node of this.#nodes) {
      const match = matches(node);
      if (match !== matches(node.around)) entries.push({ net: node.net, match, lan: node.lan, asProtected: match && node.asProtected });
    }
    return entries;
  }
}

function saidOf(tunnels: readonly GateTunnel[], lans: readonly Net[]): Node[] {
  const all = (nets: readonly Net[], statement: Statement): Node[] => {
    const statements = [statement];
    return nets.map((net) => ({ net, statements, around: undefined, owner: undefined, asProtected: false, lan: false }));
  };
  const ofTunnels = tunnels.flatMap(({ name, protect, exclude }) => [...all(protect.map(parseNet), { protectedBy: name }), ...all(exclude.map(parseNet), { excludedBy: name })]);
  return [...all(specials, { exempt: 'special' }), ...all(lans, { exempt: 'lan' }), ...ofTunnels];
}

function refuseTwoOwners(net: Net, statements: readonly Statement[]): void {
  const owners = [...new Set(statements.flatMap((statement) => ('protectedBy' in statement ? [statement.protectedBy] : [])))];
  if (owners.length < 2) return;
  throw new DaemonError('CONFIG_INVALID', `${formatNet(net)} is protected by both ${owners.slice(0, 2).join(' and ')}`, { hint: 'of nested prefixes the longer one wins; equal ones need one owner' });
}

/** Walks from the most specific statements outwards. */
function decide(node: Node): void {
  const excluding = new Set<string>();
  for (let level: Node | undefined = node; level !== undefined; level = level.around) {
    for (const statement of level.statements) if ('excludedBy' in statement) excluding.add(statement.excludedBy);
    for (const statement of level.statements) {
      if (!('protectedBy' in statement) || excluding.has(statement.protectedBy)) continue;
      node.owner = statement.protectedBy;
      node.asProtected = level === node;
      return;
    }
    for (const statement of level.statements) {
      if (!('exempt' in statement)) continue;
      node.lan = statement.exempt === 'lan';
      return;
    }
  }
}

/** What a catch route in the main table is for. */
export type CatchPrefix = Pick<Entry, 'net' | 'asProtected'>;

/**
 * The prefixes that a tunnel's catch routes in the main table must have: its matching entries without what other
 * routes must be able to reach (what does not match, except LANs, and `remotes`). A default route needs no holes:
 * every other route is longer, and the real default route has the better metric.
 */
export function catchPrefixes(entries: readonly Entry[], remotes: readonly Net[]): readonly CatchPrefix[] {
  const holes = new Map<Entry, Net[]>();
  const found: Entry[] = [];
  const servers = new Set(remotes.map((net): Entry => ({ net, match: false, lan: false, asProtected: false })));
  walkNested<Entry, Entry | undefined>([...entries, ...servers], (entry, around) => {
    if (entry.match) {
      found.push(entry);
      return entry;
    }
    if (!entry.lan && around !== undefined) {
      const inside = holes.get(around);
      if (inside === undefined) holes.set(around, [entry.net]);
      else inside.push(entry.net);
    }
    return servers.has(entry) ? around : undefined;
  });
  return found.flatMap((entry): CatchPrefix | CatchPrefix[] => {
    const inside = holes.get(entry);
    return inside === undefined || entry.net.length === 0 ? entry : subtract(entry.net, inside).map((net) => ({ net, asProtected: false }));
  });
}
