import type { Addresses } from '../core/ports.js';
import { DaemonError } from '../core/errors.js';
import { loopNexthop, routeProtocol } from './names.js';
import type { Plan } from './plan.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { Family, Net } from '../core/prefix.js';
import { canonicalAddress, catchRoutes, closingRoutes, deviceRoutes, lanProtocols, nameRoute, parseKept, parseLans, parseLoopback, parseNexthops, parseRoutes, parseRules, renderKept, renderRoute, type FoundRouting, type KeptAddress, type Route, type Target } from './routes.js';
import type { ChangeRule } from './rule-request.js';
import type { Runner } from './runner.js';

export interface RoutingOptions {
  readonly metric: number;
  /** The priority of the rules of `catchFirst`. */
  readonly priority: number;
  readonly mask: number;
  readonly warn: (event: string, message: string) => void;
}

/** What an install finds of the one before it, by names of tunnels. */
export interface StandingRouting {
  /** What is kept for each; undefined: there was none before it. */
  readonly addresses: ReadonlyMap<string, Addresses> | undefined;
  /** They have no catch routes. */
  readonly bypassed: ReadonlySet<string>;
  /** Their `catchFirst` is on, with the closing table of the plan, and stays. */
  readonly catchFirst: ReadonlySet<string>;
}

const families: readonly Family[] = [4, 6];

/** With more prefixes than this a tunnel's closing table is filled when it is first used, not before the start. */
const manyEntries = 2000;
const manyRoutes = 10_000;

/** The catch routes, the kept addresses and the rules of `catchFirst`: what `ip` does for the gate, and what needs no program. */
export class Routing {
  readonly #run: Runner;
  readonly #changeRule: ChangeRule;
  readonly #options: RoutingOptions;
  /** Addresses on `lo` that somebody else put there: used, never removed. */
  #foreign: ReadonlySet<string> = new Set();
  #target6: Target = 'dev lo';
  /** The closing tables that are filled. */
  #closing: ReadonlySet<number> = new Set();

  constructor(run: Runner, changeRule: ChangeRule, options: RoutingOptions) {
    this.#run = run;
    this.#changeRule = changeRule;
    this.#options = options;
  }

