import type { Observable } from 'rxjs';
import type { GateEvent, LinkEvent, NamesEvent, QueueEvent } from './events.js';
import type { Addresses, Gate } from './words.js';

export type { Addresses, Gate };

/** An IPv4 or IPv6 prefix in canonical text: `10.99.0.0/16`, `fd00:99::/48`. */
export type Prefix = string;

/** One bit field of the packet mark is ours; the other bits belong to the user. */
export interface Marks {
  /** The bits that are ours, for example 0x00c00000. */
  readonly mask: number;
  /** On OpenVPN's own socket (`--mark`): never held, never guarded. */
  readonly transport: number;
  /** On released packets: makes the kernel route packets of OUTPUT again. */
  readonly release: number;
  /** On held packets that are answered: filter FORWARD/OUTPUT sends the RST or the ICMP error. */
  readonly reject: number;
}

/** `icmp` is ICMPv6 where the packet is IPv6. */
export type Protocol = 'tcp' | 'udp' | 'icmp';

/** Packets that don't count. */
export interface IgnoredPackets {
  readonly protocol: Protocol;
  /** From `first` to `last`, of the side that is spoken to: the destination's, and in what comes back the source's. TCP and UDP only. */
  readonly ports?: { readonly first: number; readonly last: number };
  /** Who is spoken to; absent: anybody. */
  readonly to?: Prefix;
}

/** What the gate needs to know of a tunnel. */
export interface GateTunnel {
  readonly name: string;
  /** The tunnel device: what may carry packets to `protect`, and what is counted. */
  readonly device: string;
  /** NFQUEUE number. */
  readonly queue: number;
  readonly protect: readonly Prefix[];
  /**
   * So many of the routes that `routes` names the link makes; if there are more, the gate makes all of them. Absent: none,
   * since it has its own routes for the prefixes of `protect`.
   */
  readonly linkRoutes?: number;
  /** Those of `protect` that names stand for: no link routes them, the gate does. */
  readonly named?: readonly Prefix[];
  /** What dnsmasq finds that these and their subdomains stand for is protected, too: it puts the addresses into sets of the gate. */
  readonly domains?: readonly string[];
  /** Prefixes inside `protect` that are not protected (the LAN's own prefixes are added by the gate). */
  readonly exclude: readonly Prefix[];
  /** Addresses of the OpenVPN servers: this host may reach them outside of the tunnel. */
  readonly remotes: readonly string[];
  /** `reject` answers the sender, `drop` stays silent. */
  readonly onFailure: 'reject' | 'drop';
  /** What becomes of connections to `protect` that are older than the gate and went another way; absent: `kill`. */
  readonly established?: 'kill' | 'keep';
  /** Never held, never counted, and dropped without an answer while the gate is `hold` or `reject`; else like all others. */
  readonly ignore?: readonly IgnoredPackets[];
  /** Which packets are held; the others are refused while the gate is `hold`, as `onFailure` says. Absent: both. */
  readonly wake?: 'both' | 'forwarded' | 'local';
  /** Forwarded packets are held only if they came in by one of these; a `*` at the end stands for anything. Absent: by any. */
  readonly wakeFrom?: readonly string[];
}

/** Packets that matched `protect` on the tunnel device since the gate was installed. */
export interface TrafficCounters {
  readonly out: number;
  readonly in: number;
}

/** A change of netfilter's rules that one message to the kernel makes (linux/netfilter/nfnetlink.h). */
export interface RuleChange {
  readonly subsystem: number;
  readonly command: number;
  /** A string gets a NUL at its end. */
  readonly attributes: readonly { readonly type: number; readonly value: string | Uint8Array }[];
}

/** Sends it; the change is made when the call returns. Throws what has the kernel's `errno`. */
export type CarryOut = (change: RuleChange) => void;

/**
 * The firewall and the routes of all tunnels. Every method resolves when the kernel has the change, rejects with a
 * DaemonError (FIREWALL_FAILED, ROUTE_FAILED, PROGRAM_MISSING, NOT_PERMITTED), and leaves nothing half applied.
 */
