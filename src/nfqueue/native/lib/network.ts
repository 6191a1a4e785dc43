import { ipv4Text, ipv6Text } from './addresses.js';

/** Position of a fragment in its packet. */
export interface Fragment {
  /** Bytes from the start of the packet's content. */
  readonly offset: number;
  /** Whether others follow. */
  readonly more: boolean;
  /** Names the packet that it is a part of. */
  readonly identification: number;
}

export interface Option {
  /** Option type (IPv4: with its copy and class bits) or extension header number. */
  readonly type: number;
  /** Content without type and length. A view of what was given. */
  readonly data: Uint8Array;
}

export interface Ipv4Header {
  readonly version: 4;
  readonly source: string;
  readonly destination: string;
  /** What comes next: 1 ICMP, 6 TCP, 17 UDP, … */
  readonly protocol: number;
  readonly ttl: number;
  readonly dscp: number;
  readonly ecn: number;
  /** Bytes, options included. */
  readonly headerLength: number;
  /** Bytes of the whole packet, as it says itself. */
  readonly totalLength: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  /** Present if it is a fragment. */
  readonly fragment?: Fragment;
  readonly checksum: number;
  readonly options: readonly Option[];
}

export interface Ipv6Header {
  readonly version: 6;
  readonly source: string;
  readonly destination: string;
  /** What comes behind the extension headers: 6 TCP, 17 UDP, 58 ICMPv6, 59 nothing, … */
  readonly protocol: number;
  readonly ttl: number;
  readonly dscp: number;
  readonly ecn: number;
  readonly flowLabel: number;
  /** Bytes, extension headers included. */
  readonly headerLength: number;
  /** Bytes of the whole packet, as it says itself; 40 for a jumbogram. */
  readonly totalLength: number;
  readonly fragment?: Fragment;
  /** In their order; `type` is the header's number (0 hop-by-hop, 43 routing, 44 fragment, 51 authentication, 60 destination). */
  readonly extensions: readonly Option[];
}

export type NetworkHeader = Ipv4Header | Ipv6Header;

export interface NetworkResult<Header> {
  readonly header?: Header;
  /** Protocol of what follows; absent if it can't be told. */
  readonly next?: number;
  /** Offset behind the headers. */
  readonly end: number;
  readonly problem: string | undefined;
}

export function bytesAt(view: DataView, from: number, to: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + from, Math.max(0, to - from));
}

/**
 * Options of IPv4 (RFC 791) and of TCP (RFC 9293) between two offsets: type, length of all, content; 0 ends, 1 fills up.
 */
export function decodeOptions(view: DataView, from: number, to: number): { options: Option[]; problem: string | undefined } {
  const options: Option[] = [];
  for (let at = from; at < to; ) {
    const type = view.getUint8(at);
    if (type === 0) break;
    if (type === 1) {
      at++;
      continue;
    }
    const length = at + 1 < to ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > to) return { options, problem: `option ${type} has a wrong length` };
    options.push({ type, data: bytesAt(view, at + 2, at + length) });
    at += length;
  }
  return { options, problem: undefined };
}

/** IPv4, RFC 791. */
export function decodeIpv4(view: DataView, at: number): NetworkResult<Ipv4Header> {
  const available = view.byteLength - at;
  if (available < 20) return { end: at, problem: 'IPv4 header is cut off' };
  const first = view.getUint8(at);
  const headerLength = (first & 0xf) * 4;
  if (first >> 4 !== 4) return { end: at, problem: `IPv4 packet says version ${first >> 4}` };
  if (headerLength < 20) return { end: at, problem: `IPv4 header says ${headerLength} bytes` };
  const whole = headerLength <= available;
  const { options, problem } = decodeOptions(view, at + 20, at + (whole ? headerLength : available));
  const totalLength = view.getUint16(at + 2);
  const protocol = view.getUint8(at + 9);
  const fragmentField = view.getUint16(at + 6);
  const identification = view.getUint16(at + 4);
  const fragment = { offset: (fragmentField & 0x1fff) * 8, more: (fragmentField & 0x2000) !== 0, identification };
  const header: Ipv4Header = {
    version: 4,
    source: ipv4Text(view, at + 12),
    destination: ipv4Text(view, at + 16),
    protocol,
    ttl: view.getUint8(at + 8),
    dscp: view.getUint8(at + 1) >> 2,
    ecn: view.getUint8(at + 1) & 3,
    headerLength,
    totalLength,
    identification,
    dontFragment: (fragmentField & 0x4000) !== 0,
    ...(fragment.offset > 0 || fragment.more ? { fragment } : {}),
    checksum: view.getUint16(at + 10),
    options,
  };
  if (!whole) return { header, end: view.byteLength, problem: 'IPv4 options are cut off' };
  const lie = totalLength < headerLength ? `IPv4 packet says ${totalLength} bytes` : undefined;
  return { header, next: protocol, end: at + headerLength, problem: problem ?? lie };
}