  /** The prefixes on link. */
  async lans(tunnelDevices: ReadonlySet<string>): Promise<readonly Net[]> {
    // Only the protocols that may have any: there may be a hundred thousand routes of ours, and a full table of others.
    const found = await Promise.all(lanProtocols.map(async ({ family, protocol }) => parseLans(await this.#show(family, 'route', 'show', 'table', 'main', 'proto', protocol), family, tunnelDevices)));
    return found.flat();
  }

  /** Everything of ours that the kernel has. */
  async found(): Promise<FoundRouting> {
    const [routes, rules, loopback, nexthops] = await Promise.all([
      Promise.all(families.map(async (family) => parseRoutes(await this.#show(family, 'route', 'show', 'table', 'all', 'proto', String(routeProtocol)), family))),
      Promise.all(families.map(async (family) => parseRules(await this.#show(family, 'rule', 'show'), family))),
      this.#run('ip', ['-json', 'addr', 'show', 'dev', 'lo']),
      this.#nexthops(),
    ]);
    const addresses = parseKept(loopback, routes.flat());
    const kept = new Set(addresses.map(({ address }) => address));
    this.#foreign = new Set([...parseLoopback(loopback)].filter((address) => !kept.has(address)));
    return { routes: routes.flat(), rules: rules.flat(), addresses, nexthop: parseNexthops(nexthops) };
  }

  /**
   * Brings routes and addresses to the plan, with `catchFirst` off but for the tunnels where it stays. Resolves with the
   * addresses that are kept for each: at first those that an earlier run kept for the tunnel whose routes name them.
   */
  async install(plan: Plan, found: FoundRouting, { addresses, bypassed, catchFirst }: StandingRouting): Promise<ReadonlyMap<string, Addresses>> {
    this.#target6 = plan.families.includes(6) ? await this.#nexthop(found) : 'dev lo';
    const kept = new Map(plan.tunnels.map((tunnel) => [tunnel.tunnel.name, addresses === undefined ? earlierAddresses(tunnel, found) : (addresses.get(tunnel.tunnel.name) ?? {})]));
    this.#closing = new Set(plan.tunnels.filter(({ entries }) => entries.length <= manyEntries).map(({ closingTable }) => closingTable));
    const wanted = plan.tunnels.flatMap((tunnel) => this.#routes(tunnel, kept.get(tunnel.tunnel.name) ?? {}, !bypassed.has(tunnel.tunnel.name)));
    const { missing, stale } = this.#differences(plan, wanted, found);
    const inUse = new Set([...kept.values()].flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]));
    const staying = plan.tunnels.filter(({ tunnel: { name } }) => catchFirst.has(name)).map(({ closingTable }) => ` lookup ${closingTable} `);
    await this.#apply((family) => [
      ...inFamily(found.rules, family).filter(({ spec }) => !staying.some((lookup) => spec.includes(lookup))).map(({ spec }) => `rule del ${spec}`),
      // Somebody may have taken one away, and with it what says so.
      ...inFamily(plan.tunnels.flatMap((tunnel) => this.#kept(tunnel, kept.get(tunnel.tunnel.name) ?? {})), family).map((address) => `addr replace ${renderKept(address)}`),
    ]);
    await this.#replace(missing);
    await this.#apply((family) => [
      ...inFamily(stale, family).map((route) => `route del ${nameRoute(route)}`),
      ...inFamily(found.addresses, family).filter(({ address }) => !inUse.has(address)).map(dropAddress),
    ]);
    return kept;
  }

  /** Brings back what is missing of the catch routes and the closing tables, and the addresses that they need; resolves with how many routes. */
  async mend(tunnels: readonly { readonly tunnel: PlannedTunnel; readonly addresses: Addresses; readonly catching: boolean }[]): Promise<number> {
    if (tunnels.length === 0) return 0;
    const [foreign, ours] = [this.#foreign, new Set(tunnels.flatMap(({ addresses }) => keptOf(addresses)).map(({ address }) => address))];
    const found = await this.found();
    const present = new Set(found.routes.map((route) => key(route)));
    // What says that an address is ours may be what is missing.
    this.#foreign = new Set([...this.#foreign].filter((address) => foreign.has(address) || !ours.has(address)));
    const missing = tunnels.flatMap(({ tunnel, addresses, catching }) => this.#routes(tunnel, addresses, catching)).filter((route) => !present.has(key(route)));
    if (missing.length === 0) return 0;
    if (inFamily(missing, 6).length > 0) this.#target6 = await this.#nexthop(found);
    await this.#apply((family) => inFamily(tunnels.flatMap(({ tunnel, addresses }) => this.#kept(tunnel, addresses)), family).map((address) => `addr replace ${renderKept(address)}`));
    await this.#replace(missing);
    return missing.length;
  }

  /** Removes what was found; resolves with a line for each. */
  async remove(found: FoundRouting): Promise<readonly string[]> {
    const others = (family: Family): readonly string[] => [
      ...inFamily(found.addresses, family).map(dropAddress),
      ...(found.nexthop && family === 6 ? [`nexthop del id ${loopNexthop}`] : []),
    ];
    const rules = (family: Family): readonly string[] => inFamily(found.rules, family).map(({ spec }) => `rule del ${spec}`);
    const routes = (family: Family): readonly Route[] => inFamily(found.routes, family);
    // All that carry our protocol at once, since there may be a hundred thousand; IPv6 can't flush routes by nexthop object.
    const drop = (family: Family): readonly string[] => (family === 4 && routes(4).length > 0 ? [`route flush table all proto ${routeProtocol}`] : routes(family).map((route) => `route del ${nameRoute(route)}`));
    await this.#apply((family) => [...rules(family), ...drop(family), ...others(family)]);
    const named = (family: Family): readonly string[] => [...rules(family), ...routes(family).map((route) => `route ${nameRoute(route)}`), ...others(family)];
    return families.flatMap((family) => named(family).map((line) => `ip -${family} ${line.replace(' del ', ' ')}`));
  }

  /** The routes into the tunnel device that its link does not make; without the device there are none to make. */
  async intoDevice(tunnel: PlannedTunnel): Promise<void> {
    const routes = deviceRoutes(tunnel, this.#options.metric);
    if (routes.length > 0 && (await this.#isThere(tunnel.tunnel.device))) await this.#replace(routes);
  }

  /** What `install`, `keep` and `intoDevice` have done for the tunnel, for a part of it that came later: a packet waits for it. */
  async learn(part: PlannedTunnel, addresses: Addresses, { catching, routed }: { readonly catching: boolean; readonly routed: boolean }): Promise<void> {
    const routes = this.#routes(part, addresses, catching);
    const make = (all: readonly Route[]): Promise<void> => this.#apply((family) => [
      ...inFamily(this.#kept(part, addresses), family).map((address) => `addr replace ${renderKept(address)}`),
      ...inFamily(all, family).map((route) => `route replace ${renderRoute(route, this.#target(family))}`),
    ]);
    try {
      await make(routed ? [...routes, ...deviceRoutes(part, this.#options.metric)] : routes);
    } catch (error) {
      if (!routed || (await this.#isThere(part.tunnel.device))) throw error;
      await make(routes);
    }
  }

  /** Our routes into a device go, which may outlive its link; if it is gone, they are. */
  async outOfDevice({ families: own, tunnel: { device } }: PlannedTunnel): Promise<void> {
    for (const family of own) {
      await this.#run('ip', [`-${family}`, 'route', 'flush', 'dev', device, 'proto', String(routeProtocol)]).catch((error: unknown) => {
        if (!(error instanceof DaemonError && error.code === 'ROUTE_FAILED')) throw error;
      });
    }
  }

  /** The catch routes of one tunnel: there, or not. Without them there are none of ours into the device either. */
  async catching(tunnel: PlannedTunnel, addresses: Addresses, on: boolean): Promise<void> {
    const routes = catchRoutes(tunnel, this.#options.metric, addresses);
    if (on) {
      await this.#replace(routes);
      return;
    }
    const keys = new Set([...routes, ...deviceRoutes(tunnel, this.#options.metric)].map((route) => key(route)));
    const { routes: present } = await this.found();
    await this.#apply((family) => inFamily(present, family).filter((route) => keys.has(key(route))).map((route) => `route del ${nameRoute(route)}`));
  }

  /** The rules that put the tunnel's closing table before the main one, both families or none. */
  async catchFirst(tunnel: PlannedTunnel, addresses: Addresses, on: boolean): Promise<void> {
    if (on && !this.#closing.has(tunnel.closingTable)) {
      await this.#replace(closingRoutes(tunnel, this.#options.metric, addresses));
      this.#closing = new Set([...this.#closing, tunnel.closingTable]);
    }
    const done: Family[] = [];
    const { mask, priority } = this.#options;
    const change = async (family: Family, verb: 'add' | 'del'): Promise<void> => {
      try {
        this.#changeRule(verb, family, { priority, mask, table: tunnel.closingTable });
      } catch (error) {
        // Has somebody done it already? systemd-networkd removes rules that it does not know.
        const rules = parseRules(await this.#show(family, 'rule', 'show'), family);
        if (rules.some((rule) => rule.spec.includes(` lookup ${tunnel.closingTable} `)) !== (verb === 'add')) throw error;
      }
    };
    try {
      for (const family of tunnel.families) {
        await change(family, on ? 'add' : 'del');
        done.push(family);
      }
    } catch (error) {
      await Promise.allSettled(done.map((family) => change(family, on ? 'del' : 'add')));
      throw error;
    }
  }

  /** Puts the addresses on `lo` and into the routes, then takes away those that are not used any more. */
  async keep(tunnel: PlannedTunnel, addresses: Addresses, options: { readonly catching: boolean; readonly unused: readonly KeptAddress[] }): Promise<void> {
    const routes = this.#routes(tunnel, addresses, options.catching);
    const kept = this.#kept(tunnel, addresses);
    // Somebody may have taken one away already.
    const present = options.unused.length === 0 ? new Set<string>() : parseLoopback(await this.#run('ip', ['-json', 'addr', 'show', 'dev', 'lo']));
    const unused = options.unused.filter(({ address }) => present.has(address) && !this.#foreign.has(address));
    await this.#apply((family) => [
      ...inFamily(kept, family).map((address) => `addr replace ${renderKept(address)}`),
      ...inFamily(routes, family).filter(({ source }) => source !== undefined).map((route) => `route replace ${renderRoute(route, this.#target(family))}`),
      ...inFamily(unused, family).map(dropAddress),
    ]);
  }

  /** What is to be on `lo`: it is a source of routes of ours, by which it is found again. */
  #kept(tunnel: PlannedTunnel, addresses: Addresses): readonly KeptAddress[] {
    return keptOf(addresses).filter(({ family, address }) => !this.#foreign.has(address) && tunnel.routes.some(({ net }) => net.family === family));
  }

  /** What is not there or leads elsewhere, and what is there and nobody's any more. There may be a hundred thousand, most of which stand. */
  #differences({ tunnels }: Plan, wanted: readonly Route[], { routes }: FoundRouting): { readonly missing: readonly Route[]; readonly stale: readonly Route[] } {
    if (routes.length === 0) return { missing: wanted, stale: [] };
    const others = new Map(routes.map((route) => [wholeRoute(route, route.nexthop === undefined ? 'dev lo' : `nhid ${route.nexthop}`), route]));
    const missing = wanted.filter((route) => !others.delete(wholeRoute(route, this.#target(route.family))));
    if (others.size === 0) return { missing, stale: [] };
    const intoDevices = tunnels.flatMap((tunnel) => deviceRoutes(tunnel, this.#options.metric));
    const keys = new Set([...missing, ...intoDevices].map((route) => key(route)));
    return { missing, stale: [...others.values()].filter((route) => !keys.has(key(route))) };
  }

  #routes(tunnel: PlannedTunnel, addresses: Addresses, catching: boolean): readonly Route[] {
    const { metric } = this.#options;
    return [...(catching ? catchRoutes(tunnel, metric, addresses) : []), ...(this.#closing.has(tunnel.closingTable) ? closingRoutes(tunnel, metric, addresses) : [])];
  }

  /** IPv6 routes that can be forwarded to `lo`; older kernels (before 5.3) have only those that can't. */
  async #nexthop({ nexthop: isThere }: Pick<FoundRouting, 'nexthop'>): Promise<Target> {
    // To replace it would be a change of every route that leads to it.
    if (isThere) return `nhid ${loopNexthop}`;
    try {
      await this.#run('ip', ['-6', 'nexthop', 'replace', 'id', String(loopNexthop), 'dev', 'lo', 'protocol', String(routeProtocol)]);
      return `nhid ${loopNexthop}`;
    } catch (error) {
      if (!(error instanceof DaemonError && error.code === 'ROUTE_FAILED')) throw error;
      this.#options.warn('gate.no_nexthop', 'this kernel has no nexthop objects: forwarded IPv6 packets are dropped instead of answered while the tunnel is down');
      return 'dev lo';
    }
  }

  async #nexthops(): Promise<string> {
    try {
      return await this.#run('ip', ['-json', '-details', 'nexthop', 'show']);
    } catch (error) {
      if (error instanceof DaemonError && error.code === 'ROUTE_FAILED') return '';
      throw error;
    }
  }

  async #isThere(device: string): Promise<boolean> {
    try {
      await this.#run('ip', ['link', 'show', 'dev', device]);
      return true;
    } catch (error) {
      if (error instanceof DaemonError && error.code === 'ROUTE_FAILED') return false;
      throw error;
    }
  }

  #target(family: Family): Target {
    return family === 6 ? this.#target6 : 'dev lo';
  }

  #show(family: Family, ...args: readonly string[]): Promise<string> {
    return this.#run('ip', ['-json', '-details', `-${family}`, ...args]);
  }

  async #apply(linesOf: (family: Family) => readonly string[]): Promise<void> {
    for (const family of families) {
      const lines = linesOf(family);
      if (lines.length > 0) await this.#run('ip', [`-${family}`, '-batch', '-'], textOf(lines));
    }
  }

  /** Half of them by each of two programs, if they are many: what takes long is their way into the kernel and back. */
  async #replace(routes: readonly Route[]): Promise<void> {
    for (const family of families) {
      const lines = inFamily(routes, family).map((route) => `route replace ${renderRoute(route, this.#target(family))}`);
      const middle = lines.length < manyRoutes ? lines.length : Math.ceil(lines.length / 2);
      const parts = [lines.slice(0, middle), lines.slice(middle)].filter((part) => part.length > 0);
      const results = await Promise.allSettled(parts.map((part) => this.#run('ip', [`-${family}`, '-batch', '-'], textOf(part))));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    }
  }
}

const textOf = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

const wholeRoute = (route: Route, target: Target): string => `${route.family} ${renderRoute(route, target)}`;

const key = (route: Route): string => `${route.family} ${nameRoute(route)}`;

function inFamily<Item extends { readonly family: Family }>(items: readonly Item[], family: Family): readonly Item[] {
  return items.filter((item) => item.family === family);
}

const dropAddress = ({ family, address }: KeptAddress): string => `addr del ${address}/${family === 4 ? 32 : 128} dev lo`;

export function keptOf({ ipv4, ipv6 }: Addresses): readonly KeptAddress[] {
  return [...(ipv4 === undefined ? [] : [{ family: 4 as const, address: canonicalAddress(ipv4) }]), ...(ipv6 === undefined ? [] : [{ family: 6 as const, address: canonicalAddress(ipv6) }])];
}

/** What the catch routes of an earlier run gave as source, if the address is still on `lo`. */
function earlierAddresses(tunnel: PlannedTunnel, found: FoundRouting): Addresses {
  if (found.addresses.length === 0) return {};
  const keys = new Set(catchRoutes(tunnel, 0, {}).map(({ family, prefix }) => `${family} ${prefix}`));
  const sources = found.routes.filter(({ family, prefix, table }) => table === undefined && keys.has(`${family} ${prefix}`));
  const pick = (family: Family): string | undefined => found.addresses.find((kept) => kept.family === family && sources.some(({ source }) => source === kept.address))?.address;
  const [ipv4, ipv6] = [pick(4), pick(6)];
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}
