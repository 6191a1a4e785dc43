import type { GateTunnel, Prefix } from '../core/ports.js';
import type { Entry } from './ownership.js';
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
  readonly routes: readonly Net[];
  /** Addresses of its domains that were learned since the install: among its entries and routes. */
  readonly learned: ReadonlySet<Prefix>;
  /** The routing table that `catchFirst` puts before the main one. */
  readonly closingTable: number;
}

/**
 * Who makes the routes into the tunnel device, which are as long as the catch routes: the link what it was given, or, if it
 * takes no routes from us, what it has for `protect` of its own; the gate the rest. A default route is the link's business.
 */
export function routesIntoDevice({ routes, learned, tunnel: { named = [], protect, linkRoutes } }: PlannedTunnel): { readonly byLink: readonly Net[]; readonly byGate: readonly Net[] } {
  // what names and domains stand for changes while the link is up
  const [names, whole] = [new Set([...named, ...learned]), new Set(protect)];
  const left = linkRoutes === undefined ? (prefix: Prefix): boolean => !whole.has(prefix) : (): boolean => routes.length - learned.size > linkRoutes;
  const isOurs = (net: Net): boolean => {
    const prefix = formatNet(net);
    return net.length > 0 && (names.has(prefix) || left(prefix));
  };
  const [byLink, byGate]: [Net[], Net[]] = [[], []];
  for (const net of routes) (isOurs(net) ? byGate : byLink).push(net);
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
