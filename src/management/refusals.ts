import type { CredentialAnswer, CredentialRequest } from './requests.js';
import { Secret } from './secret.js';

/**
 * What was sent and refused, as fingerprints. A password that was refused alone is never given out again. One that was
 * refused together with a one-time code may itself be right: it is given out again when a person has asked for it.
 */
export class RefusalMemory {
  readonly #refused = new Set<string>();
  readonly #doubtful = new Set<string>();

  /** Whether this very answer was refused before. */
  knows(request: CredentialRequest, answer: CredentialAnswer): boolean {
    const key = keyOf(request, answer);
    return key !== undefined && (this.#refused.has(key) || this.#doubtful.has(key));
  }

  /** @param withCode it was sent together with a one-time code, and either may have been wrong */
  remember(request: CredentialRequest, answer: CredentialAnswer, { withCode = false }: { readonly withCode?: boolean } = {}): void {
    const key = keyOf(request, answer);
    if (key !== undefined) (withCode ? this.#doubtful : this.#refused).add(key);
  }

  /** Somebody asked for another attempt (`up`): passwords that were refused together with a code may be tried again. */
  allowDoubtful(): void {
    this.#doubtful.clear();
  }

  /** Everything may be tried again: for who knows that the account was changed on the server. */
  forget(): void {
    this.#refused.clear();
    this.#doubtful.clear();
  }
}

/** Of whom, and what; undefined for what cannot be refused. */
function keyOf(request: CredentialRequest, answer: CredentialAnswer): string | undefined {
  const realm = 'realm' in request ? request.realm : request.kind === 'response' ? `response for ${request.username ?? ''}` : undefined;
  if (realm === undefined) return undefined;
  if (answer.kind === 'login') return new Secret(JSON.stringify([realm, answer.username, answer.password.reveal()])).fingerprint().toString('base64');
  return answer.kind === 'secret' ? new Secret(JSON.stringify([realm, answer.secret.reveal()])).fingerprint().toString('base64') : undefined;
}
