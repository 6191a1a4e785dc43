import type { PasswordRefusal } from './events.js';

/** How a connection ended. */
export type ConnectionEnd =
  /** `close()` or `exit`. */
  | { readonly by: 'us' }
  /** The other side closed it: OpenVPN has ended, or was told to let us go. */
  | { readonly by: 'peer' }
  | { readonly by: 'error'; readonly error: Error };

/** How OpenVPN told, or showed, that it ends. */
export type OpenVpnEnd = (
  /** `>STATE:…,EXITING,reason`: `SIGTERM`, `inactive`, `exit-with-notification`, `auth-failure`, `ping-exit`, … */
  | { readonly by: 'exiting'; readonly reason: string }
  /** `>FATAL:text`; the exit status will be 1. */
  | { readonly by: 'fatal'; readonly reason: string }
  /** The connection ended without a word: a SIGTERM in the first hold, a kill, or a client that had to leave. */
  | { readonly by: 'connection'; readonly reason: string; readonly connection: ConnectionEnd }
  /** The process ended, and its management connection said nothing of it. */
  | { readonly by: 'exit'; readonly reason: string; readonly exitCode?: number; readonly signal?: string }
) & {
  /** What the server refused last, if it did. */
  readonly refused?: PasswordRefusal;
};
