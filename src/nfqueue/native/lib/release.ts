import { setTimeout as delay } from 'node:timers/promises';
import { invalid } from './errors.js';
import { isUint32, type VerdictOptions } from './verdicts.js';

export interface ReleaseOptions extends VerdictOptions {
  /** Packets that go at once. Default 64. */
  readonly chunk?: number | undefined;
  /** Bytes of packets that go at once; a larger packet goes alone. No limit if absent. */
  readonly chunkBytes?: number | undefined;
  /** Milliseconds from one chunk to the next. Default 2. 0: no pause, but other events get their turn in between. */
  readonly intervalMs?: number | undefined;
  /** Stops between two chunks; what is left stays held, and the promise resolves. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReleaseResult {
  /** Packets that had their verdict. */
  readonly sent: number;
  /** Ids that were not held any more: flushed by the kernel, settled before, or never seen. */
  readonly gone: number;
  /** Ids that were not tried, since the signal or the end of the queue came first. */
  readonly remaining: number;
}

export interface Pace {
  readonly chunk: number;
  readonly chunkBytes: number;
  readonly intervalMs: number;
}

/** What a release asks of its queue. */
export interface Releaser {
  isOpen(): boolean;
  /** Index behind the last id of a chunk that begins at `from`. */
  chunkEnd(ids: Uint32Array, from: number, pace: Pace): number;
  /** Sends verdicts; resolves with how many packets had theirs once the kernel has answered. */
  settle(ids: Uint32Array): Promise<number>;
}

function positive(name: string, value: number): number {
  if (value === Infinity || (isUint32(value) && value > 0)) return value;
  throw invalid(`${name} is ${value}, not a positive integer`);
}

/** Fills in the defaults. @throws NfQueueError ERR_INVALID_ARGUMENT */
export function paceOf({ chunk = 64, chunkBytes = Infinity, intervalMs = 2 }: ReleaseOptions): Pace {
  if (!(intervalMs >= 0 && intervalMs <= 0x7fffffff)) throw invalid(`intervalMs is ${intervalMs}, not 0 or more`);
  return { chunk: positive('chunk', chunk), chunkBytes: positive('chunkBytes', chunkBytes), intervalMs };
}

/** Until the next chunk is due; the end of the wait is not an error, whatever ended it. */
async function pause(until: number, signal: AbortSignal | undefined): Promise<void> {
  const ms = Math.max(0, until - performance.now());
  await delay(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}

/** Releases `ids` in the order given, chunk by chunk. */
export async function releasePaced(queue: Releaser, ids: Uint32Array, pace: Pace, signal: AbortSignal | undefined): Promise<ReleaseResult> {
  let sent = 0;
  let from = 0;
  while (from < ids.length && signal?.aborted !== true && queue.isOpen()) {
    const due = performance.now() + pace.intervalMs;
    const end = queue.chunkEnd(ids, from, pace);
    sent += await queue.settle(ids.subarray(from, end));
    from = end;
    if (from < ids.length) await pause(due, signal);
  }
  return { sent, gone: from - sent, remaining: ids.length - from };
}
