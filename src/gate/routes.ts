import type { Addresses } from '../core/ports.js';
import { addressLabel, loopNexthop, routeProtocol } from './names.js';
import { routesIntoDevice, type PlannedTunnel } from './planned-tunnel.js';
import { contains, formatAddress, formatNet, parseNet, type Family, type Net } from '../core/prefix.js';

/** One route of ours: `protect` prefixes to `lo`, addresses of names into the tunnel device, or, in a closing table, `throw` for what is exempt. */
export interface Route {
  readonly family: Family;
  readonly type: 'unicast' | 'throw';
  readonly prefix: string;
  readonly metric: number;
  /** Undefined: the main table. */
  readonly table: number | undefined;
  readonly source: string | undefined;
  /** Absent: `lo`. */
  readonly device?: string;
}

export interface RoutingRule {
  readonly family: Family;
  readonly spec: string;
}

export interface KeptAddress {
  readonly family: Family;
  readonly address: string;
}

export interface FoundRoute extends Route {
  /** The nexthop object that it leads to, if any. */
  readonly nexthop?: number;
}

export interface FoundRouting {
  readonly routes: readonly FoundRoute[];
  readonly rules: readonly RoutingRule[];
  readonly addresses: readonly KeptAddress[];
  readonly nexthop: boolean;
}

/** Where our routes lead: `dev lo`, or a nexthop object that does. */
export type Target = 'dev lo' | `nhid ${number}`;

/** What follows `ip route replace`. */
export function renderRoute(route: Route, target: Target): string {
  const source = route.source === undefined ? '' : ` src ${route.source}`;
  const to = route.type === 'throw' ? '' : ` ${route.device === undefined ? target : `dev ${route.device}`}`;
  return `${destinationOf(route)}${to}${placeOf(route)}${source}`;
}

/** What follows `ip route del`, and what tells two routes apart. */
export function nameRoute(route: Route): string {
  return `${destinationOf(route)}${placeOf(route)}`;
}

const destinationOf = ({ type, prefix }: Route): string => (type === 'throw' ? `throw ${prefix}` : prefix);

const placeOf = ({ metric, table }: Route): string => ` metric ${metric}${table === undefined ? '' : ` table ${table}`} proto ${routeProtocol}`;

interface JsonRoute {
  readonly type?: string;
  readonly dst: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly metric?: number;
  readonly table?: string;
  readonly prefsrc?: string;
  readonly nhid?: number;
}

interface JsonRule {
  readonly priority: number;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly iif?: string;
  readonly table?: string;
  readonly protocol?: string;
}

interface JsonLink {
  readonly addr_info?: readonly { readonly family?: string; readonly local?: string; readonly prefixlen?: number; readonly label?: string }[];
}

/** iproute2 prints nothing at all where there is nothing. */
const listOf = (json: string): unknown => (json.trim() === '' ? [] : JSON.parse(json));

/** `default`, `10.0.0.1` and `10.0.0.0/8` as a network. */
const netOf = (destination: string, family: Family): Net => parseNet(destination === 'default' ? (family === 4 ? '0.0.0.0/0' : '::/0') : destination);

/** Who makes routes for what is on link: the kernel for the addresses of a device, and routers that advertise it. */
export const lanProtocols = [{ family: 4, protocol: 'kernel' }, { family: 6, protocol: 'kernel' }, { family: 6, protocol: 'ra' }] as const;

/** The prefixes on link, from `ip -json -details route show table main proto PROTOCOL` with one of `lanProtocols`, which it does not name again. Devices of tunnels don't count. */
export function parseLans(json: string, family: Family, tunnelDevices: ReadonlySet<string>): readonly Net[] {
  return (listOf(json) as readonly JsonRoute[])
    .filter(({ dst, gateway }) => dst !== 'default' && gateway === undefined)
    .filter(({ dev }) => dev !== undefined && dev !== 'lo' && !tunnelDevices.has(dev))
    .map(({ dst }) => netOf(dst, family));
}

/** Our routes, from `ip -json -details route show table all proto 208`. */
export function parseRoutes(json: string, family: Family): readonly FoundRoute[] {
  return (listOf(json) as readonly JsonRoute[]).map(({ type, dst, dev, metric, table, prefsrc, nhid }) => ({
    family,
    type: type === 'throw' ? 'throw' : 'unicast',
    prefix: formatNet(netOf(dst, family)),
    metric: metric ?? 0,
    table: table === undefined || table === 'main' ? undefined : Number(table),
    source: prefsrc,
    ...(dev === undefined || dev === 'lo' ? {} : { device: dev }),
    ...(nhid === undefined ? {} : { nexthop: nhid }),
  }));
}

