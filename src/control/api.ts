import type { ErrorCode } from '../core/errors.js';
import type { State } from '../core/state.js';
import type { Gate, WakePacket } from '../core/words.js';

/** What `status --json` prints. Times are ISO 8601. */
export interface Status {
  /** Of the daemon. */
  readonly version: string;
  readonly tunnels: readonly TunnelStatus[];
}

export interface TunnelStatus {
  readonly name: string;
  readonly state: State['at'];
  readonly gate: Gate;
  /** When this state began. */
  readonly since: string;
  readonly device: string;
  /** Prefixes, host names, and domains. */
  readonly protect: readonly string[];
  /** What the host names stand for, and so is protected. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
  readonly held: { readonly packets: number; readonly oldestMs: number };
  readonly counters: Counters;
  /** What a person is asked: see `answer`. */
  readonly asks?: string;
  readonly lastWake?: LastWake;
  /** Why the last dial failed. */
  readonly lastFailure?: { readonly at: string; readonly code: string; readonly detail: string };
  /** Somebody took away what makes the gate, and it does not stand again yet; `detail`: why not. */
  readonly gateBroken?: { readonly at: string; readonly detail?: string };
  /** The last time that it was brought back: how long after, and how many packets at most went in clear meanwhile. */
  readonly lastRepair?: { readonly at: string; readonly afterMs: number; readonly escaped: number };
}

/** Since the daemon's start. */
export interface Counters {
  readonly wakes: number;
  readonly held: number;
  readonly released: number;
  readonly dropped: number;
  readonly rejected: number;
  readonly dialFailures: number;
}

export interface LastWake {
  readonly at: string;
  /** Absent if a command brought the tunnel up. */
  readonly packet?: WakePacket;
  readonly dialMs?: number;
  readonly releaseMs?: number;
  readonly released?: number;
  /** OpenVPN's steps, milliseconds after the wake. */
  readonly steps?: readonly { readonly name: string; readonly ms: number }[];
}

/** What `why` prints: the state, its cause, and what comes next. */
export interface Why {
  /** Of the daemon. */
  readonly version: string;
  readonly name: string;
  readonly state: State['at'];
  readonly since: string;
  /** The last wakes, newest first. */
  readonly wakes: readonly LastWake[];
  /** While up: when traffic was last seen, and when the tunnel goes down if none comes. */
  readonly keptUp?: { readonly lastTraffic: string; readonly until?: string };
  /** While packets are refused or the tunnel is paused: until when; absent: until a command. */
  readonly until?: string;
  readonly lastFailure?: TunnelStatus['lastFailure'];
}

/** What `reload` did, by the names of tunnels. */
export interface ReloadReport {
  readonly version: string;
  readonly started: readonly string[];
  readonly ended: readonly string[];
  /** Left alone. */
  readonly unchanged: readonly string[];
}

/** One line of JSON from the client. */
export type Request =
  | { readonly command: 'status' | 'reload' }
  | { readonly command: 'up' | 'down' | 'resume' | 'ready' | 'why' | 'question'; readonly tunnel: string }
  | AnswerRequest
  | PauseRequest;

/** What OpenVPN wants to know from a person. */
export interface Question {
  readonly kind: 'login' | 'username' | 'passphrase' | 'response' | 'open-url' | 'confirm' | 'string';
  /** What to show. */
  readonly text: string;
  /** The answer may be shown while it is typed. */
  readonly echo: boolean;
}

export interface AnswerRequest {
  readonly command: 'answer';
  readonly tunnel: string;
  readonly username?: string;
  readonly secret?: string;
  /** Of a confirmation. */
  readonly ok?: boolean;
}

export interface PauseRequest {
  readonly command: 'pause';
  readonly tunnel: string;
  /** Without it: until `resume`. */
  readonly forMs?: number;
  /** Packets to the protected prefixes go in clear meanwhile. */
  readonly bypass?: boolean;
  /** Also after a restart of the daemon. */
  readonly persist?: boolean;
}

/** One line of JSON back. */
export type Reply =
  | { readonly ok: true; readonly data: unknown }
  | { readonly ok: false; readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string; readonly place?: string } };

/** What the daemon does for each request; resolves with the reply's data, rejects with a DaemonError. */
export interface Handlers {
  status(): Promise<Status>;
  up(tunnel: string): Promise<void>;
  down(tunnel: string): Promise<void>;
  pause(request: Omit<PauseRequest, 'command'>): Promise<void>;
  resume(tunnel: string): Promise<void>;
  /** The link that a command brings up says that it is up. */
  ready(tunnel: string): Promise<void>;
  why(tunnel: string): Promise<Why>;
  /** Undefined if nothing is asked. */
  question(tunnel: string): Promise<Question | undefined>;
  answer(request: Omit<AnswerRequest, 'command'>): Promise<void>;
  reload(): Promise<ReloadReport>;
}