export interface GatePort {
  /**
   * Installs guard, NAT and reject rules, sets and catch routes of all tunnels, every gate at `hold` first and then where
   * `gateOf` says; where it says nothing, a gate of an earlier install stays where it is. What an earlier run, or an earlier install, left behind is taken over without an open moment.
   */
  install(tunnels: readonly GateTunnel[], gateOf?: (tunnel: string) => Gate | undefined): Promise<void>;
  /**
   * Changes one tunnel's gate, atomically in each family; the same gate again is allowed and does nothing. A backend that
   * needs but messages for it has them sent by `carryOut`, if there is one: whoever reads the queue knows a good moment.
   */
  set(tunnel: string, gate: Gate, carryOut?: CarryOut): Promise<void>;
  /**
   * This gate will soon be set: what takes time is done ahead, so that the change takes no longer than a write. May be
   * called again, and for nothing.
   */
  expect(tunnel: string, gate: Gate): void;
  /**
   * With `on`, locally made packets to `protect` are routed to the catch route even while the tunnel's own routes
   * stand: what is held from then on survives the end of the tunnel device.
   */
  catchFirst(tunnel: string, on: boolean): Promise<void>;
  /** The tunnel's device is there: what the link does not route into it, also after a later install, the gate does. */
  route(tunnel: string): Promise<void>;
  /** The tunnel's last own addresses: kept on `lo`, and the source that the catch routes give to local programs. */
  keepAddresses(tunnel: string, addresses: Addresses): Promise<void>;
  /**
   * What the link is to route into the tunnel device: the parts of `protect` that the catch routes have, since packets take
   * the longest route, but for what `route` makes. Throws TUNNEL_UNKNOWN.
   */
  routes(tunnel: string): readonly Prefix[];
  /** Packets to new addresses of the tunnel's `domains` that were thrown away, since the start: the addresses could not be learned. */
  unlearned(tunnel: string): number;
  /** Counters per tunnel name. Reading is a process of its own: only while a tunnel is up. */
  counters(): Promise<ReadonlyMap<string, TrafficCounters>>;
  /** Whether what was installed still stands, where the gate looks after that. */
  readonly events$: Observable<GateEvent>;
  /** Somebody acts anyway: what the kernel tells nobody of is looked for, unless it was a little while ago. */
  look(): void;
  /** Somebody has taken routes of ours away: those, and what they need, are brought back. Rejects with ROUTE_FAILED. */
  mendRoutes(): Promise<void>;
  /** A packet was held: by then what holds it stood. For the count of what went in clear, should it be gone soon. */
  held(): void;
  /**
   * Removes everything that is ours, also what an earlier run left; resolves with what it removed, one line each. With
   * `keepDomains` the sets that dnsmasq fills stay, with what is in them: what it answers from its cache it does not add again.
   */
  remove(options?: { readonly keepDomains?: boolean }): Promise<readonly string[]>;
}

/** What was held and what became of it, since the start. */
export interface QueueStats {
  /** Held now. */
  readonly packets: number;
  /** Age of the oldest held packet in milliseconds; 0 if none is held. */
  readonly oldestMs: number;
  readonly held: number;
  readonly released: number;
  /** Thrown away: queue full, flushed by the kernel, refused in silence, strays that found no tunnel; in what is told of a tunnel also `unlearned`. */
  readonly dropped: number;
  /** Answered with an error. */
  readonly rejected: number;
}

/** The queue of one tunnel. It holds from the start. */
export interface QueuePort {
  readonly events$: Observable<QueueEvent>;
  hold(): void;
  /** Tells again of what is held, if anything is: to whoever has not heard of it, or could not use it then. */
  remind(): void;
  release(): void;
  /**
   * What local programs sent while they had the route into the living tunnel goes into it, also what is still on its way
   * here, until the queue is told something else. Resolves when what was held of it is released.
   */
  releaseLocal(): Promise<void>;
  answer(): void;
  /** What is still held of these, by the queue's numbers, is thrown away and counted. */
  drop(packets: readonly number[]): void;
  /** Sends it at a moment when nothing is in the queue: what passes directly from then on overtakes nothing. */
  carryOut(change: RuleChange): void;
  stats(): QueueStats;
  close(): Promise<void>;
}

/** What is brought up and taken down. Calls return at once; what comes of them is told by `events$`. */
export interface LinkPort {
  readonly events$: Observable<LinkEvent>;
  /** Makes what the standby needs (warm: a waiting process). */
  start(): Promise<void>;
  /** Brings the link up, also when its last end is still under way. */
  dial(): void;
  /** Starts the dial that is under way, or the link that is up, over at once: nothing waits for an old network. */
  redial(): void;
  /** Takes the link down; `link-down` always follows, unless `dial` comes first. */
  stop(): void;
  /** Ends everything and resolves when it is gone. */
  close(): Promise<void>;
}

/** The names in a tunnel's `protect`. */
export interface NamesPort {
  readonly events$: Observable<NamesEvent>;
  /** Asks for all of them and sees that what they stand for is protected; returns at once. `keep`: also what they stood for. */
  lookUp(keep: boolean): void;
}

/** Time, so that tests can own it. */
export interface ClockPort {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Emits once at that time (at once if it has passed) and completes; unsubscribing ends the timer. */
  at(time: number): Observable<unknown>;
}

/** Structured logs: fields under a stable event name, then a sentence. pino's logger is one. */
export interface LogPort {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export interface LogFields {
  /** For example `link.ended`. */
  readonly event: string;
  readonly tunnel?: string;
  readonly [field: string]: unknown;
}
