import { decodeIpv4, decodeIpv6, type Ipv4Header, type Ipv6Header, type NetworkHeader } from './network.js';
import { decodeTransport, type TransportHeader } from './transport.js';

export type { Ipv4Header, Ipv6Header, NetworkHeader };

/** What the headers of a packet say, as far as they are there. */
export interface DecodedPacket {
  /** Absent if it is neither IPv4 nor IPv6, or not even its fixed header is whole. */
  readonly network?: NetworkHeader;
  /** Absent if the protocol is another one, for fragments but the first, and if not even its fixed header is whole. */
  readonly transport?: TransportHeader;
  /** VLAN ids inside the frame, outermost first (bridged packets with tags that the device left in place). */
  readonly vlans: readonly number[];
  /** Where the content behind all headers begins in what was given; its length if nothing is left. */
  readonly dataOffset: number;
  /** What is wrong with the headers, or missing: cut off by the copy range, or a lie. Absent if all is well. */
  readonly problem?: string | undefined;
}

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TAGS: readonly number[] = [0x8100, 0x88a8];

/** Skips VLAN tags that lie in front of the packet. */
function untag(view: DataView, hwProtocol: number): { protocol: number; offset: number; vlans: number[] } {
  let protocol = hwProtocol;
  let offset = 0;
  const vlans: number[] = [];
  while (TAGS.includes(protocol) && offset + 4 <= view.byteLength) {
    vlans.push(view.getUint16(offset) & 0xfff);
    protocol = view.getUint16(offset + 2);
    offset += 4;
  }
  return { protocol, offset, vlans };
}

function guess(view: DataView): number {
  const version = view.byteLength > 0 ? view.getUint8(0) >> 4 : 0;
  return version === 4 ? IPV4 : version === 6 ? IPV6 : 0;
}

/**
 * Reads the headers of a packet. Never throws, whatever the bytes are; what can't be read is absent, and `problem` says why.
 *
 * @param payload the packet from its network header on, whole or not (`packet.payload`)
 * @param hwProtocol its Ethernet type (`packet.hwProtocol`); if absent or 0, the version in the first byte decides
 */
export function decodePacket(payload: Uint8Array, hwProtocol = 0): DecodedPacket {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const { protocol, offset, vlans } = untag(view, hwProtocol === 0 ? guess(view) : hwProtocol);
  if (protocol !== IPV4 && protocol !== IPV6) return { vlans, dataOffset: offset };
  const network = protocol === IPV4 ? decodeIpv4(view, offset) : decodeIpv6(view, offset);
  if (network.header === undefined) return { vlans, dataOffset: offset, problem: network.problem };
  const { header, next } = network;
  const laterFragment = header.fragment !== undefined && header.fragment.offset > 0;
  if (laterFragment || next === undefined) {
    return { network: header, vlans, dataOffset: network.end, problem: network.problem };
  }
  const transport = decodeTransport(view, network.end, next);
  return {
    network: header,
    ...(transport.header === undefined ? {} : { transport: transport.header }),
    vlans,
    dataOffset: transport.end,
    problem: network.problem ?? transport.problem,
  };
}