const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60, mobility: 135, hip: 139, shim6: 140 } as const;
const extensionNumbers: readonly number[] = Object.values(EXTENSION);

/** Bytes of an extension header, RFC 8200 section 4 and RFC 4302. */
function extensionLength(view: DataView, at: number, type: number): number {
  if (type === EXTENSION.fragment) return 8;
  const units = view.getUint8(at + 1);
  return type === EXTENSION.authentication ? (units + 2) * 4 : (units + 1) * 8;
}

interface Chain {
  readonly extensions: Option[];
  fragment: Fragment | undefined;
  protocol: number;
  end: number;
  problem: string | undefined;
}

/** Follows the chain of extension headers; what is behind a later fragment's header is not one. */
function followExtensions(view: DataView, start: number, first: number): Chain {
  const chain: Chain = { extensions: [], fragment: undefined, protocol: first, end: start, problem: undefined };
  while (extensionNumbers.includes(chain.protocol) && !(chain.fragment !== undefined && chain.fragment.offset > 0)) {
    const type = chain.protocol;
    const at = chain.end;
    const length = at + 8 <= view.byteLength ? extensionLength(view, at, type) : Infinity;
    if (at + length > view.byteLength) {
      chain.problem = `IPv6 extension header ${type} is cut off`;
      return chain;
    }
    if (type === EXTENSION.fragment) {
      const field = view.getUint16(at + 2);
      chain.fragment = { offset: field & 0xfff8, more: (field & 1) !== 0, identification: view.getUint32(at + 4) };
    }
    chain.extensions.push({ type, data: bytesAt(view, at + 2, at + length) });
    chain.protocol = view.getUint8(at);
    chain.end = at + length;
  }
  return chain;
}

/** IPv6, RFC 8200. */
export function decodeIpv6(view: DataView, at: number): NetworkResult<Ipv6Header> {
  if (view.byteLength - at < 40) return { end: at, problem: 'IPv6 header is cut off' };
  const first = view.getUint32(at);
  if (first >>> 28 !== 6) return { end: at, problem: `IPv6 packet says version ${first >>> 28}` };
  const chain = followExtensions(view, at + 40, view.getUint8(at + 6));
  const totalLength = 40 + view.getUint16(at + 4);
  const header: Ipv6Header = {
    version: 6,
    source: ipv6Text(view, at + 8),
    destination: ipv6Text(view, at + 24),
    protocol: chain.protocol,
    ttl: view.getUint8(at + 7),
    dscp: (first >>> 22) & 0x3f,
    ecn: (first >>> 20) & 3,
    flowLabel: first & 0xfffff,
    headerLength: chain.end - at,
    totalLength,
    ...(chain.fragment === undefined ? {} : { fragment: chain.fragment }),
    extensions: chain.extensions,
  };
  // a length of 0 is a jumbogram's (RFC 2675)
  const lie = totalLength > 40 && totalLength < header.headerLength ? `IPv6 packet says ${totalLength} bytes` : undefined;
  const problem = chain.problem ?? lie;
  return { header, end: chain.end, problem, ...(chain.problem === undefined ? { next: chain.protocol } : {}) };
}
