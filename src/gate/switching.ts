import type { CarryOut, Gate } from '../core/ports.js';
import type { MatchGate } from './iptables.js';
import type { PlannedTunnel } from './planned-tunnel.js';

/** How the rules of iptables tell one gate from another, and how a gate is changed: all else is the same. */
export interface Switching {
  /** Behind the name of the backend: ` with condition`. */
  readonly suffix: string;
  readonly matchGate: MatchGate;
  /** Whether the gates are lists of sets, with those of the tunnels whose gate it is. */
  readonly gateLists: boolean;
  /** What iptables and the kernel must know besides, to be tried in a rule. */
  readonly needs?: { readonly match: readonly string[]; readonly missing: string; readonly hint: string };
  /** These tunnels to `hold`, whatever they are at now, if there is anything to change; for what `ipset restore` does not do. */
  close?(ids: readonly string[]): void;
  /** Made when the call returns. Throws a DaemonError. */
  change(planned: PlannedTunnel, from: Gate, to: Gate, carryOut?: CarryOut): void;
  /** The gate that the kernel has; undefined if it is in no known state. */
  read(planned: PlannedTunnel): Promise<Gate | undefined>;
}
