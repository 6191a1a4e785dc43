import type { WebProxy } from './events.js';
import type { Secret } from './secret.js';

/** What OpenVPN, or the server through it, wants to know. */
export type CredentialRequest =
  /** A user name and a password; `realm` is `Auth`, `HTTP Proxy`, … */
  | { readonly kind: 'login'; readonly realm: string }
  /** The user name alone. */
  | { readonly kind: 'username'; readonly realm: string }
  /** A password alone: `Private Key`, a token's name. */
  | { readonly kind: 'passphrase'; readonly realm: string }
  /** The answer to a question: a code of a static or dynamic challenge, or CR_TEXT. */
  | { readonly kind: 'response'; readonly via: 'static' | 'dynamic' | 'cr-text'; readonly text: string; readonly echo: boolean; readonly username?: string }
  /** Something to be done in a browser; nothing comes back. */
  | { readonly kind: 'open-url'; readonly url: string; readonly flags: readonly string[]; readonly proxy?: WebProxy }
  /** NEED-OK: something to be done by hand. */
  | { readonly kind: 'confirm'; readonly name: string; readonly text: string }
  /** NEED-STR. */
  | { readonly kind: 'string'; readonly name: string; readonly text: string };

export type CredentialAnswer =
  | { readonly kind: 'login'; readonly username: string; readonly password: Secret }
  | { readonly kind: 'username'; readonly username: string }
  | { readonly kind: 'secret'; readonly secret: Secret }
  | { readonly kind: 'shown' }
  | { readonly kind: 'confirmed'; readonly ok: boolean };
