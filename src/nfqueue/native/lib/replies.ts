import { errnoName, NfQueueError } from './errors.js';
import { MESSAGE, REPLY, REPLY_WORDS } from './records.js';

const ENOENT = 2;

interface Waiting {
  readonly first: number;
  readonly last: number;
  gone: number;
  readonly resolve: (gone: number) => void;
  readonly reject: (error: NfQueueError) => void;
}

export interface ReplySummary {
  /** Verdicts on packets that the kernel did not have any more. */
  readonly gone: number;
  readonly errors: readonly NfQueueError[];
}

/** Whether `a` is not before `b`; message numbers wrap at 2^32. */
function notBefore(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}

/** Answers of the kernel to verdicts: they come later, in the order of what was sent. */
export class Replies {
  readonly #words: Uint32Array;
  #waiting: Waiting[] = [];

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** Resolves with the number of refused verdicts once the message `last`, which asked for an ACK, was answered. */
  wait(first: number, last: number): Promise<number> {
    return new Promise((resolve, reject) => this.#waiting.push({ first, last, gone: 0, resolve, reject }));
  }

  /** Takes over `count` answers. */
  take(count: number): ReplySummary {
    let gone = 0;
    const errors: NfQueueError[] = [];
    for (let i = 0; i < count; i++) {
      const row = i * REPLY_WORDS;
      const sequence = this.#words[row + REPLY.sequence] ?? 0;
      const errno = this.#words[row + REPLY.error] ?? 0;
      if (errno === ENOENT) gone++;
      else if (errno !== 0) errors.push(refusal(errno, this.#words[row + REPLY.type] ?? 0, this.#words[row + REPLY.id] ?? 0));
      this.#attribute(sequence, errno);
    }
    return { gone, errors };
  }

  #attribute(sequence: number, errno: number): void {
    const owner = this.#waiting.find(({ first, last }) => notBefore(sequence, first) && notBefore(last, sequence));
    if (owner === undefined) return;
    if (errno !== 0) owner.gone++;
    if (sequence === owner.last) {
      this.#waiting = this.#waiting.filter((waiting) => waiting !== owner);
      owner.resolve(owner.gone);
    }
  }

  /** Answers may be lost, or none will come any more: nobody is left waiting for them. */
  giveUp(): void {
    for (const { resolve, gone } of this.#waiting.splice(0)) resolve(gone);
  }

  fail(error: NfQueueError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

function refusal(errno: number, type: number, id: number): NfQueueError {
  const syscall = type === MESSAGE.verdictBatch ? 'batch verdict' : type === MESSAGE.verdict ? 'verdict' : 'netlink';
  const code = errnoName(errno);
  return new NfQueueError(code, `${syscall} refused: ${code}`, { errno, syscall, packetId: id === 0 ? undefined : id });
}
