import type { Gate, Protocol } from '../core/ports.js';
import type { Net } from '../core/prefix.js';

/** Which packets: conditions of one rule are all to be met. */
export type Match =
  | { readonly mark: number }
  | { readonly notMark: number }
  /** Destination or source is anybody's, an OpenVPN server's, or this tunnel's. */
  | { readonly to: 'any' | 'remote' | { readonly id: string } }
  | { readonly from: 'any' | { readonly id: string } }
  /** The destination is in the set that dnsmasq fills for this tunnel, or is nobody's. */
  | { readonly toDomain: { readonly id: string } }
  | { readonly notTo: 'any' }
  /** The source is none of the addresses that this tunnel keeps. */
  | { readonly notKept: { readonly id: string } }
  /** The destination is anybody's whose gate is `gate`, or this tunnel's and its gate is that. `hold` is asked for after all others. */
  | { readonly gate: Gate; readonly of: 'any' | { readonly id: string } }
  | { readonly toType: 'local' | 'broadcast' | 'multicast' }
  | { readonly fromLocal: true }
  | { readonly net: Net; readonly of: 'source' | 'destination' }
  /** A `*` at the end stands for anything. */
  | { readonly in: string }
  | { readonly notIn: string }
  | { readonly out: string }
  | { readonly icmp: number; readonly hopLimit?: number }
  | ProtocolMatch
  | { readonly udp: { readonly source: number; readonly destination: number } };

export interface ProtocolMatch {
  readonly protocol: Protocol;
  readonly ports?: { readonly of: 'source' | 'destination'; readonly first: number; readonly last: number };
}

/** What is done with them; `count` goes on with the next rule. */
export type Verdict =
  | { readonly do: 'return' | 'drop' | 'count' | 'masquerade' | 'reset' | 'prohibit' }
  | { readonly do: 'goto' | 'jump'; readonly chain: string }
  | { readonly do: 'queue'; readonly queue: number }
  | { readonly do: 'mark'; readonly mark: number };

export interface Rule {
  readonly if: readonly Match[];
  readonly then: Verdict;
  /** What it matches are the packets of this tunnel's counter. */
  readonly counts?: { readonly id: string; readonly direction: 'in' | 'out' };
}

export type TableName = 'mangle' | 'raw' | 'filter' | 'nat';
export type Hook = 'PREROUTING' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING';

export interface Table {
  /** The one rule in a chain of the system, ours to be first. */
  readonly hooks: readonly { readonly at: Hook; readonly rule: Rule }[];
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
}
