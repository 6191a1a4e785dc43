import type { Observable } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { Connection, LinkFailure } from '../core/words.js';
import { Authenticator, type AuthReport } from '../management/authenticator.js';
import type { ManagementClient } from '../management/client.js';
import type { Credentials } from '../management/credentials.js';
import type { ManagementEvent, StateEvent } from '../management/events.js';
import { HoldPolicy } from '../management/hold.js';

/** What a management connection means for a link. */
export type WatchEvent =
  /** OpenVPN waits for `hold release`, and gets it if a dial is wanted. */
  | { readonly type: 'held' }
  | { readonly type: 'connected'; readonly connection: Connection }
  /** Another step on the way up. */
  | { readonly type: 'progress'; readonly step: string }
  /** CONNECTED, but traffic can't pass; or credentials that were refused or are not there. */
  | { readonly type: 'failed'; readonly failure: LinkFailure }
  | { readonly type: 'reconnecting'; readonly reason: string }
  | { readonly type: 'exiting'; readonly reason: string }
  | { readonly type: 'log'; readonly line: string };

export interface WatchOptions {
  readonly device: string;
  readonly credentials: Credentials | undefined;
  /** What OpenVPN says from now on. Default: the client's events, those that nobody has seen yet included. */
  readonly events$?: Observable<ManagementEvent>;
  readonly emit: (event: WatchEvent) => void;
}

/** Speaks with one OpenVPN for a link: answers its holds and its questions, and says what its states mean. */
export class ManagementWatch {
  readonly #client: ManagementClient;
  readonly #options: WatchOptions;
  readonly #hold: HoldPolicy;
  #authenticator: Authenticator | undefined;
  #failed = false;
  /** The next hold is answered at once: OpenVPN was made to start over, or the server waits for an answer. */
  #hurried = false;
  /** What OpenVPN said against the server's certificate. */
  certificateProblem = '';

  /** Subscribes at once; whoever makes it has OpenVPN in hold, or knows its state. */
  constructor(client: ManagementClient, options: WatchOptions) {
    this.#client = client;
    this.#options = options;
    (options.events$ ?? client.events$).subscribe((event) => { this.#see(event); });
    this.#hold = new HoldPolicy(client, { waitMs: ({ waitSeconds }) => this.#waitMs(waitSeconds), onError: (error) => { this.#log(error); } });
  }

  /**
   * A dial is wanted: this hold is released, and those that follow after the time that OpenVPN itself would wait; what
   * it asks is answered. Nothing is answered before, since an answer would make it connect.
   */
  want(): void {
    this.#failed = false;
    const { credentials } = this.#options;
    // Before any release: a challenge is only told to who says that he wants to be asked.
    if (credentials !== undefined) this.#authenticate(credentials);
    this.#hold.want();
    const { question } = this.#client;
    if (credentials === undefined && question?.type === 'password') this.#see(question);
  }

  unwant(): void {
    this.#hold.unwant();
  }

  /** OpenVPN waits for `hold release`. */
  get holding(): boolean {
    return this.#client.question?.type === 'hold';
  }

  /** OpenVPN waits for an answer; a restart would be its end. */
  get asking(): boolean {
    return this.#client.question !== undefined && !this.holding;
  }

  /** Starts over at once, back to a hold. A hold that is there already is not kept any longer. */
  restart(): void {
    if (this.holding) {
      this.#hold.hurry();
      return;
    }
    this.#hurried = true;
    // Refused while it asks for a password (it would be fatal then): what it does next tells.
    this.#client.signal('SIGUSR1').catch((error: unknown) => { this.#log(error); });
  }

  /** What a state says that was there before we were. */
  seeState({ name, description, tunIpv4, tunIpv6 }: StateEvent): void {
    if (name === 'CONNECTED' && description === 'SUCCESS') {
      const addresses = { ...(tunIpv4 === undefined ? {} : { ipv4: tunIpv4 }), ...(tunIpv6 === undefined ? {} : { ipv6: tunIpv6 }) };
      this.#options.emit({ type: 'connected', connection: { device: this.#options.device, addresses } });
    } else if (name === 'CONNECTED') {
      this.#fail({ code: 'route', detail: `OpenVPN connected with ${description}: traffic can't pass` });
    } else if (name === 'RECONNECTING') {
      this.#reconnecting(description);
    } else if (name === 'EXITING') {
      if (description.startsWith('auth-failure')) this.#fail({ code: 'auth', detail: 'the server refused the credentials' });
      this.#options.emit({ type: 'exiting', reason: description });
    } else {
      this.#options.emit({ type: 'progress', step: name });
    }
  }

  #reconnecting(reason: string): void {
    // A certificate does not get better by trying again, and nor do credentials; with a source of them, it is asked again.
    if (reason === 'tls-error' && this.certificateProblem !== '') this.#fail({ code: 'tls', detail: this.certificateProblem });
    else if (reason.startsWith('auth-failure') && this.#options.credentials === undefined) this.#fail({ code: 'auth', detail: 'the server refused the credentials' });
    else this.#options.emit({ type: 'reconnecting', reason });
  }

  #see(event: ManagementEvent): void {
    switch (event.type) {
      case 'hold':
        this.#options.emit({ type: 'held' });
        break;
      case 'state':
        this.seeState(event);
        break;
      case 'fatal':
        this.#fail({ code: 'fatal', detail: event.text });
        break;
      case 'password':
        // OpenVPN would wait as after a failure, and the person with the code, too.
        if (event.kind === 'verification-failed' && event.challenge !== undefined) this.#hurried = true;
        if (this.#options.credentials !== undefined) break;
        if (event.kind === 'need') this.#fail({ code: 'auth', detail: `OpenVPN asks for ${event.realm} ${event.asks}, and no \`credentials\` are configured` });
        if (event.kind === 'verification-failed') this.#fail({ code: 'auth', detail: refused(event) });
        break;
      default:
        break;
    }
  }

  #authenticate(credentials: Credentials): void {
    if (this.#authenticator) {
      this.#authenticator.retry();
      return;
    }
    this.#authenticator = new Authenticator(this.#client, credentials);
    this.#authenticator.reports$.subscribe((report) => { this.#report(report); });
    this.#authenticator.start().catch((error: unknown) => { this.#log(error); });
  }

  #report(report: AuthReport): void {
    if (report.type === 'locked') this.#fail({ code: 'auth', detail: report.reason });
    // With something new OpenVPN starts over, asks, and gets it.
    else if (report.type === 'refused' && !report.hasNew) this.#fail({ code: 'auth', detail: refused(report) });
    else if (report.type === 'failed') this.#fail({ code: 'credentials', detail: [report.error.place, report.error.message].filter(Boolean).join(': ') });
    else if (report.type === 'asking') this.#options.emit({ type: 'progress', step: 'ASKING' });
  }

  /** The first failure of a dial is its cause; what follows from it is not told. */
  #fail(failure: LinkFailure): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#options.emit({ type: 'failed', failure });
  }

  #waitMs(waitSeconds: number): number {
    const hurried = this.#hurried;
    this.#hurried = false;
    return hurried ? 0 : waitSeconds * 1000;
  }

  #log(error: unknown): void {
    this.#options.emit({ type: 'log', line: messageOf(error) });
  }
}

function refused({ realm, reason }: { readonly realm: string; readonly reason?: string }): string {
  return `${realm} was refused${reason === undefined ? '' : `: ${reason}`}`;
}
