import { beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { NfQueueError, type NfQueue, type PacketSnapshot } from 'node-nfqueue';
import { collect, Fixture } from './fixture.js';
import { until, type Receiver } from './lab.js';

const fixture = new Fixture(12);
let receiver: Receiver;
let queue: NfQueue;
let packets: PacketSnapshot[];

/** Sends, and waits until all are held; returns their ids. */
async function hold(count: number, options: Parameters<typeof fixture.lab.send>[1] = {}): Promise<number[]> {
  packets.length = 0;
  receiver.clear();
  await fixture.lab.send(count, options);
  await until(`${count} packets`, () => packets.length === count);
  return packets.map(({ id }) => id);
}

function delivered(count: number): Promise<void> {
  return until(`${count} delivered`, () => receiver.received.length === count);
}

beforeAll(async () => {
  receiver = await fixture.lab.listen();
});

beforeEach(async () => {
  queue = await fixture.open({ copy: 'whole' });
  packets = collect(queue);
});

describe('verdicts', () => {
  it('settle up to an id, single packets, and lists of them', async () => {
    const ids = await hold(10);
    expect(queue.verdictUpTo(ids[2]!, { verdict: 'accept' })).toBe(3);
    expect(queue.verdict(ids[3]!, { verdict: 'drop' })).toBe(true);
    expect(queue.verdicts([ids[9]!, ids[5]!, ids[7]!], { verdict: 'accept' })).toBe(3);
    expect(queue.held).toBe(3);
    expect([...queue.heldIds()]).toEqual([ids[4], ids[6], ids[8]]);
    await delivered(6);
    expect(receiver.received).toEqual([0, 1, 2, 9, 5, 7]);
    expect(queue.stats()).toMatchObject({ verdicts: 7, held: 3, kernel: { held: 3 } });
  });

  it('may come in any order, thousands at once', async () => {
    const ids = await hold(3000);
    expect(queue.verdicts(Uint32Array.from(ids).reverse(), { verdict: 'accept' })).toBe(3000);
    await delivered(3000);
    expect(receiver.received[0]).toBe(2999);
    expect(receiver.received.at(-1)).toBe(0);
  });

  it('are not sent twice, nor on what is not held: that is counted', async () => {
    const [id = 0] = await hold(1);
    expect(queue.verdict(id, { verdict: 'accept' })).toBe(true);
    expect(queue.verdict(id, { verdict: 'accept' })).toBe(false);
    expect(queue.verdict(id + 1000, { verdict: 'drop' })).toBe(false);
    expect(queue.verdicts([id, id + 1, id + 1], { verdict: 'accept' })).toBe(0);
    expect(queue.verdictUpTo(id, { verdict: 'accept' })).toBe(0);
    expect(queue.stats()).toMatchObject({ verdicts: 1, unknown: 6, gone: 0 });
  });

  it('set the mark, 0 included, or leave it', async () => {
    await fixture.lab.iptables('-t raw -I PREROUTING -p udp -i lan0 -j MARK --set-mark 0x5');
    for (const mark of ['0x0', '0x5', '0xffffffff']) await fixture.lab.iptables(`-t mangle -A FORWARD -p udp -m mark --mark ${mark}`);
    const counts = async (): Promise<number[]> => {
      const lines = (await fixture.lab.iptables('-t mangle -nvxL FORWARD')).split('\n').filter((line) => line.includes('mark match'));
      await fixture.lab.iptables('-t mangle -Z FORWARD');
      return lines.map((line) => Number(line.trim().split(/\s+/)[0]));
    };
    const ids = await hold(4);
    expect(packets[0]?.mark).toBe(5);
    queue.verdict(ids[0]!, { verdict: 'accept', mark: 0 });
    queue.verdict(ids[1]!, { verdict: 'accept' });
    queue.verdicts([ids[3]!], { verdict: 'accept', mark: 0xffffffff });
    await delivered(3);
    expect(await counts()).toEqual([1, 1, 1]);
    queue.verdictUpTo(ids[3]!, { verdict: 'accept', mark: 0 });
    await delivered(4);
    expect(await counts()).toEqual([1, 0, 0]);
    await fixture.lab.iptables('-t raw -D PREROUTING 1');
    await fixture.lab.iptables('-t mangle -F FORWARD');
  });

  it('replace the packet', async () => {
    const [id = 0] = await hold(1, { size: 100 });
    const changed = packets[0]!.payload.slice();
    changed.set([0, 0, 0x30, 0x39], 28); // the datagram's number
    changed.set([0, 0], 26); // no UDP checksum
    expect(queue.verdict(id, { verdict: 'accept', payload: changed })).toBe(true);
    await delivered(1);
    expect(receiver.received).toEqual([12345]);
    expect(receiver.sizes).toEqual([100]);
  });

  it('pass a packet on to another queue, or through the same rules again', async () => {
    const other = await fixture.open({ num: fixture.num + 100 });
    const passed = collect(other);
    const ids = await hold(2);
    queue.verdict(ids[0]!, { verdict: 'queue', queue: fixture.num + 100 });
    await until('the other queue has it', () => passed.length === 1);
    other.verdict(passed[0]!.id, { verdict: 'accept' });
    await delivered(1);

    packets.length = 0;
    queue.verdict(ids[1]!, { verdict: 'repeat' });
    await until('it is back', () => packets.length === 1);
    queue.verdict(packets[0]!.id, { verdict: 'accept' });
    await delivered(2);
  });

  it.each([
    ['a verdict that there is none of', () => queue.verdict(1, { verdict: 'perhaps' as 'accept' })],
    ['an id that is no number of 32 bits', () => queue.verdict(-1, { verdict: 'accept' })],
    ['a fraction for an id', () => queue.verdictUpTo(1.5, { verdict: 'accept' })],
    ['a list with something else in it', () => queue.verdicts([1, NaN], { verdict: 'accept' })],
    ['a mark of more than 32 bits', () => queue.verdict(1, { verdict: 'accept', mark: 2 ** 32 })],
    ['a payload that is no packet', () => queue.verdict(1, { verdict: 'accept', payload: new Uint8Array(3) })],
    ['a payload that no message can carry', () => queue.verdict(1, { verdict: 'accept', payload: new Uint8Array(65_529) })],
    ['a payload that is no bytes', () => queue.verdict(1, { verdict: 'accept', payload: 'x' as unknown as Uint8Array })],
    ['the verdict queue without a queue', () => queue.verdict(1, { verdict: 'queue' })],
  ])('refuse %s', (_, attempt) => {
    expect(attempt).toThrow(expect.objectContaining({ name: 'NfQueueError', code: 'ERR_INVALID_ARGUMENT' }));
  });
});

describe('a listener that throws', () => {
  it('loses neither the burst\'s other packets nor the other listeners', async () => {
    const errors: NfQueueError[] = [];
    queue.on('error', (error) => errors.push(error));
    const settled: number[] = [];
    queue.on('packets', (batch) => {
      for (const packet of batch) {
        if (packet.id % 4 === 1) throw new Error(`not this one: ${packet.id}`);
        queue.verdict(packet.id, { verdict: 'accept' });
        settled.push(packet.id);
      }
    });
    const after = jest.fn();
    queue.on('packets', after);
    const ids = await hold(100);
    await until('the others are settled', () => settled.length === 75);
    expect(queue.held).toBe(25);
    expect([...queue.heldIds()]).toEqual(ids.filter((id) => id % 4 === 1));
    expect(errors).toHaveLength(25);
    expect(errors[0]).toBeInstanceOf(NfQueueError);
    expect(errors[0]).toMatchObject({ code: 'ERR_LISTENER', cause: expect.objectContaining({ message: expect.stringMatching(/^not this one/) }) });
    expect(after).toHaveBeenCalled();
    expect(queue.stats().listenerErrors).toBe(25);
  });

  it('does so, too, after it has gone through all, or when its promise is rejected', async () => {
    const errors: NfQueueError[] = [];
    queue.on('error', (error) => errors.push(error));
    let calls = 0;
    queue.on('packets', (batch) => {
      calls += [...batch].length;
      throw new Error('at the end');
    });
    const rejecting = (): unknown => Promise.reject(new Error('later'));
    queue.on('packets', rejecting);
    const bursts = queue.stats().bursts;
    await hold(5);
    await until('both were told', () => errors.length === 2 * (queue.stats().bursts - bursts));
    expect(calls).toBe(5);
    expect(errors.map(({ message }) => message)).toEqual(expect.arrayContaining(["a listener of 'packets' threw: at the end", "a listener of 'packets' threw: later"]));
  });
});
