import { decodeOptions, type Option } from './network.js';

export interface TcpFlags {
  readonly cwr: boolean;
  readonly ece: boolean;
  readonly urg: boolean;
  readonly ack: boolean;
  readonly psh: boolean;
  readonly rst: boolean;
  readonly syn: boolean;
  readonly fin: boolean;
}

/** What the options of a TCP header say (RFC 9293, 7323, 2018). */
export interface TcpOptions {
  readonly maximumSegmentSize?: number;
  readonly windowScale?: number;
  readonly selectiveAcknowledgement?: boolean;
  readonly timestamps?: { readonly value: number; readonly echo: number };
}

export interface TcpHeader {
  readonly protocol: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly headerLength: number;
  readonly flags: TcpFlags;
  readonly window: number;
  readonly checksum: number;
  readonly urgentPointer: number;
  readonly options: TcpOptions;
  readonly rawOptions: readonly Option[];
}

export interface UdpHeader {
  readonly protocol: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes, its header of 8 included, as it says itself. */
  readonly length: number;
  readonly checksum: number;
}

export interface IcmpHeader {
  readonly protocol: 'icmp' | 'icmpv6';
  readonly type: number;
  readonly code: number;
  readonly checksum: number;
  /** Echo requests and replies only. */
  readonly identifier?: number;
  readonly sequence?: number;
}

export type TransportHeader = TcpHeader | UdpHeader | IcmpHeader;

export interface TransportResult {
  readonly header?: TransportHeader;
  readonly end: number;
  readonly problem: string | undefined;
}

const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

const OPTION = { maximumSegmentSize: 2, windowScale: 3, selectiveAcknowledgement: 4, timestamps: 8 } as const;

function tcpFlags(bits: number): TcpFlags {
  const has = (bit: number): boolean => (bits & (1 << bit)) !== 0;
  return { cwr: has(7), ece: has(6), urg: has(5), ack: has(4), psh: has(3), rst: has(2), syn: has(1), fin: has(0) };
}

function tcpOptions(raw: readonly Option[]): TcpOptions {
  const find = (type: number, length: number): DataView | undefined => {
    const data = raw.find((option) => option.type === type && option.data.length === length)?.data;
    return data === undefined ? undefined : new DataView(data.buffer, data.byteOffset, data.byteLength);
  };
  const segment = find(OPTION.maximumSegmentSize, 2);
  const scale = find(OPTION.windowScale, 1);
  const selective = find(OPTION.selectiveAcknowledgement, 0);
  const stamps = find(OPTION.timestamps, 8);
  return {
    ...(segment === undefined ? {} : { maximumSegmentSize: segment.getUint16(0) }),
    ...(scale === undefined ? {} : { windowScale: scale.getUint8(0) }),
    ...(selective === undefined ? {} : { selectiveAcknowledgement: true }),
    ...(stamps === undefined ? {} : { timestamps: { value: stamps.getUint32(0), echo: stamps.getUint32(4) } }),
  };
}

function decodeTcp(view: DataView, at: number): TransportResult {
  const available = view.byteLength - at;
  if (available < 20) return { end: at, problem: 'TCP header is cut off' };
  const headerLength = (view.getUint8(at + 12) >> 4) * 4;
  const whole = headerLength <= available;
  // a header that says less than 20 bytes has no options
  const optionsEnd = at + Math.max(20, whole ? headerLength : available);
  const { options, problem } = decodeOptions(view, at + 20, optionsEnd);
  const header: TcpHeader = {
    protocol: 'tcp',
    sourcePort: view.getUint16(at),
    destinationPort: view.getUint16(at + 2),
    sequence: view.getUint32(at + 4),
    acknowledgement: view.getUint32(at + 8),
    headerLength,
    flags: tcpFlags(view.getUint8(at + 13)),
    window: view.getUint16(at + 14),
    checksum: view.getUint16(at + 16),
    urgentPointer: view.getUint16(at + 18),
    options: tcpOptions(options),
    rawOptions: options,
  };
  if (headerLength < 20) return { header, end: at + 20, problem: `TCP header says ${headerLength} bytes` };
  if (!whole) return { header, end: view.byteLength, problem: 'TCP options are cut off' };
  return { header, end: at + headerLength, problem };
}

function decodeUdp(view: DataView, at: number): TransportResult {
  if (view.byteLength - at < 8) return { end: at, problem: 'UDP header is cut off' };
  const length = view.getUint16(at + 4);
  const header: UdpHeader = {
    protocol: 'udp',
    sourcePort: view.getUint16(at),
    destinationPort: view.getUint16(at + 2),
    length,
    checksum: view.getUint16(at + 6),
  };
  // 0 is a jumbogram's (RFC 2675)
  return { header, end: at + 8, problem: length > 0 && length < 8 ? `UDP header says ${length} bytes` : undefined };
}

function decodeIcmp(view: DataView, at: number, protocol: 'icmp' | 'icmpv6'): TransportResult {
  if (view.byteLength - at < 4) return { end: at, problem: 'ICMP header is cut off' };
  const type = view.getUint8(at);
  const isEcho = protocol === 'icmp' ? type === 0 || type === 8 : type === 128 || type === 129;
  const complete = view.byteLength - at >= 8;
  const header: IcmpHeader = {
    protocol,
    type,
    code: view.getUint8(at + 1),
    checksum: view.getUint16(at + 2),
    ...(isEcho && complete ? { identifier: view.getUint16(at + 4), sequence: view.getUint16(at + 6) } : {}),
  };
  return { header, end: complete ? at + 8 : view.byteLength, problem: complete ? undefined : 'ICMP header is cut off' };
}

/** Reads the header of a transport protocol by its number; others are left to the caller. */
export function decodeTransport(view: DataView, at: number, protocol: number): TransportResult {
  switch (protocol) {
    case PROTOCOL.tcp: return decodeTcp(view, at);
    case PROTOCOL.udp: return decodeUdp(view, at);
    case PROTOCOL.icmp: return decodeIcmp(view, at, 'icmp');
    case PROTOCOL.icmpv6: return decodeIcmp(view, at, 'icmpv6');
    default: return { end: at, problem: undefined };
  }
}
