import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { NfQueue } from 'node-nfqueue';
import { collect, Fixture } from './fixture.js';
import { sequence, until, type Receiver } from './lab.js';

const fixture = new Fixture(14);
let receiver: Receiver;
let queue: NfQueue;

async function hold(count: number, size = 64): Promise<Uint32Array> {
  const packets = collect(queue);
  receiver.clear();
  await fixture.lab.send(count, { size });
  await until(`${count} packets`, () => packets.length === count);
  return queue.heldIds();
}

beforeAll(async () => {
  receiver = await fixture.lab.listen();
});

beforeEach(async () => {
  queue = await fixture.open();
});

describe('release', () => {
  it('keeps its pace', async () => {
    const ids = await hold(200);
    const start = performance.now();
    expect(await queue.release(ids, { verdict: 'accept', chunk: 20, intervalMs: 10 })).toEqual({ sent: 200, gone: 0, remaining: 0 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(9 * 9);
    await until('200 delivered', () => receiver.received.length === 200);
    expect(receiver.received).toEqual(sequence(200));
  });

  it('counts bytes, too', async () => {
    const ids = await hold(10, 1000);
    const start = performance.now();
    // 1028 bytes each: two go at once
    expect(await queue.release(ids, { verdict: 'accept', chunk: 100, chunkBytes: 2500, intervalMs: 20 })).toEqual({ sent: 10, gone: 0, remaining: 0 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(4 * 19);
    await until('10 delivered', () => receiver.received.length === 10);
    const more = await hold(3, 1000);
    expect(await queue.release(more, { verdict: 'accept', chunkBytes: 1, intervalMs: 0 })).toEqual({ sent: 3, gone: 0, remaining: 0 });
    await until('3 delivered', () => receiver.received.length === 3);
  });

  it('stops between two chunks, and what is left stays held', async () => {
    const ids = await hold(100);
    const aborter = new AbortController();
    const released = queue.release(ids, { verdict: 'accept', chunk: 10, intervalMs: 60_000, signal: aborter.signal });
    await until('the first chunk is gone', () => queue.held === 90);
    aborter.abort();
    expect(await released).toEqual({ sent: 10, gone: 0, remaining: 90 });
    expect(queue.stats()).toMatchObject({ held: 90, kernel: { held: 90 } });
    expect(await queue.release(queue.heldIds(), { verdict: 'accept', signal: AbortSignal.abort() })).toEqual({ sent: 0, gone: 0, remaining: 90 });
    expect(await queue.release(queue.heldIds(), { verdict: 'accept', chunk: Infinity })).toEqual({ sent: 90, gone: 0, remaining: 0 });
    await until('100 delivered', () => receiver.received.length === 100);
    expect(receiver.received).toEqual(sequence(100));
  });

  it('takes any part of what is held, in the order given', async () => {
    const ids = await hold(40);
    const even = ids.filter((_, i) => i % 2 === 0).reverse();
    expect(await queue.release(even, { verdict: 'accept', chunk: 7, intervalMs: 0 })).toEqual({ sent: 20, gone: 0, remaining: 0 });
    await until('20 delivered', () => receiver.received.length === 20);
    expect(receiver.received).toEqual(sequence(40).filter((i) => i % 2 === 0).reverse());
    expect(queue.held).toBe(20);
    // what went before is gone, and what comes twice counts once
    expect(await queue.release([...ids, ...ids], { verdict: 'drop' })).toEqual({ sent: 20, gone: 60, remaining: 0 });
  });

  it('leaves packets alone that come meanwhile', async () => {
    const ids = await hold(20);
    const released = queue.release(ids, { verdict: 'accept', chunk: 5, intervalMs: 50 });
    await fixture.lab.send(5, { first: 100 });
    expect(await released).toEqual({ sent: 20, gone: 0, remaining: 0 });
    await until('5 are held', () => queue.held === 5);
    await until('20 have come', () => receiver.received.length >= 20);
    expect(receiver.received).toEqual(sequence(20));
  });

  it('ends when the queue is closed', async () => {
    const ids = await hold(20);
    const released = queue.release(ids, { verdict: 'accept', chunk: 5, intervalMs: 100 });
    await until('the first chunk is gone', () => queue.held === 15);
    await queue.close();
    expect(await released).toEqual({ sent: 5, gone: 0, remaining: 15 });
  });

  it.each([{ chunk: 0 }, { chunk: 1.5 }, { chunkBytes: -1 }, { intervalMs: -1 }, { intervalMs: NaN }])('refuses %j', async (pace) => {
    await expect(queue.release([], { verdict: 'accept', ...pace })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  });
});
