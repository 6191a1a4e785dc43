import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodePacket } from '../../../src/nfqueue/native/lib/decode.js';
import { bytes, ipv4, ipv6, tcp, u16, u32, udp } from './packets.js';

const IPV4 = 0x0800;
const IPV6 = 0x86dd;

describe('decodePacket', () => {
  it('reads IPv4 and UDP', () => {
    const packet = ipv4({ protocol: 17, content: udp(bytes(1, 2, 3)) });
    expect(decodePacket(packet, IPV4)).toEqual({
      network: {
        version: 4, source: '10.1.0.2', destination: '10.2.0.2', protocol: 17, ttl: 63, dscp: 46, ecn: 1, headerLength: 20,
        totalLength: 31, identification: 0x1234, dontFragment: false, checksum: 0xbeef, options: [],
      },
      transport: { protocol: 'udp', sourcePort: 4321, destinationPort: 53, length: 11, checksum: 0xabcd },
      vlans: [],
      dataOffset: 28,
      problem: undefined,
    });
  });

  it('reads IPv4 options and steps over them', () => {
    const options = [1, 148, 4, 0, 0, 0, 0, 0]; // no-operation, router alert, end
    const decoded = decodePacket(ipv4({ protocol: 17, content: udp(bytes()), options }), IPV4);
    expect(decoded.network).toMatchObject({ headerLength: 28, options: [{ type: 148, data: bytes(0, 0) }] });
    expect(decoded.transport).toMatchObject({ destinationPort: 53 });
    expect(decoded.dataOffset).toBe(36);
  });

  it('reads TCP with its options', () => {
    const options = [2, 4, ...u16(1460), 4, 2, 8, 10, ...u32(100), ...u32(200), 1, 3, 3, 7];
    expect(decodePacket(ipv4({ protocol: 6, content: tcp({ flags: 0x12, options }) }), IPV4).transport).toMatchObject({
      protocol: 'tcp', sourcePort: 40000, destinationPort: 443, sequence: 0xfedcba98, acknowledgement: 7, headerLength: 40, window: 64240,
      flags: { syn: true, ack: true, fin: false, rst: false, psh: false, urg: false, ece: false, cwr: false },
      options: { maximumSegmentSize: 1460, windowScale: 7, selectiveAcknowledgement: true, timestamps: { value: 100, echo: 200 } },
    });
  });

  it('reads IPv6 behind its extension headers', () => {
    const hopByHop = bytes(60, 0, [1, 4, 0, 0, 0, 0]);
    const destination = bytes(44, 0, [1, 4, 0, 0, 0, 0]);
    const fragment = bytes(17, 0, u16(0x0001), u32(0xcafe));
    const decoded = decodePacket(ipv6(0, bytes(hopByHop, destination, fragment, udp(bytes(9)))), IPV6);
    expect(decoded.network).toMatchObject({
      version: 6, source: 'fd00:1::2', destination: '2001:db8:0:1::ff', protocol: 17, ttl: 64, dscp: 0x2e, ecn: 1, flowLabel: 0xabcde,
      headerLength: 64, fragment: { offset: 0, more: true, identification: 0xcafe }, extensions: [{ type: 0 }, { type: 60 }, { type: 44 }],
    });
    expect(decoded.transport).toMatchObject({ protocol: 'udp', destinationPort: 53 });
    expect(decoded.dataOffset).toBe(72);
  });

  it('reads an authentication header by its own unit of length', () => {
    const authentication = bytes(6, 4, u16(0), u32(1), u32(2), new Uint8Array(12));
    expect(decodePacket(ipv6(51, bytes(authentication, tcp())), IPV6)).toMatchObject({ network: { headerLength: 64, protocol: 6 }, transport: { destinationPort: 443 } });
  });

  it('does not take a later fragment for a transport header', () => {
    const later4 = decodePacket(ipv4({ protocol: 17, content: udp(bytes()), fragment: 0x20b9 }), IPV4);
    expect(later4.network).toMatchObject({ fragment: { offset: 185 * 8, more: true, identification: 0x1234 } });
    expect(later4.transport).toBeUndefined();
    expect(later4.dataOffset).toBe(20);

    const later6 = decodePacket(ipv6(44, bytes(60, 0, u16(0x05a8), u32(7), new Uint8Array(16))), IPV6);
    expect(later6.network).toMatchObject({ fragment: { offset: 1448, more: false }, protocol: 60 });
    expect(later6.transport).toBeUndefined();
  });

  it('reads ICMP and ICMPv6', () => {
    const echo = bytes(8, 0, u16(0x4242), u16(77), u16(3));
    expect(decodePacket(ipv4({ protocol: 1, content: echo }), IPV4).transport).toEqual({ protocol: 'icmp', type: 8, code: 0, checksum: 0x4242, identifier: 77, sequence: 3 });
    const tooBig = bytes(2, 0, u16(0), u32(1280));
    expect(decodePacket(ipv6(58, tooBig), IPV6).transport).toEqual({ protocol: 'icmpv6', type: 2, code: 0, checksum: 0 });
  });

  it('leaves other protocols to the caller', () => {
    const gre = decodePacket(ipv4({ protocol: 47, content: bytes(0, 0, 8, 0) }), IPV4);
    expect(gre.network).toMatchObject({ protocol: 47 });
    expect(gre.transport).toBeUndefined();
    expect(gre.dataOffset).toBe(20);
    expect(decodePacket(bytes(0, 1, 8, 0), 0x0806)).toEqual({ vlans: [], dataOffset: 0 });
  });

  it('steps over VLAN tags', () => {
    const tagged = bytes(u16(0x2005), u16(0x8100), u16(0x0007), u16(IPV4), ipv4({ protocol: 17, content: udp(bytes()) }));
    expect(decodePacket(tagged, 0x88a8)).toMatchObject({ vlans: [5, 7], network: { source: '10.1.0.2' }, transport: { destinationPort: 53 }, dataOffset: 36 });
  });

  it('goes by the version where the Ethernet type is not known', () => {
    expect(decodePacket(ipv4({ protocol: 17, content: udp(bytes()) })).network?.version).toBe(4);
    expect(decodePacket(ipv6(17, udp(bytes()))).network?.version).toBe(6);
    expect(decodePacket(bytes(0x50, 1, 2)).network).toBeUndefined();
  });

  it.each([
    ['an IPv4 header that is cut off', bytes(0x45, 0, 0, 20), IPV4, 'IPv4 header is cut off'],
    ['a version that is another', ipv6(17, udp(bytes())), IPV4, 'IPv4 packet says version 6'],
    ['an IPv6 packet that says 4', ipv4({ protocol: 17, content: new Uint8Array(40) }), IPV6, 'IPv6 packet says version 4'],
    ['a header length below 20', ipv4({ protocol: 17, content: udp(bytes()), headerWords: 4 }), IPV4, 'IPv4 header says 16 bytes'],
    ['options that are cut off', ipv4({ protocol: 17, content: bytes(), headerWords: 15 }), IPV4, 'IPv4 options are cut off'],
    ['an option with a lying length', ipv4({ protocol: 17, content: udp(bytes()), options: [7, 99, 0, 0] }), IPV4, 'option 7 has a wrong length'],
    ['an option without room for its length', ipv4({ protocol: 17, content: udp(bytes()), options: [1, 1, 1, 7] }), IPV4, 'option 7 has a wrong length'],
    ['a total length below the header', ipv4({ protocol: 17, content: udp(bytes()), totalLength: 3 }), IPV4, 'IPv4 packet says 3 bytes'],
    ['an extension header that is cut off', ipv6(0, bytes(17, 200, 0, 0, 0, 0, 0, 0)), IPV6, 'IPv6 extension header 0 is cut off'],
    ['a UDP header that is cut off', ipv4({ protocol: 17, content: bytes(1, 2, 3) }), IPV4, 'UDP header is cut off'],
    ['a UDP length below 8', ipv4({ protocol: 17, content: udp(bytes(), { length: 5 }) }), IPV4, 'UDP header says 5 bytes'],
    ['a TCP header that is cut off', ipv6(6, tcp().slice(0, 19)), IPV6, 'TCP header is cut off'],
    ['TCP options that are cut off', ipv4({ protocol: 6, content: tcp({ dataOffset: 15 }) }), IPV4, 'TCP options are cut off'],
    ['a TCP data offset below 20', ipv4({ protocol: 6, content: tcp({ dataOffset: 2 }) }), IPV4, 'TCP header says 8 bytes'],
    ['an ICMP header that is cut off', ipv4({ protocol: 1, content: bytes(8, 0) }), IPV4, 'ICMP header is cut off'],
  ])('says so of %s', (_, packet, hwProtocol, problem) => {
    expect(decodePacket(packet, hwProtocol).problem).toBe(problem);
  });

  it('never throws, and stays inside of what it was given', () => {
    const valid = fc.constantFrom(
      ipv4({ protocol: 6, content: tcp({ options: [2, 4, 5, 0xb4, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1] }) }),
      ipv6(0, bytes(43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, udp(bytes(1)))),
    );
    const broken = fc.tuple(valid, fc.array(fc.tuple(fc.nat(90), fc.nat(255))), fc.nat(100)).map(([packet, changes, length]) => {
      const copy = packet.slice(0, length);
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      return copy;
    });
    fc.assert(
      fc.property(fc.oneof(broken, fc.uint8Array({ maxLength: 120 })), fc.constantFrom(0, IPV4, IPV6, 0x8100, 0x88a8), fc.nat(8), (packet, hwProtocol, margin) => {
        // a view that begins inside of its buffer, as a burst's do
        const buffer = new Uint8Array(margin + packet.length + margin).fill(0xff);
        buffer.set(packet, margin);
        const view = buffer.subarray(margin, margin + packet.length);
        const decoded = decodePacket(view, hwProtocol);
        expect(decoded).toEqual(decodePacket(packet, hwProtocol));
        expect(decoded.dataOffset).toBeLessThanOrEqual(Math.max(packet.length, 0));
      }),
      { numRuns: 3000 },
    );
  });
});
