import { describe, expect, it } from '@jest/globals';
import { MESSAGE } from '../../../src/nfqueue/native/lib/records.js';
import { releasePaced, type Releaser } from '../../../src/nfqueue/native/lib/release.js';
import { Replies } from '../../../src/nfqueue/native/lib/replies.js';

const ENOENT = 2;
const EINVAL = 22;

/** Replies that read the given rows: message number, errno, type, packet id. */
function replies(words: Uint32Array, ...rows: [number, number, number, number][]): number {
  rows.forEach((row, i) => { words.set(row, i * 4); });
  return rows.length;
}

describe('answers to verdicts', () => {
  it('are counted and go to who waits for them', async () => {
    const words = new Uint32Array(64);
    const taken = new Replies(words);
    const first = taken.wait(10, 12);
    const second = taken.wait(13, 13);
    expect(taken.take(replies(words, [10, ENOENT, MESSAGE.verdict, 5], [12, 0, MESSAGE.verdict, 0], [13, ENOENT, MESSAGE.verdictBatch, 9]))).toEqual({ gone: 2, errors: [] });
    expect(await Promise.all([first, second])).toEqual([1, 1]);
  });

  it('that nobody waits for are told', () => {
    const words = new Uint32Array(64);
    const { gone, errors } = new Replies(words).take(replies(words, [1, EINVAL, MESSAGE.verdict, 77], [2, ENOENT, MESSAGE.verdict, 78]));
    expect(gone).toBe(1);
    expect(errors).toEqual([expect.objectContaining({ name: 'NfQueueError', code: 'EINVAL', errno: EINVAL, syscall: 'verdict', packetId: 77 })]);
  });

  it('are found across the wrap of message numbers', async () => {
    const words = new Uint32Array(64);
    const taken = new Replies(words);
    const waiting = taken.wait(0xfffffffe, 1);
    taken.take(replies(words, [0xffffffff, ENOENT, MESSAGE.verdict, 1], [0, ENOENT, MESSAGE.verdict, 2], [1, ENOENT, MESSAGE.verdict, 3]));
    expect(await waiting).toBe(3);
  });

  it('are not waited for for ever', async () => {
    const taken = new Replies(new Uint32Array(64));
    const waiting = taken.wait(1, 2);
    taken.giveUp();
    expect(await waiting).toBe(0);
  });
});

describe('a paced release', () => {
  const pace = { chunk: 3, chunkBytes: Infinity, intervalMs: 0 };

  function releaser(settle: Releaser['settle']): Releaser {
    return { settle, isOpen: () => true, chunkEnd: (ids, from, { chunk }) => Math.min(ids.length, from + chunk) };
  }

  it('goes chunk by chunk and adds up', async () => {
    const chunks: number[][] = [];
    const result = await releasePaced(releaser((ids) => Promise.resolve(chunks.push([...ids]) === 2 ? 1 : ids.length)), Uint32Array.of(1, 2, 3, 4, 5, 6, 7), pace, undefined);
    expect(chunks).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    expect(result).toEqual({ sent: 5, gone: 2, remaining: 0 });
  });

  it('passes on what the queue throws', async () => {
    await expect(releasePaced(releaser(() => Promise.reject(new Error('no'))), Uint32Array.of(1), pace, undefined)).rejects.toThrow('no');
  });
});
