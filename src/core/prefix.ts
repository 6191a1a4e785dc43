import { DaemonError } from './errors.js';

export type Family = 4 | 6;

/** A network: its family, the address as a number (host bits are 0) and the length in bits. */
export interface Net {
  readonly family: Family;
  readonly bits: bigint;
  readonly length: number;
}

const width = (family: Family): number => (family === 4 ? 32 : 128);

/** The number of host bits. */
const free = (net: Net): bigint => BigInt(width(net.family) - net.length);

/** The last address. */
export const lastOf = (net: Net): bigint => net.bits | ((1n << free(net)) - 1n);

/** Why a text is no prefix; `family` is that of its address. */
export type PrefixProblem = { readonly problem: 'address' } | { readonly problem: 'length' | 'too-long'; readonly family: Family };

/** Reads `10.0.0.0/8`, `fd00::/48`, `10.0.0.1` (a single address) as written: host bits may be set. */
export function readPrefix(text: string): Net | PrefixProblem {
  const slash = text.indexOf('/');
  const [address, lengthText] = slash === -1 ? [text, undefined] : [text.slice(0, slash), text.slice(slash + 1)];
  const family = address.includes(':') ? 6 : 4;
  const bits = family === 4 ? bitsOf4(address) : bitsOf6(address);
  if (bits === undefined || lengthText?.includes('/') === true) return { problem: 'address' };
  if (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) return { problem: 'length', family };
  const length = lengthText === undefined ? width(family) : Number(lengthText);
  return length > width(family) ? { problem: 'too-long', family } : { family, bits, length };
}

/** The network around a prefix as written: its host bits are cleared. */
export function networkOf(written: Net): Net {
  const host = free(written);
  const bits = (written.bits >> host) << host;
  return bits === written.bits ? written : { ...written, bits };
}

/** Reads a prefix; host bits are cleared. Throws CONFIG_INVALID. */
export function parseNet(text: string): Net {
  const written = readPrefix(text);
  if (!('problem' in written)) return networkOf(written);
  if (written.problem === 'address') throw new DaemonError('CONFIG_INVALID', `"${text}" is not an IP prefix`, { hint: 'write it like 10.99.0.0/16 or fd00:99::/48' });
  throw new DaemonError('CONFIG_INVALID', `"${text}" has no valid prefix length`, { hint: `0 to ${width(written.family)}` });
}

/**
 * Four decimal numbers without leading zeros, which some programs read as octal. There may be a hundred thousand addresses: digit
 * by digit this takes a third of the time of an expression with four groups, and arithmetic of bigints is slow.
 */
function bitsOf4(address: string): bigint | undefined {
  let [bits, part, digits, dots] = [0, 0, 0, 0];
  for (let at = 0; at < address.length; at++) {
    const character = address.charCodeAt(at);
    if (character === DOT && digits > 0) {
      bits = bits * 256 + part;
      [part, digits] = [0, 0];
      dots++;
    } else if (character >= ZERO && character <= NINE && (part > 0 || digits === 0)) {
      part = part * 10 + character - ZERO;
      digits++;
    } else return undefined;
    if (part > 255) return undefined;
  }
  return dots === 3 && digits > 0 ? BigInt(bits * 256 + part) : undefined;
}

const [DOT, ZERO, NINE] = [46, 48, 57];

