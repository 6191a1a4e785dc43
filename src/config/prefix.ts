import { isIPv4, isIPv6 } from 'node:net';

/** A prefix in canonical text, or what is wrong with it. */
export type PrefixResult = { readonly prefix: string } | { readonly problem: string };

/**
 * Reads `10.99.0.0/16`, `fd00:99::/48`, or an address alone (a /32 or /128). Bits behind the length must be 0: a typing
 * error in `protect` would otherwise protect something else in silence.
 */
export function parsePrefix(text: string): PrefixResult {
  const [address = '', length, ...rest] = text.split('/');
  const bits = isIPv4(address) ? 32 : isIPv6(address) && !address.includes('%') ? 128 : undefined;
  if (bits === undefined || rest.length > 0) return { problem: `"${text}" is not an IPv4 or IPv6 prefix (like 10.99.0.0/16 or fd00:99::/48)` };
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return { problem: `"${text}": the length behind / is not a number` };
  const size = length === undefined ? bits : Number(length);
  if (size > bits) return { problem: `"${text}": an IPv${bits === 32 ? 4 : 6} prefix has at most ${bits} bits` };
  const value = addressToBigInt(address, bits);
  const network = (value >> BigInt(bits - size)) << BigInt(bits - size);
  const canonical = `${bigIntToAddress(network, bits)}/${size}`;
  return network === value ? { prefix: canonical } : { problem: `"${text}" has bits set behind its length (did you mean ${canonical}?)` };
}

function addressToBigInt(address: string, bits: 32 | 128): bigint {
  if (bits === 32) return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  return ipv6Groups(address).reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
}

function ipv6Groups(address: string): number[] {
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const plain = dotted
    ? address.slice(0, dotted.index) + [1, 3].map((i) => ((Number(dotted[i]) << 8) | Number(dotted[i + 1])).toString(16)).join(':')
    : address;
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const left = groups(head);
  if (tail === undefined) return left;
  const right = groups(tail);
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

function bigIntToAddress(value: bigint, bits: 32 | 128): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return compressIpv6(groups);
}

/** RFC 5952, section 4.2: the longest run of two or more zero groups becomes `::`, the first of equals. */
function compressIpv6(groups: readonly string[]): string {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (groups[end] === '0') end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  if (best.length < 2) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}
