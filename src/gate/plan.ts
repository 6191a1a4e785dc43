import type { GateTunnel, Gate, Marks } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import { tunnelId } from './names.js';
import { catchPrefixes, Ownership, type Entry } from './ownership.js';
import { formatNet, parseNet, type Family, type Net } from '../core/prefix.js';
import { hasDomains, type PlannedTunnel } from './planned-tunnel.js';
import type { Table, TableName } from './rule.js';
import { rulesOf } from './rules.js';

/** What the kernel is to have: the same data for every renderer. */
export interface Plan {
  readonly marks: Marks;
  readonly families: readonly Family[];
  readonly tunnels: readonly PlannedTunnel[];
  /** The lines of the union: what is anybody's. Of families with one tunnel only, that tunnel's own set is the union. */
  readonly any: readonly Entry[];
  /** The addresses of all OpenVPN servers. */
  readonly remotes: readonly Net[];
  readonly tables: ReadonlyMap<Family, Readonly<Record<TableName, Table>>>;
}

export interface PlanOptions {
  readonly marks: Marks;
  /** The prefixes that are on link, from the kernel's connected routes. */
  readonly lans: readonly Net[];
  /** The first of the routing tables of `catchFirst`, one per tunnel. */
  readonly closingTable: number;
  /** Default false. */
  readonly guardForward?: boolean;
}

/** Pure: the same arguments, the same plan. Throws CONFIG_INVALID. */
export function planOf(tunnels: readonly GateTunnel[], { marks, lans, closingTable, guardForward = false }: PlanOptions): Plan {
  const ownership = new Ownership(tunnels, lans);
  // two tunnels may have the same server
  const remotes = [...new Set(tunnels.flatMap((tunnel) => tunnel.remotes.map((remote) => formatNet(parseNet(remote)))))].map(parseNet);
  const planned = tunnels.map((tunnel, index): PlannedTunnel => {
    const entries = ownership.entries(tunnel.name);
    // nobody knows what domains will stand for
    const families = ([4, 6] as const).filter((family) => (tunnel.domains ?? []).length > 0 || entries.some(({ net, match }) => match && net.family === family));
    return { tunnel, id: tunnelId(tunnel.name), families, entries, routes: catchPrefixes(entries, remotes), learned: new Set(), closingTable: closingTable + index };
  });
  refuseTwins(planned);
  const families = ([4, 6] as const).filter((family) => planned.some((tunnel) => tunnel.families.includes(family)));
  const tables = new Map(families.map((family) => [family, rulesOf(family, planned.filter((tunnel) => tunnel.families.includes(family)), marks, { guardForward })]));
  return { marks, families, tunnels: planned, any: union(ownership, planned), remotes, tables };
}

/**
 * The tunnel whose own set is the union of its family, if there is just one. Not one with domains: addresses are learned in
 * two steps.
 */
export function onlyTunnel(tunnels: readonly PlannedTunnel[], family: Family): PlannedTunnel | undefined {
  const first = tunnels.findIndex(({ families }) => families.includes(family));
  const only = tunnels[first];
  const more = tunnels.some(({ families }, index) => index > first && families.includes(family));
  return more || only === undefined || hasDomains(only) ? undefined : only;
}

function union(ownership: Ownership, tunnels: readonly PlannedTunnel[]): readonly Entry[] {
  const shared = ([4, 6] as const).filter((family) => tunnels.some(({ families }) => families.includes(family)) && onlyTunnel(tunnels, family) === undefined);
  return shared.length === 0 ? [] : ownership.entries().filter(({ net }) => shared.includes(net.family));
}

function refuseTwins(tunnels: readonly PlannedTunnel[]): void {
  const seen = new Map<string, string>();
  for (const { id, tunnel } of tunnels) {
    const other = seen.get(id);
    if (other !== undefined) throw new DaemonError('CONFIG_INVALID', `the tunnels ${other} and ${tunnel.name} get the same identifier ${id}`, { hint: 'rename one of them' });
    seen.set(id, tunnel.name);
  }
}

/** All gates; exactly one of them is on. */
export const gates: readonly Gate[] = ['hold', 'open', 'reject', 'bypass'];
