import { beforeAll, describe, expect, it } from '@jest/globals';
import { decodePacket } from 'node-nfqueue';
import { collect, Fixture } from './fixture.js';
import { RECEIVER4, RECEIVER6, sequence, until, type Receiver } from './lab.js';

const fixture = new Fixture(11);
let receiver: Receiver;

beforeAll(async () => {
  receiver = await fixture.lab.listen();
});

describe('a queue', () => {
  it('holds packets, tells what they are, and lets them go in order', async () => {
    receiver.clear();
    const queue = await fixture.open();
    const packets = collect(queue);
    await fixture.lab.send(50);
    await until('50 packets', () => packets.length === 50);

    expect(queue.held).toBe(50);
    expect(receiver.received).toEqual([]);
    expect(packets[0]).toMatchObject({ hook: 'prerouting', hookNumber: 0, family: 2, hwProtocol: 0x0800, mark: 0, length: 92, truncated: false, inDevice: 'lan0', outDevice: undefined });
    expect(packets[0]?.hwAddress).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    const { network, transport } = decodePacket(packets[0]!.payload, packets[0]!.hwProtocol);
    expect(network).toMatchObject({ version: 4, source: '10.1.0.2', destination: RECEIVER4, protocol: 17, totalLength: 92 });
    expect(transport).toMatchObject({ protocol: 'udp', destinationPort: 9, length: 72 });

    expect(await queue.release(queue.heldIds(), { verdict: 'accept', chunk: 16, intervalMs: 1 })).toEqual({ sent: 50, gone: 0, remaining: 0 });
    await until('all delivered', () => receiver.received.length === 50);
    expect(receiver.received).toEqual(sequence(50));
    expect(queue.held).toBe(0);
    expect(queue.stats()).toMatchObject({ packets: 50, verdicts: 50, held: 0, kernel: { held: 0, copyMode: 'packet', copyRange: 128, queueDropped: 0, userDropped: 0 } });
  });

  it('takes IPv6 as well', async () => {
    const receiver6 = await fixture.lab.listen(RECEIVER6);
    const queue = await fixture.open();
    const packets = collect(queue);
    await fixture.lab.send(3, { host: RECEIVER6 });
    await until('3 packets', () => packets.length === 3);
    expect(packets[2]).toMatchObject({ family: 10, hwProtocol: 0x86dd, length: 112 });
    expect(decodePacket(packets[2]!.payload)).toMatchObject({ network: { version: 6, source: 'fd00:1::2', destination: RECEIVER6 }, transport: { protocol: 'udp', destinationPort: 9 } });
    queue.verdictUpTo(packets[2]!.id, { verdict: 'accept' });
    await until('3 delivered', () => receiver6.received.length === 3);
  });

  it('copies as much as it was asked for', async () => {
    for (const [copy, payload, length] of [['none', 0, 0], ['headers', 128, 1028], ['whole', 1028, 1028], [40, 40, 1028]] as const) {
      const queue = await fixture.open({ copy });
      const packets = collect(queue);
      await fixture.lab.send(1, { size: 1000 });
      await until('a packet', () => packets.length === 1);
      expect(packets[0]).toMatchObject({ length, truncated: payload < length, inDevice: 'lan0' });
      expect(packets[0]?.payload).toHaveLength(payload);
      await queue.close();
    }
  });

  it('tells of local packets: hook, user, and the device under its current name', async () => {
    receiver.clear();
    const queue = await fixture.open({ flags: { uidGid: true } });
    const packets = collect(queue);
    await fixture.lab.router.ip('link set wan0 down');
    await fixture.lab.router.ip('link set wan0 name uplink0');
    await fixture.lab.router.ip('link set uplink0 up');
    await fixture.lab.send(1, { from: fixture.lab.router });
    await until('a packet', () => packets.length === 1);
    expect(packets[0]).toMatchObject({ hook: 'output', hookNumber: 3, outDevice: 'uplink0', inDevice: undefined, uid: 0, gid: 0 });
    expect(packets[0]?.outDeviceIndex).toBeGreaterThan(1);
    expect(queue.verdict(packets[0]!.id, { verdict: 'accept' })).toBe(true);
    await until('it is delivered', () => receiver.received.length === 1);
    await fixture.lab.router.ip('link set uplink0 down');
    await fixture.lab.router.ip('link set uplink0 name wan0');
    await fixture.lab.router.ip('link set wan0 up');
  });

  it('gives the burst to every listener as a whole, and views that end with the call', async () => {
    const queue = await fixture.open();
    const kept: { id: number }[] = [];
    const seen: number[][] = [[], []];
    queue.on('packets', (batch) => {
      seen[0]!.push(...batch.ids());
      kept.push(batch.at(0)!);
      expect(batch.at(-1)?.id).toBe(batch.lastId);
      expect(batch.at(batch.length)).toBeUndefined();
    });
    queue.on('packets', (batch) => seen[1]!.push(...Array.from(batch, ({ id }) => id)));
    await fixture.lab.send(20);
    await until('20 packets', () => seen[1]!.length === 20);
    expect(seen[0]).toEqual(seen[1]);
    expect([...queue.heldIds()]).toEqual(seen[0]);
    expect(() => kept[0]!.id).toThrow(expect.objectContaining({ name: 'NfQueueError', code: 'ERR_STALE_VIEW' }));
  });

  it('keeps packets in the kernel until somebody listens', async () => {
    const queue = await fixture.open();
    await fixture.lab.send(5);
    expect(queue.stats()).toMatchObject({ packets: 0, held: 0, kernel: { held: 5 } });
    const packets = collect(queue);
    await until('5 packets', () => packets.length === 5);
  });

  it('outlives a listener that gives its buffer away', async () => {
    const queue = await fixture.open();
    const lengths: number[] = [];
    queue.on('packets', (batch) => {
      for (const packet of batch) lengths.push(packet.payload.length);
      structuredClone(batch.at(0)!.payload.buffer, { transfer: [batch.at(0)!.payload.buffer as ArrayBuffer] });
    });
    for (let round = 1; round <= 3; round++) {
      await fixture.lab.send(2);
      await until('packets', () => lengths.length === 2 * round);
    }
    expect(lengths).toEqual(Array<number>(6).fill(92));
  });
});

