import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decodePacket, NfQueue, type OpenOptions, type PacketSnapshot } from 'node-nfqueue';
import { QueueLab, RECEIVER4, RECEIVER6, sequence, until } from './lab.js';

const NUM = 11;
let lab: QueueLab;
const queues: NfQueue[] = [];

async function open(options: Partial<OpenOptions> = {}): Promise<NfQueue> {
  const queue = await NfQueue.open({ num: NUM, maxLength: 8192, netns: lab.netns, ...options });
  queues.push(queue);
  return queue;
}

/** Collects what the queue tells of, by value. */
function collect(queue: NfQueue): PacketSnapshot[] {
  const packets: PacketSnapshot[] = [];
  queue.on('packets', (batch) => {
    for (const packet of batch) packets.push(packet.snapshot());
  });
  return packets;
}

beforeEach(async () => {
  lab = await QueueLab.create(NUM);
});

afterEach(async () => {
  for (const queue of queues.splice(0)) await queue.close();
  await lab.dispose();
});

describe('a queue', () => {
  it('holds packets, tells what they are, and lets them go in order', async () => {
    const receiver = await lab.listen();
    const queue = await open();
    const packets = collect(queue);
    await lab.send(50);
    await until('50 packets', () => packets.length === 50);

    expect(queue.held).toBe(50);
    expect(receiver.received).toEqual([]);
    expect(packets[0]).toMatchObject({ hook: 'prerouting', hookNumber: 0, family: 2, hwProtocol: 0x0800, mark: 0, length: 92, truncated: false, inDevice: 'lan0', outDevice: undefined });
    const { network, transport } = decodePacket(packets[0]!.payload, packets[0]!.hwProtocol);
    expect(network).toMatchObject({ version: 4, source: '10.1.0.2', destination: RECEIVER4, protocol: 17, totalLength: 92 });
    expect(transport).toMatchObject({ protocol: 'udp', destinationPort: 9, length: 72 });

    expect(await queue.release(queue.heldIds(), { verdict: 'accept', chunk: 16, intervalMs: 1 })).toEqual({ sent: 50, gone: 0, remaining: 0 });
    await until('all delivered', () => receiver.received.length === 50);
    expect(receiver.received).toEqual(sequence(50));
    expect(queue.held).toBe(0);
    expect(queue.stats()).toMatchObject({ packets: 50, verdicts: 50, held: 0, kernel: { held: 0, copyRange: 128, queueDropped: 0, userDropped: 0 } });
  });

  it('takes IPv6 as well', async () => {
    const receiver = await lab.listen(RECEIVER6);
    const queue = await open();
    const packets = collect(queue);
    await lab.send(3, { host: RECEIVER6 });
    await until('3 packets', () => packets.length === 3);
    expect(packets[2]).toMatchObject({ family: 10, hwProtocol: 0x86dd, length: 112 });
    expect(decodePacket(packets[2]!.payload)).toMatchObject({ network: { version: 6, source: 'fd00:1::2', destination: RECEIVER6 }, transport: { protocol: 'udp', destinationPort: 9 } });
    queue.verdictUpTo(packets[2]!.id, { verdict: 'accept' });
    await until('3 delivered', () => receiver.received.length === 3);
  });

  it('settles up to an id, single packets, and lists of them', async () => {
    const receiver = await lab.listen();
    const queue = await open();
    const packets = collect(queue);
    await lab.send(10);
    await until('10 packets', () => packets.length === 10);
    const ids = packets.map(({ id }) => id);

    expect(queue.verdictUpTo(ids[2]!, { verdict: 'accept' })).toBe(3);
    expect(queue.verdict(ids[3]!, { verdict: 'drop' })).toBe(true);
    expect(queue.verdicts([ids[9]!, ids[5]!, ids[7]!], { verdict: 'accept' })).toBe(3);
    expect(queue.held).toBe(3);
    expect([...queue.heldIds()]).toEqual([ids[4], ids[6], ids[8]]);
    await until('6 delivered', () => receiver.received.length === 6);
    expect(receiver.received).toEqual([0, 1, 2, 9, 5, 7]);
    expect(queue.stats().kernel).toMatchObject({ held: 3 });
  });

  it('lets what it holds go or drops it when it is closed', async () => {
    const receiver = await lab.listen();
    const first = await open();
    const packets = collect(first);
    await lab.send(5);
    await until('5 packets', () => packets.length === 5);
    await first.close({ held: 'accept' });
    await until('5 delivered', () => receiver.received.length === 5);

    const second = await open();
    const more = collect(second);
    await lab.send(5, { first: 5 });
    await until('5 packets', () => more.length === 5);
    await second.close();
    const third = await open();
    third.on('packets', (batch) => third.verdictUpTo(batch.lastId!, { verdict: 'accept' }));
    await lab.send(1, { first: 99 });
    await until('the last one', () => receiver.received.includes(99));
    expect(receiver.received).toEqual([...sequence(5), 99]);
  });
});
