import type { GateTunnel, Prefix } from './ports.js';
import { contains, parseNet, specials, type Net } from './prefix.js';

/** What a tunnel protects by name beside what it protects by prefix. */
export interface NamedTunnel {
  readonly tunnel: GateTunnel;
  readonly named: readonly Prefix[];
}

/** An address that two tunnels' names stand for, or that another tunnel protects by prefix. */
export interface NameClash {
  readonly prefix: Prefix;
  readonly tunnel: string;
  /** Whose it is. */
  readonly owner: string;
}

/** With what names stand for among what is protected: whoever says an address by prefix has it, then the first whose name it is. */
export function withNamed(tunnels: readonly NamedTunnel[]): { readonly tunnels: readonly GateTunnel[]; readonly clashes: readonly NameClash[] } {
  const named = new Set(tunnels.flatMap((each) => each.named));
  const owners = new Map(tunnels.flatMap(({ tunnel }) => tunnel.protect.filter((prefix) => named.has(prefix)).map((prefix) => [prefix, tunnel.name] as const)));
  const clashes: NameClash[] = [];
  const complete = tunnels.map((each): GateTunnel => {
    const { name, protect } = each.tunnel;
    const own = each.named.filter((prefix) => {
      const owner = owners.get(prefix);
      if (owner !== undefined && owner !== name) clashes.push({ prefix, tunnel: name, owner });
      return owner === undefined;
    });
    for (const prefix of own) owners.set(prefix, name);
    return own.length === 0 ? each.tunnel : { ...each.tunnel, protect: [...protect, ...own], named: own };
  });
  return { tunnels: complete, clashes };
}

/** What stands for "no address" or "this host" in answers that block a name. */
const unspecified = ['0.0.0.0/8', '::/128'].map(parseNet);

/** Whether an address can be another host's: a name that is said to stand for anything else is blocked, or a mistake. */
export function isOrdinary(address: Net): boolean {
  return ![...specials, ...unspecified].some((special) => contains(special, address));
}
