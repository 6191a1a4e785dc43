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
  /** The routing table that `catchFirst` puts before the main one. */
  readonly closingTable: number;
}

/** What is left to the link to be routed: what names stand for changes while it is up. */
export function linkRoutes({ routes, tunnel: { named = [] } }: PlannedTunnel): readonly Prefix[] {
  const ours = new Set(named);
  return routes.map(formatNet).filter((prefix) => !ours.has(prefix));
}
