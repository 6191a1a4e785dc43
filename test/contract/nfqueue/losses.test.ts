import { execFileSync } from 'node:child_process';
import { beforeEach, describe, expect, it } from '@jest/globals';
import type { Flushed, NfQueue, Overflow } from 'node-nfqueue';
import { block, collect, Fixture } from './fixture.js';
import { until } from './lab.js';

const fixture = new Fixture(13);
const overflows: Overflow[] = [];
const flushes: Flushed[] = [];

function watch(queue: NfQueue): NfQueue {
  queue.on('overflow', (overflow) => overflows.push(overflow));
  queue.on('flushed', (flushed) => flushes.push(flushed));
  return queue;
}

function sum(what: readonly Overflow[], key: keyof Overflow): number {
  return what.reduce((total, overflow) => total + overflow[key], 0);
}

async function flush(): Promise<void> {
  await fixture.lab.router.ip('link set lan0 down');
  await fixture.lab.router.ip('link set lan0 up');
}

/** The same, and meanwhile this process does not come to look at its count. */
function flushUnnoticed(): void {
  for (const state of ['down', 'up']) execFileSync('ip', ['-n', fixture.lab.router.name, 'link', 'set', 'lan0', state]);
}

beforeEach(() => {
  overflows.length = flushes.length = 0;
});

describe('loss', () => {
  it('does not happen while the event loop is blocked for a second under a burst of 20,000', async () => {
    const queue = watch(await fixture.open({ maxLength: 32_768 }));
    const packets: number[] = [];
    queue.on('packets', (batch) => packets.push(...batch.ids()));
    const sending = fixture.lab.send(20_000);
    block(1000);
    await sending;
    await until('20,000 packets', () => packets.length === 20_000);
    expect(queue.stats()).toMatchObject({ held: 20_000, overflows: 0, kernel: { held: 20_000, queueDropped: 0, userDropped: 0 } });
    expect(overflows).toEqual([]);
    expect(queue.verdictUpTo(packets.at(-1)!, { verdict: 'drop' })).toBe(20_000);
  });

  it('is told and counted when the receive buffer is full', async () => {
    const queue = watch(await fixture.open({ receiveBuffer: 32_768 }));
    const packets = collect(queue);
    const sending = fixture.lab.send(3000);
    block(1000);
    await sending;
    await until('an overflow', () => overflows.length > 0);
    await until('all is accounted for', () => packets.length + (queue.stats().kernel?.userDropped ?? 0) === 3000);
    expect(queue.stats().overflows).toBeGreaterThan(0);
    expect(queue.stats().kernel?.userDropped).toBeGreaterThan(100);
    await until('all was told', () => sum(overflows, 'userDropped') === queue.stats().kernel?.userDropped);

    // and it goes on: nothing is lost any more
    const before = packets.length;
    await fixture.lab.send(10);
    await until('10 more', () => packets.length === before + 10);
  });

  it('is told and counted when the queue is full', async () => {
    const queue = watch(await fixture.open({ maxLength: 100 }));
    const packets = collect(queue);
    await fixture.lab.send(150);
    await until('it is told without being asked', () => overflows.length > 0);
    expect(overflows).toEqual([{ userDropped: 0, queueDropped: 50 }]);
    expect(packets).toHaveLength(100);
    expect(queue.stats().kernel).toMatchObject({ held: 100, queueDropped: 50 });
  });

  it('does not happen in a full queue that is fail-open: what does not fit passes', async () => {
    const receiver = await fixture.lab.listen();
    const queue = watch(await fixture.open({ maxLength: 100, flags: { failOpen: true } }));
    const packets = collect(queue);
    await fixture.lab.send(150);
    await until('50 pass', () => receiver.received.length === 50);
    expect(packets).toHaveLength(100);
    expect(receiver.received[0]).toBe(100);
    expect(queue.stats().kernel).toMatchObject({ held: 100, queueDropped: 0 });
  });
});

