import { icmpErrors } from '../core/icmp.js';
import type { Gate, Marks } from '../core/ports.js';
import { parseNet, type Family } from '../core/prefix.js';
import { heldChain, ownCountChain, quietChain } from './names.js';
import type { PlannedTunnel } from './planned-tunnel.js';
import type { Match, Rule } from './rule.js';

// Which packets count: what a tunnel ignores, and who may wake it. Only tunnels that say something of it have more than
// the usual rules, in chains of their own that no other tunnel's packets come to.

/** A tunnel's rules for a chain of all tunnels, and the chains of its own that they lead to. */
export interface Part {
  readonly rules: readonly Rule[];
  readonly chains: readonly (readonly [string, readonly Rule[]])[];
}

type Matches = readonly Match[];

/** What becomes of packets while the gate is `hold`, and at once under `reject`: of those that come `in`, or go `out` from this host. */
export function held(family: Family, planned: PlannedTunnel, way: 'in' | 'out', marks: Marks): Part {
  const { id, tunnel } = planned;
  const mine = (gate: Gate): Matches => [...(way === 'in' ? [{ notIn: tunnel.device }] : []), { to: { id }, gate }];
  const quiet = ignored(family, planned, 'to').map((matches): Rule => ({ if: matches, then: { do: 'drop' } }));
  const hold = part(mine('hold'), heldChain(id, way), [...quiet, ...whoWakes(planned, way, marks)]);
  const reject = part(mine('reject'), quietChain(id), tunnel.onFailure === 'drop' ? [{ if: [], then: { do: 'drop' } }] : quiet);
  return { rules: [...hold.rules, ...reject.rules], chains: [...hold.chains, ...reject.chains] };
}

/** In a guard chain: what leaves by the tunnel's device passes, and is counted unless the tunnel ignores it. */
export function passedOut(family: Family, planned: PlannedTunnel): readonly Rule[] {
  const out: Match = { out: planned.tunnel.device };
  return [
    ...uncounted(family, planned, 'to').map((matches): Rule => ({ if: [out, ...matches], then: { do: 'return' } })),
    { if: [out], then: { do: 'return' }, counts: { id: planned.id, direction: 'out' } },
  ];
}

/** What comes in by the tunnel's device is counted unless the tunnel ignores it. */
export function countedIn(family: Family, planned: PlannedTunnel): Part {
  const { id, tunnel } = planned;
  const by: Match = { in: tunnel.device };
  const count: Rule = { if: [by, { from: { id } }], then: { do: 'count' }, counts: { id, direction: 'in' } };
  const not = uncounted(family, planned, 'from').map((matches): Rule => ({ if: matches, then: { do: 'return' } }));
  if (not.length === 0) return { rules: [count], chains: [] };
  return { rules: [{ if: [by], then: { do: 'goto', chain: ownCountChain(id) } }], chains: [[ownCountChain(id), [...not, count]]] };
}

/** What the tunnel ignores: on the way `to` protected prefixes by its destination, on the way back by its source. */
function ignored(family: Family, { tunnel }: PlannedTunnel, way: 'to' | 'from'): readonly Matches[] {
  const of = way === 'to' ? 'destination' : 'source';
  return (tunnel.ignore ?? []).flatMap(({ protocol, ports, to }): readonly Matches[] => {
    const match: Match = ports === undefined ? { protocol } : { protocol, ports: { ...ports, of } };
    if (to === undefined) return [[match]];
    const net = parseNet(to);
    return net.family === family ? [[match, { net, of }]] : [];
  });
}

/** All that is ignored, and where something is, ICMP errors: they may be answers to it. */
function uncounted(family: Family, planned: PlannedTunnel, way: 'to' | 'from'): readonly Matches[] {
  const matches = ignored(family, planned, way);
  return matches.length === 0 ? [] : [...matches, ...icmpErrors[family].map((icmp) => [{ icmp }])];
}

/** What may wake is held, the rest is refused: by the mark of what is answered, which the rules in filter look for. */
function whoWakes({ tunnel }: PlannedTunnel, way: 'in' | 'out', marks: Marks): readonly Rule[] {
  const { queue, onFailure, wake = 'both', wakeFrom } = tunnel;
  const hold = { do: 'queue', queue } as const;
  const refuse: Rule = { if: [], then: onFailure === 'drop' ? { do: 'drop' } : { do: 'mark', mark: marks.reject } };
  if (wake === (way === 'in' ? 'local' : 'forwarded')) return [refuse];
  if (way === 'out' || wakeFrom === undefined) return [{ if: [], then: hold }];
  return [...wakeFrom.map((device): Rule => ({ if: [{ in: device }], then: hold })), refuse];
}

/** Rules for what matches: in a chain of their own, unless it is but one for all of it. */
function part(matches: Matches, chain: string, rules: readonly Rule[]): Part {
  const [first] = rules;
  if (first === undefined) return { rules: [], chains: [] };
  if (first.if.length === 0) return { rules: [{ if: matches, then: first.then }], chains: [] };
  return { rules: [{ if: matches, then: { do: 'jump', chain } }], chains: [[chain, rules]] };
}
