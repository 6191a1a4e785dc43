import type { Connection, Gate, LinkFailure, WakePacket } from './words.js';

/** Phases of a dial: OpenVPN connects, then the held packets go, then the gate opens. */
export type DialPhase = 'connecting' | 'releasing' | 'opening';

/** Phases of going down: the gate closes, replies in flight come home, the link is told to stop. */
export type DrainPhase = 'closing' | 'lingering' | 'stopping';

/** What a tunnel is doing. Times are milliseconds since the epoch, from the injected clock. */
export type State = Idle | Dialing | Up | Draining | Backoff | Locked | Paused;

export interface Idle {
  readonly at: 'idle';
  readonly since: number;
  /** Failed dials in a row. */
  readonly failures: number;
}

export interface Dialing {
  readonly at: 'dialing';
  readonly since: number;
  readonly failures: number;
  readonly phase: DialPhase;
  readonly connection?: Connection;
  /** Why the link started over last. */
  readonly setback?: string;
  /** The link was up, and starts over: its end is not that of a dial. */
  readonly wasUp?: true;
  /** Somebody wants it up, also if it ends. */
  readonly redial?: Wake;
}

export interface Up {
  readonly at: 'up';
  readonly since: number;
  readonly connection: Connection;
  /** The opening is over, and so what can wait was done. */
  readonly settled: boolean;
  readonly idle: IdleWatch;
  /** When the names are asked for again; absent: not before something happens. */
  readonly lookUpAt?: number;
}

export interface Draining {
  readonly at: 'draining';
  readonly since: number;
  readonly phase: DrainPhase;
  readonly connection?: Connection;
  readonly cause: 'idle' | 'command';
  /** Somebody wants the tunnel again. */
  readonly redial?: Wake;
  /** End of lingering. */
  readonly until?: number;
}

export interface Backoff {
  readonly at: 'backoff';
  readonly since: number;
  readonly until: number;
  readonly failures: number;
  readonly failure: LinkFailure;
}

export interface Locked {
  readonly at: 'locked';
  readonly since: number;
  readonly failure: LinkFailure;
}

export interface Paused {
  readonly at: 'paused';
  readonly since: number;
  /** Without it: until `resume`. */
  readonly until?: number;
  readonly bypass: boolean;
}

/** What our own idle detection knows. */
export interface IdleWatch {
  /** When traffic was last seen (at a reading, so at most one interval late). */
  readonly lastTrafficAt: number;
  /** When the counters are read next; Infinity where OpenVPN or nobody watches, and while they are being read. */
  readonly nextCheckAt: number;
  /** Sum of both directions at the last reading; absent until the first. */
  readonly packets?: number;
}

/** A wake, told by `status` and `why`. */
export interface Wake {
  readonly at: number;
  /** Absent if a command brought the tunnel up. */
  readonly packet?: WakePacket;
  /** OpenVPN's steps, milliseconds after the wake. */
  readonly steps?: readonly { readonly name: string; readonly ms: number }[];
  /** From the wake to CONNECTED, in milliseconds. */
  readonly dialMs?: number;
  /** From CONNECTED until nothing was held, in milliseconds. */
  readonly releaseMs?: number;
  /** Packets that were held and went into the tunnel. */
  readonly released?: number;
}

/** Everything that the machine remembers of one tunnel. */
export interface Tunnel {
  readonly state: State;
  readonly wakes: number;
  readonly dialFailures: number;
  /** The last wakes, newest first. */
  readonly history: readonly Wake[];
  /** When packets woke it within the last hour, oldest first. */
  readonly wakeTimes: readonly number[];
  readonly lastFailure?: LinkFailure & { readonly at: number };
  /** Somebody took the gate away, and it does not stand again yet; `detail`: why not. */
  readonly gateBroken?: { readonly at: number; readonly detail?: string };
  /** `escaped`: packets that may have gone in clear meanwhile, at most. */
  readonly lastRepair?: { readonly at: number; readonly afterMs: number; readonly escaped: number };
}

export function startingTunnel(now: number): Tunnel {
  return { state: { at: 'idle', since: now, failures: 0 }, wakes: 0, dialFailures: 0, history: [], wakeTimes: [] };
}

/** The gate that belongs to a state. */
export function gateOf(state: State): Gate {
  switch (state.at) {
    case 'idle':
    case 'dialing':
    case 'draining':
      return 'hold';
    case 'up':
      return 'open';
    case 'backoff':
    case 'locked':
      return 'reject';
    case 'paused':
      return state.bypass ? 'bypass' : 'reject';
  }
}

/** A link is there or under way, and only this daemon takes it down again. */
export function isActive({ at }: State): boolean {
  return at === 'dialing' || at === 'up' || at === 'draining';
}

/** Held packets are on their way, and the gate opens behind them. */
export function isOpening(state: State): boolean {
  return state.at === 'dialing' && state.phase !== 'connecting';
}
