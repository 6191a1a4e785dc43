import { createHash } from 'node:crypto';
import type { Gate } from '../core/ports.js';
import type { Family } from '../core/prefix.js';

/** All our chains begin so (28 characters at most), and no one else's. */
export const chainPrefix = 'OOD-';
/** All our ipsets begin so (31 characters at most), and no one else's. */
export const setPrefix = 'ood-';
/** While a set is filled anew it has this at its end; then the two are swapped. */
export const newSuffix = '~';
/** The routing protocol of our routes and rules: a number without a name, 0xd0. What carries it is ours. */
export const routeProtocol = 208;
/**
 * The nexthop object of our IPv6 routes, `dev lo`. A plain IPv6 route to `lo` is turned into a rejecting one
 * (net/ipv6/route.c, fib6_is_reject) that forwarded packets never get past to FORWARD, where they are answered.
 */
export const loopNexthop = 20_800;
/** The label of addresses that we keep on `lo` (IPv4; IPv6 has no labels). */
export const addressLabel = 'lo:ood';

/**
 * A short identifier of a tunnel, the same in every run: the name itself where it is short and plain, else its
 * beginning and a hash.
 */
export function tunnelId(name: string): string {
  if (/^[A-Za-z0-9]{1,12}$/.test(name)) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 6);
  return `${name.replace(/[^A-Za-z0-9]/g, '').slice(0, 6)}-${hash}`;
}

/** What is anybody's, per family. */
export const anySet = (family: Family): string => `${setPrefix}any${family}`;
/** The OpenVPN servers' addresses, per family. */
export const remoteSet = (family: Family): string => `${setPrefix}remote${family}`;
/** What is this tunnel's, per family. */
export const ownSet = (id: string, family: Family): string => `${setPrefix}${id}-${family}`;
/** What dnsmasq finds that this tunnel's domains stand for, per family. Filled by dnsmasq alone, and never emptied by us. */
export const domainSet = (id: string, family: Family): string => `${setPrefix}${id}-dns${family}`;
export const isDomainSet = (name: string): boolean => name.startsWith(setPrefix) && /-dns[46]$/.test(name);
/** The tunnel's own addresses, which are kept while it is down, per family. */
export const addressSet = (id: string, family: Family): string => `${setPrefix}${id}-a${family}`;
/** A list of the own sets of all tunnels whose gate is `gate`, per family. */
export const gateList = (gate: Gate, family: Family): string => `${setPrefix}${gate}${family}`;

/** On while this tunnel's gate is `gate`: a condition of Xtables-addons (30 characters at most). */
export const gateCondition = (id: string, gate: Gate): string => `${setPrefix}${id}-${gate}`;

/** For what leaves by this tunnel's device, and for what is protected and leaves by any other. */
export const guardChain = (id: string): string => `${chainPrefix}guard-${id}`;
export const keptChain = `${chainPrefix}kept`;

export const countChain = `${chainPrefix}count`;
/** For tunnels that don't count everything. */
export const ownCountChain = (id: string): string => `${countChain}-${id}`;
/** For tunnels that don't hold everything: what becomes of packets that come in, or go out from this host, under `hold`. */
export const heldChain = (id: string, way: 'in' | 'out'): string => `${chainPrefix}${way}-${id}`;
/** For packets to addresses of domains that are nobody's yet: those that come in, or go out from this host. */
export const learnChain = (way: 'in' | 'out'): string => `${chainPrefix}learn-${way}`;
/** For tunnels that ignore something: what is dropped under `reject`. */
export const quietChain = (id: string): string => `${chainPrefix}quiet-${id}`;
