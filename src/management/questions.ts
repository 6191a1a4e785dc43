import type { HoldEvent, ManagementEvent, PasswordNeed } from './events.js';

/** A real-time line after which OpenVPN does nothing more until it is answered. */
export type Question =
  | HoldEvent
  | PasswordNeed
  | Extract<ManagementEvent, { type: 'need-ok' | 'need-str' | 'need-certificate' | 'pk-sign' | 'rsa-sign' | 'proxy' | 'remote' }>;

function asQuestion(event: ManagementEvent): Question | undefined {
  switch (event.type) {
    case 'hold':
    case 'need-ok':
    case 'need-str':
    case 'need-certificate':
    case 'pk-sign':
    case 'rsa-sign':
    case 'proxy':
    case 'remote':
      return event;
    case 'password':
      return event.kind === 'need' ? event : undefined;
    default:
      return undefined;
  }
}

/** Which command answers which question. */
const ANSWERS: Record<Question['type'], readonly string[]> = {
  hold: ['hold'],
  'need-ok': ['needok'],
  'need-str': ['needstr'],
  'need-certificate': ['certificate'],
  'pk-sign': ['pk-sig', 'rsa-sig'],
  'rsa-sign': ['rsa-sig', 'pk-sig'],
  proxy: ['proxy'],
  remote: ['remote'],
  password: ['username', 'password'],
};

/**
 * What OpenVPN waits for, as of the last line that was read. OpenVPN says it again to a new client, and after a signal
 * that it ignores: a repetition is the same question, not another one.
 */
export class QuestionTracker {
  #current: Question | undefined;
  #text = '';
  /** What of a user name and a password is still missing. */
  readonly #missing = new Set<string>();

  get current(): Question | undefined {
    return this.#current;
  }

  event(event: ManagementEvent): void {
    if (event.type === 'fatal') this.#current = undefined;
    const question = asQuestion(event);
    if (question === undefined) return;
    const text = JSON.stringify(question);
    if (this.#current !== undefined && text === this.#text) return;
    this.#current = question;
    this.#text = text;
    this.#missing.clear();
    if (question.type === 'password') for (const part of question.asks.split('/')) this.#missing.add(part);
  }

  /** OpenVPN has answered SUCCESS to a command with these parameters, its name the first of them. */
  succeeded([name, first, second]: readonly string[]): void {
    const question = this.#current;
    if (question === undefined || name === undefined || !ANSWERS[question.type].includes(name)) return;
    if (question.type === 'hold' && first !== 'release') return;
    if (question.type === 'password') {
      // An empty user name is accepted, and is none.
      if (name === 'username' && second === '') return;
      this.#missing.delete(name);
      if (this.#missing.size > 0) return;
    }
    this.#current = undefined;
  }
}
