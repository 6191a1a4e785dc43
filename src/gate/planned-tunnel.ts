import type { GateTunnel, Prefix } from '../core/ports.js';
import type { CatchPrefix, Entry } from './ownership.js';
import { formatNet, type Family, type Net } from '../core/prefix.js';

/** A tunnel as the renderers see it. */
export interface PlannedTunnel {
  readonly tunnel: GateTunnel;
  /** Short and unique: part of the names of its chains and sets. */
  readonly id: string;
  readonly families: readonly Family[];
  /** The lines of its sets, both families. */
  readonly entries: readonly Entry[];
  /** Its catch routes in the main table. */
  readonly routes: readonly CatchPrefix[];
  /** Addresses of its domains that were learned since the install: among its entries and routes. */
  readonly learned: ReadonlySet<Prefix>;
  /** The routing table that `catchFirst` puts before the main one. */
  readonly closingTable: number;
}

/**
 * Who makes the routes into the tunnel device, which are as long as the catch routes: the link what it was given, or, if it
 * takes no routes from us, what it has for `protect` of its own; the gate the rest. A default route is the link's business.
 */
export function routesIntoDevice({ routes, learned, tunnel: { named = [], linkRoutes } }: PlannedTunnel): { readonly byLink: readonly Net[]; readonly byGate: readonly Net[] } {
  // what names and domains stand for changes while the link is up
  const changing = new Set([...named, ...learned]);
  const tooMany = linkRoutes !== undefined && routes.length - learned.size > linkRoutes;
  const [byLink, byGate]: [Net[], Net[]] = [[], []];
  for (const { net, asProtected } of routes) {
    const left = linkRoutes === undefined ? !asProtected : tooMany;
    const isOurs = net.length > 0 && (left || (changing.size > 0 && changing.has(formatNet(net))));
    (isOurs ? byGate : byLink).push(net);
  }
  return { byLink, byGate };
}

/** Whether dnsmasq fills sets for it. */
export function hasDomains({ tunnel: { domains = [] } }: PlannedTunnel): boolean {
  return domains.length > 0;
}

/** Whether all of its packets count: none is ignored, and each may wake. */
export function countsAll({ tunnel: { ignore = [], wake = 'both', wakeFrom } }: PlannedTunnel): boolean {
  return ignore.length === 0 && wake === 'both' && wakeFrom === undefined;
}
