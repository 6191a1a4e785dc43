import { decodePacket, type DecodedPacket, type PacketView } from 'node-nfqueue';
import { icmpErrors } from '../core/icmp.js';
import type { WakePacket } from '../core/words.js';

/** IANA's protocol numbers that `decodePacket` has no header for. */
const names: Readonly<Record<number, string>> = { 1: 'icmp', 2: 'igmp', 6: 'tcp', 17: 'udp', 47: 'gre', 50: 'esp', 51: 'ah', 58: 'icmpv6', 132: 'sctp' };

/** What the headers of a packet say that were copied. Never throws. */
export function headersOf({ payload, hwProtocol }: Pick<PacketView, 'payload' | 'hwProtocol'>): DecodedPacket {
  return decodePacket(payload, hwProtocol);
}

/** What `status` shows of a packet. */
export function describePacket({ inDevice, uid }: Pick<PacketView, 'inDevice' | 'uid'>, { network, transport }: DecodedPacket): WakePacket {
  const ports = transport && 'sourcePort' in transport ? { sourcePort: transport.sourcePort, destinationPort: transport.destinationPort } : {};
  return {
    protocol: transport?.protocol ?? (network ? (names[network.protocol] ?? String(network.protocol)) : 'unknown'),
    source: network?.source ?? '',
    destination: network?.destination ?? '',
    ...ports,
    ...(inDevice === undefined ? {} : { interface: inDevice }),
    ...(uid === undefined ? {} : { uid }),
  };
}

/**
 * Whether it is a stray: a packet that may belong to something which still lives, but begins nothing: a TCP segment that
 * only ends a connection (RST, or FIN without data), an ICMP error. Headers that can't be read are no stray's.
 */
export function isStray({ length }: Pick<PacketView, 'length'>, { transport, dataOffset }: DecodedPacket): boolean {
  switch (transport?.protocol) {
    case 'tcp':
      return transport.flags.rst || (transport.flags.fin && !transport.flags.syn && length === dataOffset);
    case 'icmp':
      return icmpErrors[4].includes(transport.type);
    case 'icmpv6':
      return icmpErrors[6].includes(transport.type);
    default:
      return false;
  }
}
