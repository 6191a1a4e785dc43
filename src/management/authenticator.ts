import { Subject, type Observable, type Subscription } from 'rxjs';
import { DaemonError, messageOf } from '../core/errors.js';
import type { ManagementClient } from './client.js';
import type { Credentials } from './credentials.js';
import type { DynamicChallenge, InfoMessageEvent, ManagementEvent, PasswordNeed, PasswordRefusal } from './events.js';
import type { CredentialAnswer, CredentialRequest } from './requests.js';
import { Secret } from './secret.js';
import { sendPassword } from './send-password.js';

export type AuthReport =
  /** A provider is asked, which may be a person; an address to be opened is shown. */
  | { readonly type: 'asking'; readonly request: CredentialRequest }
  | { readonly type: 'answered'; readonly request: CredentialRequest }
  /** `hasNew`: the providers have, without anybody's help, something that was not refused yet. */
  | { readonly type: 'refused'; readonly realm: string; readonly reason?: string; readonly hasNew: boolean }
  /** OpenVPN waits for an answer, and there is none but what was refused. Only its end helps (SIGTERM; SIGUSR1 is fatal). */
  | { readonly type: 'locked'; readonly request: CredentialRequest; readonly reason: string }
  /** A source failed, or OpenVPN did not take the answer. */
  | { readonly type: 'failed'; readonly request: CredentialRequest; readonly error: DaemonError };

interface Sent {
  readonly request: CredentialRequest;
  readonly answer: CredentialAnswer;
}

/**
 * Answers what one OpenVPN asks for, from the tunnel's credentials: user name and password, passphrases, challenges of
 * all three kinds, addresses to open. What the server refuses is remembered in the credentials, beyond this process.
 */
export class Authenticator {
  readonly reports$: Observable<AuthReport>;
  readonly #reports$ = new Subject<AuthReport>();
  readonly #client: ManagementClient;
  readonly #credentials: Credentials;
  #subscription: Subscription | undefined;
  #attempt = new AbortController();
  #answering: unknown;
  #challenge: DynamicChallenge | undefined;
  #refusal: PasswordRefusal | undefined;
  /** By realm, what was sent since the last decision. */
  readonly #sent = new Map<string, Sent[]>();
  #lastReason: string | undefined;
  #reporting: Promise<void> = Promise.resolve();

  constructor(client: ManagementClient, credentials: Credentials) {
    this.#client = client;
    this.#credentials = credentials;
    this.reports$ = this.#reports$.asObservable();
  }

