import { describe, expect, it } from '@jest/globals';
import { PacketBatch } from '../../../src/nfqueue/native/lib/batch.js';
import type { Frame } from '../../../src/nfqueue/native/lib/packet.js';
import { HAS, RECORD_WORDS, WORD } from '../../../src/nfqueue/native/lib/records.js';
import { headersOf, isStray } from '../../../src/nfqueue/packet.js';
import { bytes, ipv4, ipv6, tcp, u16, u32, udp } from './packets.js';

type Words = Partial<Record<keyof typeof WORD, number>>;

/** A frame with the given rows and bytes, and the batch that lies in it. */
function burst(rows: readonly Words[], content: Uint8Array = new Uint8Array(0)): { batch: PacketBatch; frame: Frame } {
  const records = new Uint32Array(rows.length * RECORD_WORDS);
  rows.forEach((row, i) => {
    for (const [name, value] of Object.entries(row)) records[i * RECORD_WORDS + WORD[name as keyof typeof WORD]] = value;
  });
  const frame: Frame = { records, bytes: content, live: true, deviceName: (index) => (index === 9 ? undefined : `dev${index}`) };
  const batch = new PacketBatch(frame);
  batch.fill(rows.length);
  return { batch, frame };
}

function attribute(type: number, value: readonly number[]): Uint8Array {
  const header = new Uint8Array(new Uint16Array([4 + value.length, type]).buffer); // in the machine's own order
  return bytes(header, value, new Uint8Array(-value.length & 3));
}

describe('a packet', () => {
  it('without anything but its header says so', () => {
    const { batch } = burst([{ id: 7, hook: 3, hwProtocol: 0x86dd, family: 10 }]);
    expect(batch.at(0)?.snapshot()).toEqual({
      id: 7, hook: 'output', hookNumber: 3, family: 10, hwProtocol: 0x86dd, mark: 0, length: 0, truncated: false,
      inDevice: undefined, inDeviceIndex: undefined, outDevice: undefined, outDeviceIndex: undefined, physicalInDevice: undefined,
      physicalInDeviceIndex: undefined, physicalOutDevice: undefined, physicalOutDeviceIndex: undefined, uid: undefined, gid: undefined,
      timestamp: undefined, hwAddress: undefined, vlan: undefined, priority: 0, gso: false, checksumReady: true, conntrack: undefined,
      securityContext: undefined, payload: new Uint8Array(0),
    });
    expect(batch.at(0)?.linkHeader).toBeUndefined();
  });

  it('does not take stale words for news', () => {
    const { batch } = burst([{ id: 1, mark: 5, uid: 6, inDevice: 7, vlanTci: 8, skbInfo: 3, payloadOffset: 9 }]);
    expect(batch.at(0)).toMatchObject({ mark: 0, uid: undefined, inDevice: undefined, vlan: undefined, gso: false });
  });

  it('has all that the kernel tells', () => {
    const content = bytes([2, 0, 0, 0, 0, 0xff], new TextEncoder().encode('unconfined\0'), [1, 2, 3, 4]);
    const present = Object.values(HAS).reduce((sum, bit) => sum | bit, 0);
    const { batch } = burst([{
      id: 0xffffffff, present, hook: 5, family: 7, mark: 0xdeadbeef, length: 1500, payloadOffset: 17, payloadLength: 4, inDevice: 2, outDevice: 3,
      physicalIn: 9, physicalOut: 5, uid: 1000, gid: 100, secondsHigh: 1, secondsLow: 2, microseconds: 500, skbInfo: 3, vlanProtocol: 0x88a8,
      vlanTci: 0xb005, priority: 6, hwAddressLength: 6, hwAddressOffset: 0, ctInfo: 7, secctxOffset: 6, secctxLength: 11, l2Offset: 0, l2Length: 6,
    }], content);
    expect(batch.at(0)?.snapshot()).toMatchObject({
      id: 0xffffffff, hook: 'ingress', family: 7, mark: 0xdeadbeef, length: 1500, truncated: true, inDevice: 'dev2', outDevice: 'dev3',
      physicalInDevice: undefined, physicalInDeviceIndex: 9, physicalOutDevice: 'dev5', uid: 1000, gid: 100, timestamp: (2 ** 32 + 2) * 1000 + 0.5,
      hwAddress: '02:00:00:00:00:ff', vlan: { protocol: 0x88a8, id: 5, priority: 5, dropEligible: true }, priority: 6, gso: true, checksumReady: false,
      conntrack: { state: 'untracked', reply: false }, securityContext: 'unconfined', payload: bytes(1, 2, 3, 4),
    });
    expect(batch.at(0)?.linkHeader).toEqual(bytes(2, 0, 0, 0, 0, 0xff));
  });

  it('names its connection', () => {
    const attributes = bytes(attribute(3, u32(0x18a)), attribute(8, u32(77)), attribute(0x8000 | 1, [1, 2, 3]), attribute(18, u16(4)), attribute(12, u32(0xfffffffe)));
    const { batch } = burst([{ present: HAS.ct | HAS.ctInfo, ctInfo: 3, ctOffset: 0, ctLength: attributes.length }], attributes);
    expect(batch.at(0)?.conntrack).toEqual({ state: 'established', reply: true, id: 0xfffffffe, mark: 77, status: 0x18a, zone: 4 });
  });

  it('survives connection attributes that lie', () => {
    const cut = bytes(attribute(12, [1]), new Uint8Array(new Uint16Array([200, 8]).buffer));
    const { batch } = burst([{ present: HAS.ct | HAS.ctInfo, ctInfo: 99, ctLength: cut.length }], cut);
    expect(batch.at(0)?.conntrack).toEqual({ state: 'unknown', reply: false, id: undefined, mark: undefined, status: undefined, zone: undefined });
  });

  it('is copied where it is to be kept', () => {
    const content = bytes(1, 2, 3);
    const { batch, frame } = burst([{ present: HAS.payload, payloadLength: 3, length: 3 }], content);
    const packet = batch.at(0)!;
    const [view, copy] = [packet.payload, packet.copyPayload()];
    content.fill(9);
    expect(view).toEqual(bytes(9, 9, 9));
    expect(copy).toEqual(bytes(1, 2, 3));
    frame.live = false;
    expect(() => packet.payload).toThrow(expect.objectContaining({ code: 'ERR_STALE_VIEW' }));
    expect(() => packet.snapshot()).toThrow(expect.objectContaining({ code: 'ERR_STALE_VIEW' }));
  });
});