/** Whether our nexthop object is there, from `ip -json -details nexthop show`. */
export function parseNexthops(json: string): boolean {
  return (listOf(json) as readonly { readonly id: number; readonly protocol?: string }[]).some(({ id, protocol }) => id === loopNexthop && protocol === String(routeProtocol));
}

/** Our rules, from `ip -json rule show`. */
export function parseRules(json: string, family: Family): readonly RoutingRule[] {
  return (listOf(json) as readonly JsonRule[])
    .filter(({ protocol }) => protocol === String(routeProtocol))
    .map(({ priority, fwmark, fwmask, iif, table }) => {
      const selector = [...(iif === undefined ? [] : ['iif', iif]), ...(fwmark === undefined ? [] : ['fwmark', `${fwmark}/${fwmask ?? '0xffffffff'}`])];
      return { family, spec: ['pref', String(priority), ...selector, ...(table === undefined ? [] : ['lookup', table]), 'protocol', String(routeProtocol)].join(' ') };
    });
}

/** The addresses on `lo` that we keep, from `ip -json addr show dev lo`: by label, or as the source of a route of ours. */
export function parseKept(json: string, routes: readonly Route[]): readonly KeptAddress[] {
  const sources = new Set(routes.map(({ source }) => source));
  return (listOf(json) as readonly JsonLink[])
    .flatMap(({ addr_info: infos }) => infos ?? [])
    .flatMap(({ family, local, prefixlen, label }): KeptAddress[] => {
      if (local === undefined) return [];
      if (family === 'inet') return label === addressLabel ? [{ family: 4, address: local }] : [];
      return prefixlen === 128 && sources.has(local) ? [{ family: 6, address: local }] : [];
    });
}

/** All addresses on `lo`, ours or not. */
export function parseLoopback(json: string): ReadonlySet<string> {
  return new Set((listOf(json) as readonly JsonLink[]).flatMap(({ addr_info: infos }) => (infos ?? []).flatMap(({ local }) => (local === undefined ? [] : [local]))));
}

const sourceOf = (addresses: Addresses, family: Family): string | undefined => (family === 4 ? addresses.ipv4 : addresses.ipv6);

/** The catch routes of a tunnel in the main table. */
export function catchRoutes({ routes }: PlannedTunnel, metric: number, addresses: Addresses): readonly Route[] {
  return routes.map(({ net }) => ({ family: net.family, type: 'unicast', prefix: formatNet(net), metric, table: undefined, source: sourceOf(addresses, net.family) }));
}

/** Into the tunnel device: better than the catch route, and no worse than what the link routes as precisely. */
export function deviceRoutes(planned: PlannedTunnel, metric: number): readonly Route[] {
  const { device } = planned.tunnel;
  return routesIntoDevice(planned).byGate.map((net) => ({ family: net.family, type: 'unicast', prefix: formatNet(net), metric: metric - 1, table: undefined, source: undefined, device }));
}

/** The table that `catchFirst` puts first: what is protected goes to `lo`, what is exempt goes on to the next table. */
export function closingRoutes({ entries, tunnel, closingTable: table }: PlannedTunnel, metric: number, addresses: Addresses): readonly Route[] {
  const listed = new Set(entries.map(({ net }) => formatNet(net)));
  const remotes = tunnel.remotes.map(parseNet).filter((net) => entries.some((entry) => contains(entry.net, net)) && !listed.has(formatNet(net)));
  const own = entries.map(({ net, match }): Route => ({ family: net.family, type: match ? 'unicast' : 'throw', prefix: formatNet(net), metric, table, source: match ? sourceOf(addresses, net.family) : undefined }));
  return [...own, ...remotes.map((net): Route => ({ family: net.family, type: 'throw', prefix: formatNet(net), metric, table, source: undefined }))];
}

/**
 * The rule of `catchFirst`. Only what this host sends for the first time: a packet that we released carries a mark, and
 * OpenVPN's transport another, and both go by the real routes.
 */
export interface ClosingRule {
  readonly priority: number;
  /** The bits of the mark that are not set. */
  readonly mask: number;
  readonly table: number;
}

/** As what follows `ip rule add` or `del`. */
export function closingRuleText({ priority, mask, table }: ClosingRule): string {
  return `pref ${priority} iif lo fwmark 0x0/0x${mask.toString(16)} lookup ${table} protocol ${routeProtocol}`;
}

/** An address on `lo`, as what follows `ip addr replace`. The IPv6 one is deprecated: never chosen but by our routes. */
export function renderKept({ family, address }: KeptAddress): string {
  return family === 4 ? `${address}/32 dev lo label ${addressLabel}` : `${address}/128 dev lo nodad preferred_lft 0`;
}

/** The canonical text of an address, for comparisons with what the kernel prints. */
export function canonicalAddress(address: string): string {
  return formatAddress(parseNet(address));
}
