import { BehaviorSubject, type Observable } from 'rxjs';
import { DaemonError } from '../core/errors.js';
import type { CredentialProvider } from './credentials.js';
import type { CredentialAnswer, CredentialRequest } from './requests.js';
import type { Secret } from './secret.js';

interface Waiting {
  readonly request: CredentialRequest;
  resolve(answer: CredentialAnswer | undefined): void;
}

/** What a person gives: a text for most questions, a name with it for a login, yes or no for a confirmation. */
export type PersonsAnswer = { readonly username?: string; readonly secret: Secret } | { readonly ok: boolean };

/** Questions for a person, who answers when he comes to it: the other side of `openvpn-ondemand answer NAME`. */
export class AttendedPrompts implements CredentialProvider {
  readonly attended = true;
  /** What is asked now; undefined if nothing is. */
  readonly pending$: Observable<CredentialRequest | undefined>;
  readonly #pending$ = new BehaviorSubject<CredentialRequest | undefined>(undefined);
  readonly #waiting: Waiting[] = [];

  constructor() {
    this.pending$ = this.#pending$.asObservable();
  }

  /** What is asked now. */
  get pending(): CredentialRequest | undefined {
    return this.#waiting[0]?.request;
  }

  for(request: CredentialRequest, signal?: AbortSignal): Promise<CredentialAnswer | undefined> {
    return new Promise((resolve) => {
      const leave = (answer: CredentialAnswer | undefined): void => {
        signal?.removeEventListener('abort', onAbort);
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        this.#pending$.next(this.#waiting[0]?.request);
        resolve(answer);
      };
      const onAbort = (): void => {
        leave(undefined);
      };
      const waiting: Waiting = { request, resolve: leave };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
      else this.#pending$.next(this.#waiting[0]?.request);
    });
  }

  /** @throws DaemonError USAGE if nothing is asked, or if it is something else that is asked */
  answer(answer: PersonsAnswer): void {
    const [waiting] = this.#waiting;
    if (waiting === undefined) throw new DaemonError('USAGE', 'nothing is asked');
    waiting.resolve(fit(waiting.request, answer));
  }

  /** Nobody will answer: what is asked has no answer. */
  decline(): void {
    this.#waiting[0]?.resolve(undefined);
  }
}

function fit(request: CredentialRequest, answer: PersonsAnswer): CredentialAnswer {
  switch (request.kind) {
    case 'confirm':
      if ('ok' in answer) return { kind: 'confirmed', ok: answer.ok };
      throw new DaemonError('USAGE', 'yes or no is asked');
    case 'open-url':
      return { kind: 'shown' };
    case 'login':
      if ('secret' in answer && answer.username !== undefined) return { kind: 'login', username: answer.username, password: answer.secret };
      throw new DaemonError('USAGE', 'a user name and a password are asked');
    case 'username':
      if ('secret' in answer) return { kind: 'username', username: answer.username ?? answer.secret.reveal() };
      throw new DaemonError('USAGE', 'a user name is asked');
    case 'passphrase':
    case 'response':
    case 'string':
      if ('secret' in answer) return { kind: 'secret', secret: answer.secret };
      throw new DaemonError('USAGE', 'a text is asked');
  }
}
