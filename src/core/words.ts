/** What the firewall does with packets to the protected prefixes of a tunnel. */
export type Gate = 'hold' | 'open' | 'reject' | 'bypass';

export interface Addresses {
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** The packet that ended an idle period, as `status` and `why` show it. */
export interface WakePacket {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** The device that it came in by; absent for packets of this host. */
  readonly interface?: string;
  readonly uid?: number;
  readonly process?: string;
}

/** Why the link is not there: `code` for programs, `detail` for people. */
export interface LinkFailure {
  readonly code: 'auth' | 'budget' | 'credentials' | 'exit' | 'fatal' | 'firewall' | 'resolve' | 'route' | 'timeout' | 'tls';
  readonly detail: string;
}

/** A link that is up. */
export interface Connection {
  readonly device: string;
  readonly addresses: Addresses;
}
