import type { Addresses, Gate } from '../core/ports.js';
import type { PreparedSwitch } from './firewall.js';
import type { PlannedTunnel } from './planned-tunnel.js';

/** A tunnel that is installed, and what was done with it since. */
export interface Current {
  planned: PlannedTunnel;
  /** Undefined after a change that failed: then the kernel is asked. */
  gate: Gate | undefined;
  /** Where it was set last. */
  wanted: Gate;
  expected?: { readonly from: Gate; readonly to: Gate; readonly change: PreparedSwitch } | undefined;
  catchFirst: boolean;
  /** There are routes into the tunnel device that its link does not make. */
  readonly makesRoutes: boolean;
  /** They have been made. */
  routed: boolean;
  addresses: Addresses;
}

/** A catch route that is a default route has the worse metric: without the firewall packets go by the better one. */
export function hasDefault({ planned }: Current): boolean {
  return planned.routes.some(({ length }) => length === 0);
}

/** A tunnel that protects nothing yet, since nobody could tell what its names stand for, has no rules to be switched. */
export function hasRules({ planned }: Current): boolean {
  return planned.families.length > 0;
}
