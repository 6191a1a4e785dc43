import { DaemonError } from '../core/errors.js';
import type { Addresses, Gate } from '../core/ports.js';
import type { PreparedSwitch } from './firewall.js';
import type { Plan } from './plan.js';
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
  /** There are no catch routes, as `bypass` has it. */
  uncaught: boolean;
  addresses: Addresses;
}

/** A catch route that is a default route has the worse metric: without the firewall packets go by the better one. */
function hasDefault({ planned }: Current): boolean {
  return planned.routes.some(({ net }) => net.length === 0);
}

/** A tunnel that protects nothing yet, since nobody could tell what its names stand for, has no rules to be switched. */
export function hasRules({ planned }: Current): boolean {
  return planned.families.length > 0;
}

/** All tunnels that are installed, by name. */
export class Installed {
  #tunnels: ReadonlyMap<string, Current> = new Map();
  /** Those among them that have a default route: asked for at every held packet, and mostly none. */
  #defaults: readonly Current[] = [];

  /** Throws TUNNEL_UNKNOWN. */
  of(tunnel: string): Current {
    const current = this.#tunnels.get(tunnel);
    if (current === undefined) throw new DaemonError('TUNNEL_UNKNOWN', `the gate knows no tunnel "${tunnel}"`, { hint: this.#tunnels.size === 0 ? 'nothing is installed' : `there are: ${[...this.#tunnels.keys()].join(', ')}` });
    return current;
  }

  get(tunnel: string): Current | undefined {
    return this.#tunnels.get(tunnel);
  }

  all(): readonly Current[] {
    return [...this.#tunnels.values()];
  }

  /** What was prepared for those before ends. */
  replace(tunnels: ReadonlyMap<string, Current>): void {
    for (const { expected } of this.#tunnels.values()) expected?.change.cancel();
    this.#tunnels = tunnels;
    this.#defaults = this.all().filter(hasDefault);
  }

  hasDefaults(): boolean {
    return this.#defaults.length > 0;
  }

  /** Those whose packets would go by the default route, were it not for the firewall. */
  exposed(): readonly Current[] {
    return this.#defaults.filter(({ wanted }) => wanted !== 'open' && wanted !== 'bypass');
  }

  /** Gates, by identifier, that are known to be where they shall be in a plan: packets of a tunnel that nobody changes notice nothing. */
  staying({ tunnels }: Plan, gateOf: (tunnel: string) => Gate | undefined): ReadonlyMap<string, Gate> {
    return new Map(tunnels.flatMap(({ id, tunnel: { name } }) => {
      const gate = this.#tunnels.get(name)?.gate;
      return gate === undefined || (gateOf(name) ?? gate) !== gate ? [] : [[id, gate]];
    }));
  }
}
