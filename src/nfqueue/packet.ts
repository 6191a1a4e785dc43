import { decodePacket, type Packet } from 'node-nfqueue';
import type { WakePacket } from '../core/ports.js';

/** What `status` shows of a packet. Reads the headers that were copied; never throws. */
export function describePacket(packet: Packet): WakePacket {
  const decoded = decodePacket(packet.payload, packet.hwProtocol);
  return decoded as never;
}