  /**
   * Begins to answer, a question that waits already first. OpenVPN is told to ask again after a refusal (`auth-retry interact`), which dynamic challenges
   * need; whether it dials again is decided by who releases its hold.
   */
  async start(): Promise<void> {
    this.#subscription = this.#client.events$.subscribe({
      next: (event) => {
        this.#see(event);
      },
      complete: () => {
        this.#decide(undefined);
        this.close();
      },
    });
    const retrying = this.#client.setAuthRetry('interact');
    this.retry();
    await retrying;
  }

  /** Asks the providers again for what OpenVPN still waits for: they have something new, or a person wants it. */
  retry(): void {
    const { question } = this.#client;
    if (question?.type === 'password') this.#needed(question);
    else if (question?.type === 'need-ok' || question?.type === 'need-str') this.#answerLater(question, (signal) => this.#need(question, signal));
  }

  /** Nothing is answered any more; what is being reported still is. */
  close(): void {
    this.#attempt.abort();
    this.#subscription?.unsubscribe();
    void this.#reporting.then(() => {
      this.#reports$.complete();
    });
  }

  #see(event: ManagementEvent): void {
    this.#decide(event);
    if (event.type === 'password' && event.kind === 'need') this.#needed(event);
    else if (event.type === 'password' && event.kind === 'verification-failed') this.#failed(event);
    else if (event.type === 'infomsg') void this.#infoMessage(event);
    else if (event.type === 'need-ok' || event.type === 'need-str') this.#answerLater(event, (signal) => this.#need(event, signal));
    else if (event.type === 'state' && event.name === 'CONNECTED') this.#accepted();
  }

  /** What was still asked, an address to be opened, is done. A code is good for once: OpenVPN must not send it again. */
  #accepted(): void {
    this.#challenge = undefined;
    this.#lastReason = undefined;
    this.#attempt.abort();
    this.#attempt = new AbortController();
    const withCode = [...this.#sent].filter(([, sent]) => sent.length > 1);
    for (const [realm] of withCode) this.#sent.delete(realm);
    if (withCode.length > 0) this.#client.forgetPasswords().catch(() => undefined);
  }

  #failed(refusal: PasswordRefusal): void {
    if (refusal.challenge !== undefined) this.#challenge = refusal.challenge;
    // The server is not ready; it has not looked at the password.
    else if (refusal.reason?.startsWith('TEMP') !== true) this.#refusal = refusal;
  }

  /** Only the line after a refusal tells whether it was the password, or a token that OpenVPN sent in its place. */
  #decide(next: ManagementEvent | undefined): void {
    const refusal = this.#refusal;
    if (refusal === undefined || next?.type === 'log') return;
    this.#refusal = undefined;
    if (next?.type === 'state' && /\(auth-token\)|^auth-temp-failure/.test(next.description)) return;
    const sent = this.#sent.get(refusal.realm) ?? [];
    this.#sent.delete(refusal.realm);
    this.#challenge = undefined;
    this.#lastReason = refusal.reason;
    for (const { request, answer } of sent) {
      this.#credentials.memory.remember(request, answer, { withCode: sent.length > 1 && request.kind !== 'response' });
    }
    const first = sent.find(({ request }) => request.kind !== 'response')?.request;
    this.#reporting = this.#reportRefusal(refusal, first ?? { kind: 'login', realm: refusal.realm });
  }

  async #reportRefusal({ realm, reason }: PasswordRefusal, request: CredentialRequest): Promise<void> {
    const hasNew = await this.#credentials.hasNew(request);
    this.#reports$.next({ type: 'refused', realm, hasNew, ...(reason === undefined ? {} : { reason }) });
  }

  #needed(need: PasswordNeed): void {
    // An event that comes late may be of a question that was answered.
    const { question } = this.#client;
    if (question?.type !== 'password' || question.realm !== need.realm || question === this.#answering) return;
    this.#answering = question;
    this.#answerLater(question, (signal) => this.#answerNeed(need, signal));
  }

  /** Answers, unless OpenVPN asks something else meanwhile or ends. */
  #answerLater(question: object, answer: (signal: AbortSignal) => Promise<void>): void {
    this.#attempt.abort();
    this.#attempt = new AbortController();
    void answer(this.#attempt.signal).finally(() => {
      if (this.#answering === question) this.#answering = undefined;
    });
  }

  async #answerNeed(need: PasswordNeed, signal: AbortSignal): Promise<void> {
    const { realm } = need;
    const challenge = realm === 'Auth' ? this.#challenge : undefined;
    if (challenge !== undefined && need.asks === 'username/password') {
      this.#challenge = undefined;
      await this.#answerDynamic(need, challenge, signal);
      return;
    }
    this.#sent.delete(realm);
    const kind = need.asks === 'username' ? 'username' : need.asks === 'password' ? 'passphrase' : 'login';
    const request: CredentialRequest = { kind, realm };
    const answer = await this.#ask(request, signal);
    if (answer === undefined) return;
    if (answer.kind === 'login' && need.challenge !== undefined) {
      const { text, echo, concatenate } = need.challenge;
      const response: CredentialRequest = { kind: 'response', via: 'static', text, echo, username: answer.username };
      const code = await this.#ask(response, signal);
      if (code?.kind !== 'secret') return;
      const both = concatenate ? `${answer.password.reveal()}${code.secret.reveal()}` : `SCRV1:${base64(answer.password)}:${base64(code.secret)}`;
      this.#sent.set(realm, [{ request, answer }, { request: response, answer: code }]);
      await this.#send(request, realm, answer.username, new Secret(both), signal);
      return;
    }
    this.#sent.set(realm, [{ request, answer }]);
    const { username, secret } = partsOf(answer);
    await this.#send(request, realm, username, secret, signal);
  }

  async #answerDynamic(need: PasswordNeed, { text, echo, responseRequired, stateId, username }: DynamicChallenge, signal: AbortSignal): Promise<void> {
    const request: CredentialRequest = { kind: 'response', via: 'dynamic', text, echo, username };
    const earlier = this.#sent.get(need.realm) ?? [];
    let response = '';
    if (responseRequired) {
      const code = await this.#ask(request, signal);
      if (code?.kind !== 'secret') return;
      response = code.secret.reveal();
      this.#sent.set(need.realm, [...earlier, { request, answer: code }]);
    }
    const name = username === '' ? earlier.map(({ answer }) => partsOf(answer).username).find(Boolean) : username;
    await this.#send(request, need.realm, name, new Secret(`CRV1::${stateId}::${response}`), signal);
  }

  async #need(event: Extract<ManagementEvent, { type: 'need-ok' | 'need-str' }>, signal: AbortSignal): Promise<void> {
    const { name, text } = event;
    const request: CredentialRequest = { kind: event.type === 'need-ok' ? 'confirm' : 'string', name, text };
    const answer = await this.#ask(request, signal);
    if (answer?.kind === 'confirmed') await this.#report(request, () => this.#client.needOk(name, answer.ok ? 'ok' : 'cancel'));
    if (answer?.kind === 'secret') await this.#report(request, () => this.#client.needStr(name, answer.secret));
  }

  async #infoMessage(event: InfoMessageEvent): Promise<void> {
    if (event.kind === 'other') return;
    const { signal } = this.#attempt;
    if (event.kind === 'cr-text') {
      const { text, echo } = event;
      const request: CredentialRequest = { kind: 'response', via: 'cr-text', text, echo };
      const answer = await this.#ask(request, signal);
      if (answer?.kind === 'secret') await this.#report(request, () => this.#client.crResponse(answer.secret));
      return;
    }
    const proxy = event.kind === 'web-auth' && event.proxy !== undefined ? { proxy: event.proxy } : {};
    const request: CredentialRequest = { kind: 'open-url', url: event.url, flags: event.kind === 'web-auth' ? event.flags : [], ...proxy };
    if ((await this.#ask(request, signal)) !== undefined) this.#reports$.next({ type: 'answered', request });
  }

  /** Undefined if there is no answer, or none is wanted any more; it was reported then. */
  async #ask(request: CredentialRequest, signal: AbortSignal): Promise<CredentialAnswer | undefined> {
    this.#reports$.next({ type: 'asking', request });
    try {
      const answer = await this.#credentials.for(request, signal);
      if (signal.aborted) return undefined;
      // An address was shown by the report at least.
      if (answer === undefined && request.kind !== 'open-url') this.#reports$.next({ type: 'locked', request, reason: this.#lastReason ?? 'there is no answer, or none that was not refused' });
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#reports$.next({ type: 'failed', request, error: asDaemonError(error) });
      return undefined;
    }
  }

  async #send(request: CredentialRequest, realm: string, username: string | undefined, password: Secret | undefined, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await this.#report(request, async () => {
      if (username !== undefined) await this.#client.username(realm, username);
      if (password !== undefined) await sendPassword(this.#client, realm, password);
    });
  }

  async #report(request: CredentialRequest, send: () => Promise<void>): Promise<void> {
    try {
      await send();
      this.#reports$.next({ type: 'answered', request });
    } catch (error) {
      this.#reports$.next({ type: 'failed', request, error: asDaemonError(error) });
    }
  }
}

function partsOf(answer: CredentialAnswer): { readonly username?: string; readonly secret?: Secret } {
  switch (answer.kind) {
    case 'login':
      return { username: answer.username, secret: answer.password };
    case 'username':
      return { username: answer.username };
    case 'secret':
      return { secret: answer.secret };
    case 'shown':
    case 'confirmed':
      return {};
  }
}

function base64(secret: Secret): string {
  return Buffer.from(secret.reveal()).toString('base64');
}

function asDaemonError(error: unknown): DaemonError {
  return error instanceof DaemonError ? error : new DaemonError('CREDENTIALS_UNAVAILABLE', messageOf(error));
}