describe('a flush', () => {
  it('is told without being asked, and what is gone is not held any more', async () => {
    const queue = watch(await fixture.open());
    const packets = collect(queue);
    await fixture.lab.send(7);
    await until('7 packets', () => packets.length === 7);
    await flush();
    await until('it is told', () => flushes.length === 1);
    expect(flushes).toEqual([{ packets: 7, remaining: 0 }]);
    expect(queue.held).toBe(0);
    expect(queue.heldIds()).toHaveLength(0);
    expect(queue.verdict(packets[0]!.id, { verdict: 'accept' })).toBe(false);
    expect(queue.stats()).toMatchObject({ flushed: 7, unknown: 1, gone: 0 });
  });

  it('of a part is counted, and shows in the verdicts', async () => {
    const queue = watch(await fixture.open());
    const packets = collect(queue);
    await fixture.lab.send(5);
    await fixture.lab.send(2, { from: fixture.lab.router });
    await until('7 packets', () => packets.length === 7);
    await flush();
    expect(queue.stats()).toMatchObject({ held: 2, flushed: 5, kernel: { held: 2 } });
    expect(queue.heldIds()).toHaveLength(7); // which of them are gone, the kernel does not say
    expect(await queue.release(queue.heldIds(), { verdict: 'accept', chunk: 3, intervalMs: 1 })).toEqual({ sent: 2, gone: 5, remaining: 0 });
    expect(queue.stats()).toMatchObject({ held: 0, flushed: 5, gone: 5, kernel: { held: 0 } });
    await until('it is told', () => flushes.length > 0);
    expect(flushes).toEqual([{ packets: 5, remaining: 2 }]);
  });

  it('of a part does not upset the count, whatever settles the rest', async () => {
    for (const settle of [(queue: NfQueue) => queue.verdicts(queue.heldIds(), { verdict: 'accept' }), (queue: NfQueue) => queue.verdictUpTo(queue.heldIds().at(-1)!, { verdict: 'accept' })]) {
      const queue = await fixture.open();
      const packets = collect(queue);
      await fixture.lab.send(5);
      await fixture.lab.send(2, { from: fixture.lab.router });
      await until('7 packets', () => packets.length === 7);
      await flush();
      expect(queue.stats()).toMatchObject({ held: 2, flushed: 5 });
      expect(settle(queue)).toBe(7); // sent; the kernel's answers come later
      await until('the kernel has nothing', () => queue.stats().kernel?.held === 0);
      await until('the own count agrees', () => queue.held === 0);
      expect(queue.stats().flushed).toBe(5);
      await queue.close();
    }
  });

  it('that nobody has noticed yet shows in the kernel\'s answers to verdicts', async () => {
    const queue = watch(await fixture.open());
    const packets = collect(queue);
    await fixture.lab.send(3);
    await until('3 packets', () => packets.length === 3);
    flushUnnoticed();
    // Packets may lie behind those answers, where a request would read over them.
    const refused: unknown[] = [];
    const other = await fixture.open({ num: 1013 });
    queue.on('flushed', () => {
      try {
        other.requestInPause({ subsystem: 6, command: 1, attributes: [] });
      } catch (error) {
        refused.push((error as { code?: unknown }).code);
      }
    });
    for (const { id } of packets) expect(queue.verdict(id, { verdict: 'accept' })).toBe(true);
    await until('the kernel has answered', () => flushes.reduce((total, { packets: count }) => total + count, 0) === 3);
    expect(queue.stats()).toMatchObject({ gone: 3, flushed: 3, held: 0 });
    expect(new Set(refused)).toEqual(new Set(['ERR_INVALID_ARGUMENT']));
  });

  it('in the middle of a release is counted', async () => {
    const queue = watch(await fixture.open());
    const packets = collect(queue);
    await fixture.lab.send(100);
    await until('100 packets', () => packets.length === 100);
    const released = queue.release(queue.heldIds(), { verdict: 'accept', chunk: 10, intervalMs: 300 });
    await until('a part is gone', () => queue.held <= 90);
    await flush();
    const { sent, gone, remaining } = await released;
    expect(sent + gone).toBe(100);
    expect(sent).toBeGreaterThanOrEqual(10);
    expect(gone).toBeGreaterThanOrEqual(50);
    expect(remaining).toBe(0);
  });
});
