import type { CarryOut, Gate } from '../core/ports.js';
import type { MatchGate } from './iptables.js';

/** How the rules of iptables tell one gate from another, and how a gate is changed: all else is the same. */
export interface Switching {
  /** Behind the name of the backend: ` with condition`. */
  readonly suffix: string;
  readonly matchGate: MatchGate;
  /** Whether each gate has an ipset of its own, which is full while the gate is on. */
  readonly gateSets: boolean;
  /** What iptables and the kernel must know besides, to be tried in a rule. */
  readonly needs?: { readonly match: readonly string[]; readonly missing: string; readonly hint: string };
  /** These tunnels to `hold`, whatever they are at now, if there is anything to change; for what `ipset restore` does not do. */
  close?(ids: readonly string[]): void;
  /** Made when the call returns. Throws a DaemonError. */
  change(id: string, from: Gate, to: Gate, carryOut?: CarryOut): void;
  /** The gate that the kernel has; undefined if it is in no known state. */
  read(id: string): Promise<Gate | undefined>;
}