/** RFC 4291, section 2.2, without a zone. */
function bitsOf6(address: string): bigint | undefined {
  const dotted = address.includes('.') ? address.slice(address.lastIndexOf(':') + 1) : undefined;
  const low = dotted === undefined ? 0n : bitsOf4(dotted);
  if (low === undefined) return undefined;
  const plain = dotted === undefined ? address : `${address.slice(0, -dotted.length)}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  const [head = '', tail, ...more] = plain.split('::');
  const groupsOf = (part: string | undefined): readonly string[] => (part === undefined || part === '' ? [] : part.split(':'));
  const [left, right] = [groupsOf(head), groupsOf(tail)];
  const zeros = 8 - left.length - right.length;
  if (more.length > 0 || (tail === undefined ? zeros !== 0 : zeros < 1)) return undefined;
  if (![...left, ...right].every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const digits = (groups: readonly string[]): string => groups.map((group) => group.padStart(4, '0')).join('');
  return BigInt(`0x${digits(left)}${'0000'.repeat(zeros)}${digits(right)}`);
}

/** Canonical text, always with the length: `10.0.0.0/8`, `fd00:99::/48` (RFC 5952). */
export function formatNet(net: Net): string {
  return `${formatAddress(net)}/${net.length}`;
}

export function formatAddress({ family, bits }: Net): string {
  if (family === 4) {
    const low = Number(bits);
    return `${low >>> 24}.${(low >>> 16) & 255}.${(low >>> 8) & 255}.${low & 255}`;
  }
  const hex = bits.toString(16).padStart(32, '0');
  const groups = Array.from({ length: 8 }, (_, i) => Number.parseInt(hex.slice(4 * i, 4 * i + 4), 16).toString(16));
  const longest = longestZeros(groups);
  if (longest.count < 2) return groups.join(':');
  return `${groups.slice(0, longest.start).join(':')}::${groups.slice(longest.start + longest.count).join(':')}`;
}

function longestZeros(groups: readonly string[]): { start: number; count: number } {
  let best = { start: 0, count: 0 };
  for (let start = 0; start < groups.length; start++) {
    let count = 0;
    while (groups[start + count] === '0') count++;
    if (count > best.count) best = { start, count };
  }
  return best;
}

/** Whether every address of `inner` is in `outer` (equal networks included). */
export function contains(outer: Net, inner: Net): boolean {
  return outer.family === inner.family && outer.length <= inner.length && inner.bits >> free(outer) === outer.bits >> free(outer);
}

/** An order in which every network comes right before the networks inside it; for sorting. */
export function byNesting(a: Net, b: Net): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.bits !== b.bits) return a.bits < b.bits ? -1 : 1;
  return a.length - b.length;
}

/** The two halves of a network; the network itself if it is one address. */
export function halves(net: Net): readonly Net[] {
  if (net.length === width(net.family)) return [net];
  const length = net.length + 1;
  const upper = net.bits | (1n << BigInt(width(net.family) - length));
  return [{ ...net, length }, { family: net.family, bits: upper, length }];
}

/** No host's addresses: multicast, link-local, loopback, broadcast. */
export const specials: readonly Net[] = ['224.0.0.0/4', '255.255.255.255/32', '169.254.0.0/16', '127.0.0.0/8', 'ff00::/8', 'fe80::/10', '::1/128'].map(parseNet);

/** The fewest networks that together are `net` without `holes`, each of which is inside it. */
export function subtract(net: Net, holes: readonly Net[]): readonly Net[] {
  if (holes.length === 0) return [net];
  if (holes.some((hole) => contains(hole, net))) return [];
  return halves(net).flatMap((half) => subtract(half, holes.filter((hole) => hole.bits <= lastOf(half) && lastOf(hole) >= half.bits)));
}

/**
 * Walks networks with their nearest enclosing one: `visit` is given every item in nesting order with what it returned
 * for the nearest item around it. Linear after the sort, so that a hundred thousand prefixes are no trouble.
 */
export function walkNested<Item extends { readonly net: Net }, Result>(items: readonly Item[], visit: (item: Item, around: Result | undefined) => Result): void {
  const open: { net: Net; result: Result }[] = [];
  for (const item of [...items].sort((a, b) => byNesting(a.net, b.net))) {
    let around = open.at(-1);
    while (around !== undefined && !contains(around.net, item.net)) {
      open.pop();
      around = open.at(-1);
    }
    open.push({ net: item.net, result: visit(item, around?.result) });
  }
}
