import { byNesting, contains, formatAddress, formatNet, lastOf, parseNet, subtract, walkNested, type Family, type Net } from './prefix.js';

/** A connection that the kernel tracks: the addresses of its first packet, and those that its replies have. */
export interface TrackedConnection {
  readonly family: Family;
  readonly source: string;
  readonly destination: string;
  /** Another than `destination` where that is NATed. */
  readonly replySource: string;
  /** Another than `source` where that is NATed. */
  readonly replyDestination: string;
  /** A flowtable or the hardware forwards it, past the firewall. */
  readonly offloaded: boolean;
}

/** Connections to be forgotten: all that agree with what is said here. */
export interface Forget {
  readonly family: Family;
  /** A prefix, or an address. */
  readonly source?: string;
  readonly destination?: string;
  readonly replySource?: string;
  readonly replyDestination?: string;
  /** Only those that a flowtable forwards. */
  readonly offloaded?: true;
}

/** A protected network, and what tells whether a connection to it went another way. */
export interface ProtectedPart {
  readonly net: Net;
  /** The tunnel's device is there: a connection may be one through the tunnel. */
  readonly hasDevice: boolean;
}

/** The networks that together are what `entries` match (of nested ones the longer decides), without `except`. */
export function partsOf(entries: readonly { readonly net: Net; readonly match: boolean }[], except: readonly Net[]): readonly Net[] {
  const parts: { readonly net: Net; readonly holes: Net[] }[] = [];
  const items = [...entries, ...except.map((net) => ({ net, match: false }))];
  walkNested<(typeof items)[number], (typeof parts)[number] | undefined>(items, ({ net, match }, around) => {
    around?.holes.push(net);
    if (!match) return undefined;
    const part = { net, holes: [] };
    parts.push(part);
    return part;
  });
  return parts.flatMap(({ net, holes }) => subtract(net, holes));
}

/**
 * Which connections to protected addresses went another way than the tunnel, and so are to be forgotten: their NAT is
 * that of another device, or packets pass the firewall by a flowtable. Where the tunnel's device is there, that shows
 * by the address that replies come to: one of another device (`elsewhere`). `parts` don't overlap.
 */
export function wentAnotherWay(connections: Iterable<TrackedConnection>, parts: readonly ProtectedPart[], elsewhere: ReadonlySet<string>): readonly Forget[] {
  const sorted = [...parts].sort((a, b) => byNesting(a.net, b.net));
  const found = new Map<string, Forget>();
  for (const { family, destination, replySource, replyDestination, offloaded } of connections) {
    const direct = partAround(sorted, parseNet(destination));
    // What somebody NATed to a protected address is told by both of its addresses: there are no two prefixes to name.
    const part = direct ?? partAround(sorted, parseNet(replySource));
    if (part === undefined) continue;
    const to = direct === undefined ? { family, destination, replySource } : { family, destination: nameOf(direct.net) };
    if (part.hasDevice && !offloaded && !elsewhere.has(replyDestination)) continue;
    const forget: Forget = part.hasDevice ? { ...to, replyDestination } : to;
    found.set(JSON.stringify(forget), forget);
  }
  return [...found.values()];
}

/**
 * Which connections from or to protected addresses a flowtable forwards, and so pass the firewall unseen. Those that are
 * NATed are told by an address of their replies, which can't be a prefix.
 */
export function offloadedAmong(connections: Iterable<TrackedConnection>, parts: readonly Net[]): readonly Forget[] {
  const sorted = parts.map((net) => ({ net, hasDevice: false })).sort((a, b) => byNesting(a.net, b.net));
  const found = new Map<string, Forget>();
  for (const { family, source, destination, replySource, replyDestination, offloaded } of connections) {
    if (!offloaded) continue;
    const [from, to] = [partAround(sorted, parseNet(source)), partAround(sorted, parseNet(destination))];
    const isPart = (address: string): boolean => partAround(sorted, parseNet(address)) !== undefined;
    const which = to !== undefined ? { destination: nameOf(to.net) }
      : from !== undefined ? { source: nameOf(from.net) }
        : isPart(replySource) ? { replySource }
          : isPart(replyDestination) ? { replyDestination } : undefined;
    if (which !== undefined) found.set(JSON.stringify(which), { family, offloaded, ...which });
  }
  return [...found.values()];
}

function nameOf(net: Net): string {
  return net.length === (net.family === 4 ? 32 : 128) ? formatAddress(net) : formatNet(net);
}

/** By halving: there may be a hundred thousand. */
function partAround(sorted: readonly ProtectedPart[], address: Net): ProtectedPart | undefined {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const { net } = sorted[middle] ?? { net: address };
    if (net.family < address.family || (net.family === address.family && lastOf(net) < address.bits)) low = middle + 1;
    else high = middle;
  }
  const part = sorted[low];
  return part !== undefined && contains(part.net, address) ? part : undefined;
}
