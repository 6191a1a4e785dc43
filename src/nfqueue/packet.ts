import { decodePacket, type PacketView } from 'node-nfqueue';
import type { WakePacket } from '../core/words.js';

/** IANA's protocol numbers that `decodePacket` has no header for. */
const names: Readonly<Record<number, string>> = { 1: 'icmp', 2: 'igmp', 6: 'tcp', 17: 'udp', 47: 'gre', 50: 'esp', 51: 'ah', 58: 'icmpv6', 132: 'sctp' };

/** What `status` shows of a packet, from the headers that were copied. Never throws. */
export function describePacket({ payload, hwProtocol, inDevice, uid }: Pick<PacketView, 'payload' | 'hwProtocol' | 'inDevice' | 'uid'>): WakePacket {
  const { network, transport } = decodePacket(payload, hwProtocol);
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
