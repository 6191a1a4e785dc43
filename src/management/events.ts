import type { Secret } from './secret.js';

/** The states of `man_state_name()` in OpenVPN's manage.c. */
export type StateName =
  | 'INITIAL'
  | 'CONNECTING'
  | 'RESOLVE'
  | 'TCP_CONNECT'
  | 'WAIT'
  | 'AUTH'
  | 'AUTH_PENDING'
  | 'GET_CONFIG'
  | 'ASSIGN_IP'
  | 'ADD_ROUTES'
  | 'CONNECTED'
  | 'RECONNECTING'
  | 'EXITING';

/** `>STATE:`, and a line of the reply to `state`. Fields that OpenVPN left empty are absent. */
export interface StateEvent {
  readonly type: 'state';
  /** Seconds since 1970, OpenVPN's clock. */
  readonly time: number;
  /** A newer OpenVPN may have names that this list has not. */
  readonly name: StateName | (string & Record<never, never>);
  /** CONNECTED: `SUCCESS`, `ERROR`, `ROUTE_ERROR`; RECONNECTING, EXITING: the reason. Empty otherwise. */
  readonly description: string;
  readonly tunIpv4?: string;
  readonly remote?: string;
  readonly remotePort?: number;
  readonly local?: string;
  readonly localPort?: number;
  readonly tunIpv6?: string;
}

/** `>HOLD:`: OpenVPN waits for `hold release`, and would itself have waited so long before it dials. */
export interface HoldEvent {
  readonly type: 'hold';
  readonly waitSeconds: number;
  readonly text: string;
}

/** `SC:` of a PASSWORD line: the server's question is in the client's configuration. */
export interface StaticChallenge {
  readonly text: string;
  /** The answer may be shown while it is typed. */
  readonly echo: boolean;
  /** Password and response are sent as one string instead of as SCRV1. */
  readonly concatenate: boolean;
}

/** `CRV1:` in the reason of a refusal: the server asks for one thing more. */
export interface DynamicChallenge {
  readonly text: string;
  readonly echo: boolean;
  readonly responseRequired: boolean;
  /** To be given back as it is. */
  readonly stateId: string;
  readonly username: string;
}

export type PasswordNeed = {
  readonly type: 'password';
  readonly kind: 'need';
  /** `Auth`, `Private Key`, `HTTP Proxy`, `SOCKS Proxy`, or the name of a token. */
  readonly realm: string;
  readonly asks: 'username/password' | 'username' | 'password';
  readonly challenge?: StaticChallenge;
};

export type PasswordRefusal = {
  readonly type: 'password';
  readonly kind: 'verification-failed';
  readonly realm: string;
  /** What the server said of it, as it said it; for a challenge the CRV1 line. */
  readonly reason?: string;
  readonly challenge?: DynamicChallenge;
};

export type PasswordEvent = PasswordNeed | PasswordRefusal | { readonly type: 'password'; readonly kind: 'auth-token'; readonly token: Secret };

/** `>INFOMSG:`: what the server wants the user to do while the state is AUTH_PENDING. */
export type InfoMessageEvent =
  | { readonly type: 'infomsg'; readonly kind: 'web-auth'; readonly flags: readonly string[]; readonly url: string; readonly proxy?: WebProxy }
  | { readonly type: 'infomsg'; readonly kind: 'open-url'; readonly url: string }
  | { readonly type: 'infomsg'; readonly kind: 'cr-text'; readonly text: string; readonly echo: boolean; readonly responseRequired: boolean }
  | { readonly type: 'infomsg'; readonly kind: 'other'; readonly text: string };

export interface WebProxy {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: Secret;
}

/** One line of an environment: several make a notification, which `env-end` ends. */
type EnvLine =
  | { readonly kind: 'env'; readonly name: string; readonly value: string }
  | { readonly kind: 'env-secret'; readonly name: string; readonly value: Secret }
  | { readonly kind: 'env-end' };

export type UpDownEvent = { readonly type: 'updown' } & ({ readonly kind: 'up' | 'down' } | EnvLine);

/** `>CLIENT:`: on a server with `--management-client-auth`. */
export type ClientEvent = { readonly type: 'client' } & (
  | { readonly kind: 'connect' | 'reauth'; readonly clientId: number; readonly keyId: number }
  | { readonly kind: 'established' | 'disconnect'; readonly clientId: number }
  | { readonly kind: 'address'; readonly clientId: number; readonly address: string; readonly primary: boolean }
  | { readonly kind: 'cr-response'; readonly clientId: number; readonly keyId: number; readonly response: Secret }
  | EnvLine
);

/** Every real-time line of OpenVPN 2.4–2.7, one event each; what is none of them, or not as it should be, is `unknown`. */
export type ManagementEvent =
  | StateEvent
  | HoldEvent
  | PasswordEvent
  | InfoMessageEvent
  | UpDownEvent
  | ClientEvent
  | { readonly type: 'bytecount'; readonly bytesIn: number; readonly bytesOut: number }
  | { readonly type: 'bytecount-client'; readonly clientId: number; readonly bytesIn: number; readonly bytesOut: number }
  | { readonly type: 'echo'; readonly time: number; readonly text: string }
  | { readonly type: 'fatal'; readonly text: string }
  /** `version` is the interface's own, in the greeting only. */
  | { readonly type: 'info'; readonly text: string; readonly version?: number }
  /** `flags`: letters of I(nformation), F(atal), N(on-fatal), W(arning), D(ebug). */
  | { readonly type: 'log'; readonly time: number; readonly flags: string; readonly text: string }
  | { readonly type: 'need-ok'; readonly name: string; readonly text: string }
  | { readonly type: 'need-str'; readonly name: string; readonly text: string }
  | { readonly type: 'need-certificate'; readonly hint: string }
  | { readonly type: 'notify'; readonly severity: string; readonly kind: string; readonly text: string }
  /** `data` is base64; `algorithm` is given to clients of version 3 and up. */
  | { readonly type: 'pk-sign'; readonly data: string; readonly algorithm?: string }
  | { readonly type: 'rsa-sign'; readonly data: string }
  | { readonly type: 'pkcs11-id-count'; readonly count: number }
  | { readonly type: 'pkcs11-id-entry'; readonly index: number; readonly id?: string; readonly blob?: string }
  | { readonly type: 'proxy'; readonly index: number; readonly protocol: string; readonly host: string }
  | { readonly type: 'remote'; readonly host: string; readonly port: string; readonly protocol: string }
  | { readonly type: 'unknown'; readonly line: string };

export type ManagementEventType = ManagementEvent['type'];
