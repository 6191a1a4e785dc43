/** What is looked for: the socket that a locally made packet came from. Addresses as text, canonical. */
export interface SocketQuery {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  readonly uid?: number | undefined;
}

/** The tables of /proc/net in which a socket of that protocol may stand; none for protocols without sockets of their own. */
export function tablesOf({ protocol, source }: SocketQuery): readonly string[] {
  const six = source.includes(':');
  switch (protocol) {
    case 'tcp':
    case 'udp':
      // a socket of both families sends IPv4, too
      return six ? [`${protocol}6`] : [protocol, `${protocol}6`];
    case 'icmp':
      return ['icmp', 'raw'];
    case 'icmpv6':
      return ['icmp6', 'raw6'];
    default:
      return [];
  }
}

/** 1 and 58: what a raw socket's "port" is. */
const protocolNumbers: Readonly<Record<string, number>> = { icmp: 1, icmpv6: 58 };

/**
 * How well a line of such a table fits: 0 not at all; more for a remote end that is the packet's own, and for the
 * packet's source address instead of none. The columns are those of net/ipv4/tcp_ipv4.c: slot, local, remote, state,
 * queues, timer, retransmits, uid, time-out, inode.
 */
export function fits(line: string, query: SocketQuery, table: string): number {
  const [, local = '', remote = '', , , , , uid = '', , inode = ''] = line.trim().split(/\s+/);
  if (!/^[1-9]\d*$/.test(inode) || (query.uid !== undefined && Number(uid) !== query.uid)) return 0;
  const mine = endOf(local);
  const other = endOf(remote);
  const any = (address: string): boolean => /^0*$/.test(address);
  const is = (address: string, text: string): boolean => address === hexOf(text) || address === mapped(hexOf(text));
  const port = query.sourcePort ?? (table.startsWith('raw') ? protocolNumbers[query.protocol] : undefined);
  if (port !== undefined && mine.port !== port) return 0;
  if (!any(mine.address) && !is(mine.address, query.source)) return 0;
  if (!any(other.address) && !is(other.address, query.destination)) return 0;
  if (!any(other.address) && query.destinationPort !== undefined && other.port !== query.destinationPort) return 0;
  return 1 + (any(other.address) ? 0 : 2) + (any(mine.address) ? 0 : 1);
}

export function inodeOf(line: string): string {
  return line.trim().split(/\s+/)[9] ?? '';
}

function endOf(text: string): { readonly address: string; readonly port: number } {
  const [address = '', port = ''] = text.split(':');
  return { address, port: Number.parseInt(port, 16) };
}

/** An address as those tables print it: words of 32 bits in hex, each in the byte order of a little-endian machine. */
export function hexOf(address: string, littleEndian = isLittleEndian): string {
  const bytes = address.includes(':') ? bytes6(address) : address.split('.').map(Number);
  const words = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.slice(4 * index, 4 * index + 4));
  return words.flatMap((word) => (littleEndian ? word.reverse() : word)).map((byte) => byte.toString(16).padStart(2, '0')).join('').toUpperCase();
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** ::ffff:ADDRESS, as a socket of both families shows an IPv4 address. */
function mapped(hex: string): string {
  return `0000000000000000${isLittleEndian ? 'FFFF0000' : '0000FFFF'}${hex}`;
}

function bytes6(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').flatMap((group) => (group.includes('.') ? dotted(group) : [Number.parseInt(group, 16)])));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const zeros = tail === undefined ? [] : new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 255]);
}

function dotted(text: string): number[] {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
  return [(a << 8) | b, (c << 8) | d];
}