describe('queues that read alike', () => {
  const OTHER = 61;
  /** What goes to this port is the other's. */
  const forOther = (change: '-I' | '-D'): Promise<string> => fixture.lab.iptables(`-t raw ${change} PREROUTING -d 10.2.0.0/24 -p udp --dport ${OTHER} -j NFQUEUE --queue-num ${OTHER}`);
  const sendTo = async (port: number, size: number): Promise<void> => {
    await fixture.lab.sender.run('python3', ['-c', `import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(${size}), ('${RECEIVER4}', ${port}))`]);
  };

  it('keep their packets apart, whatever their listeners do with what they are given, and go on when the other ends', async () => {
    await forOther('-I');
    const [one, other] = [await fixture.open(), await fixture.open({ num: OTHER })];
    const seen: Record<'one' | 'other', { id: number; length: number }[]> = { one: [], other: [] };
    for (const [name, queue] of [['one', one], ['other', other]] as const) {
      queue.on('packets', (batch) => {
        for (const { id, payload } of batch) seen[name].push({ id, length: payload.length });
        structuredClone(batch.at(0)!.payload.buffer, { transfer: [batch.at(0)!.payload.buffer as ArrayBuffer] });
      });
    }
    for (const round of [1, 2]) {
      await Promise.all([sendTo(9, round), sendTo(OTHER, 10 + round)]);
      await until('both packets', () => seen.one.length === round && seen.other.length === round);
    }
    await one.close();
    await sendTo(OTHER, 20);
    await until('the last packet', () => seen.other.length === 3);
    expect(seen).toEqual({ one: [{ id: 1, length: 29 }, { id: 2, length: 30 }], other: [{ id: 1, length: 39 }, { id: 2, length: 40 }, { id: 3, length: 48 }] });
    expect([...other.heldIds()]).toEqual([1, 2, 3]);
    await forOther('-D');
  });
});

describe('the end of a queue', () => {
  it('lets what it holds go, read or not, or drops it', async () => {
    receiver.clear();
    const first = await fixture.open();
    await fixture.lab.send(5);
    await first.close({ held: 'accept' });
    await until('5 delivered', () => receiver.received.length === 5);

    const second = await fixture.open();
    const more = collect(second);
    await fixture.lab.send(5, { first: 5 });
    await until('5 packets', () => more.length === 5);
    await second.close();

    const third = await fixture.open();
    third.on('packets', (batch) => third.verdictUpTo(batch.lastId, { verdict: 'accept' }));
    await fixture.lab.send(1, { first: 99 });
    await until('the last one', () => receiver.received.includes(99));
    expect(receiver.received).toEqual([...sequence(5), 99]);
  });

  it('refuses work, but not a second close', async () => {
    const queue = await fixture.open();
    let closed = 0;
    queue.on('close', () => closed++);
    await queue.close();
    await queue.close();
    await queue[Symbol.asyncDispose]();
    expect(closed).toBe(1);
    expect(queue.closed).toBe(true);
    expect(queue.held).toBe(0);
    expect(queue.stats().kernel).toBeUndefined();
    const error = expect.objectContaining({ name: 'NfQueueError', code: 'ERR_CLOSED' });
    expect(() => queue.verdict(1, { verdict: 'accept' })).toThrow(error);
    expect(() => queue.verdicts([1], { verdict: 'accept' })).toThrow(error);
    expect(() => queue.verdictUpTo(1, { verdict: 'accept' })).toThrow(error);
    expect(() => queue.heldIds()).toThrow(error);
    await expect(queue.release([1], { verdict: 'accept' })).rejects.toThrow(error);
    expect(queue.ref()).toBe(queue);
    expect(queue.unref()).toBe(queue);
  });

  it('may come inside of a listener', async () => {
    const queue = await fixture.open();
    const ids: number[] = [];
    const closed = new Promise<void>((resolve) => {
      queue.on('packets', (batch) => {
        void queue.close().then(resolve);
        for (const packet of batch) ids.push(packet.id);
      });
    });
    await fixture.lab.send(3);
    await closed;
    expect(ids.length).toBeGreaterThan(0);
  });
});
