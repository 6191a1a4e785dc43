import { createHash, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

const MASK = '[secret]';

/** A value that no log, no JSON and no error message can show: it prints as `[secret]` whatever prints it. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself: to be called only where it goes to whom it is meant for. */
  reveal(): string {
    return this.#value;
  }

  equals(other: Secret): boolean {
    return timingSafeEqual(this.fingerprint(), other.fingerprint());
  }

  /** SHA-256, to remember a secret without keeping it. */
  fingerprint(): Buffer {
    return createHash('sha256').update(this.#value).digest();
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.toPrimitive](): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