describe('a batch', () => {
  it('is a list, oldest first', () => {
    const { batch } = burst([{ id: 3 }, { id: 4 }, { id: 6 }]);
    expect(batch).toHaveLength(3);
    expect([...batch].map(({ id }) => id)).toEqual([3, 4, 6]);
    expect([...batch.ids()]).toEqual([3, 4, 6]);
    expect([batch.firstId, batch.lastId, batch.at(1)?.id, batch.at(-3)?.id, batch.at(-4), batch.at(3)]).toEqual([3, 6, 4, 3, undefined, undefined]);
  });

  it('is what is left after a listener has thrown', () => {
    const { batch } = burst([{ id: 3 }, { id: 4 }, { id: 6 }]);
    expect(batch.skipTaken()).toBe(false); // it had not begun
    for (const { id } of batch) if (id === 4) break;
    expect(batch.skipTaken()).toBe(true);
    expect([...batch.ids()]).toEqual([6]);
    expect(batch.skipTaken()).toBe(false); // it did not get on
    expect([...batch].map(({ id }) => id)).toEqual([6]);
    expect(batch.skipTaken()).toBe(false); // nothing is left
  });
});

describe('a stray', () => {
  const [fin, syn, rst, psh, ack] = [1, 2, 4, 8, 16];
  const stray = (packet: Uint8Array, more: { hwProtocol?: number; length?: number } = {}): boolean => {
    const view = { payload: packet, hwProtocol: packet[0]! >> 4 === 6 ? 0x86dd : 0x0800, length: packet.length, ...more };
    return isStray(view, headersOf(view));
  };
  const both = (four: number, six: number, content: Uint8Array): readonly boolean[] => [stray(ipv4({ protocol: four, content })), stray(ipv6(six, content))];
  const timestamps = [8, 10, ...u32(1), ...u32(2), 1, 1];

  it.each([
    ['RST', rst, true], ['RST, ACK', rst | ack, true], ['FIN, ACK', fin | ack, true], ['SYN', syn, false], ['SYN, ACK', syn | ack, false], ['ACK', ack, false], ['PSH, ACK', psh | ack, false], ['SYN, FIN', syn | fin, false],
  ])('a segment with %s: %p in both families', (_, flags, expected) => {
    expect(both(6, 6, tcp({ flags, options: timestamps }))).toEqual([expected, expected]);
  });

  it('is no FIN with data, though the data was not copied', () => {
    const segment = ipv4({ protocol: 6, content: tcp({ flags: fin | psh | ack }) });
    expect([stray(bytes(segment, [1, 2])), stray(segment, { length: segment.length + 1400 })]).toEqual([false, false]);
  });

  it.each([[3, 1, true], [11, 3, true], [5, 4, true], [8, 128, false], [0, 129, false], [13, 135, false]])('an ICMP message of type %p, of ICMPv6 %p: %p', (type4, type6, expected) => {
    expect([stray(ipv4({ protocol: 1, content: bytes(type4, 0, u16(0), u32(0)) })), stray(ipv6(58, bytes(type6, 0, u16(0), u32(0))))]).toEqual([expected, expected]);
  });

  it('is nothing else, and nothing that can not be read', () => {
    expect(both(17, 17, udp(bytes(1)))).toEqual([false, false]);
    expect(both(6, 6, tcp({ flags: rst }).subarray(0, 12))).toEqual([false, false]);
    expect([stray(ipv4({ protocol: 6, content: tcp({ flags: rst }), fragment: 5 })), stray(bytes(0)), stray(bytes(1, 2, 3), { hwProtocol: 0x0806 })]).toEqual([false, false, false]);
  });
});
