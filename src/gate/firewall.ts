import type { CarryOut, Gate, TrafficCounters } from '../core/ports.js';
import type { Net } from '../core/prefix.js';
import type { Plan } from './plan.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { KeptAddress } from './routes.js';

/** Where a tunnel's gate is, by its identifier; undefined if that is not known just now. */
export type GateOf = (id: string) => Gate | undefined;

/** A change of gate that only waits for its moment. */
export interface PreparedSwitch {
  apply(): Promise<void>;
  cancel(): void;
}

/** One way of bringing a plan into the kernel: what a backend does for the gate. Errors are DaemonErrors. */
export interface Firewall {
  /** As `doctor` names it. */
  readonly name: string;
  /** Resolves if this machine can do it, rejects with why it can't. Changes nothing. */
  probe(): Promise<void>;
  /**
   * Brings the firewall to the plan, whatever is there; never an open moment on the way. `staying` says which gates are
   * somewhere and stay there, every other is at `hold` then; a backend that can't do that has all of them there.
   * Resolves with whether there was anything of ours before. What fails on an empty machine leaves it empty.
   */
  install(plan: Plan, staying: GateOf): Promise<{ readonly tookOver: boolean; readonly gates: 'closed' | 'kept' }>;
  /** Whether all of the plan still stands, with the gates where they are, as far as that shows without reading every element. */
  intact(plan: Plan, gateOf: GateOf): Promise<boolean>;
  /**
   * Brings back what is missing, right after `intact` has said that something is. Resolves with what that meant for the
   * gates: all are at `hold`, with no addresses kept, or where they were.
   */
  mend(plan: Plan): Promise<'closed' | 'kept'>;
  /** Whether the kernel tells when rules of this firewall are taken away. */
  hasEvents(): Promise<boolean>;
  /** One atomic change of each family, by `carryOut` where that serves. */
  switchGate(tunnel: PlannedTunnel, from: Gate, to: Gate, carryOut?: CarryOut): Promise<void> | void;
  /** The same with everything done ahead that takes time, where that helps. */
  prepareSwitch?(tunnel: PlannedTunnel, from: Gate, to: Gate): PreparedSwitch;
  /** The gate that the kernel has. */
  readGate(tunnel: PlannedTunnel): Promise<Gate | undefined>;
  /** Addresses become those of a tunnel that has domains; they are still nobody's as long as they are not in the union. */
  addOwn(id: string, addresses: readonly Net[]): Promise<void> | void;
  /** They join the union, by `carryOut` where that serves: from then on rules know them. */
  addAny(addresses: readonly Net[], carryOut: CarryOut): Promise<void> | void;
  /** The addresses that the tunnel has or had: what comes from them is not NATed. Replaced in one step; none after install. */
  keepAddresses(tunnel: PlannedTunnel, addresses: readonly KeptAddress[]): Promise<void>;
  counters(plan: Plan): Promise<ReadonlyMap<string, TrafficCounters>>;
  /** Removes everything of ours, or all but the sets that dnsmasq fills, `beforeGuard` done before the guard goes; resolves with a line for each thing. */
  remove(beforeGuard: () => Promise<readonly string[]>, keepDomains: boolean): Promise<readonly string[]>;
}
