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

/** What becomes of packets while the gate is `hold`: of those that come `in`, or go `out` from this host. */
export function held(family: Family, planned: PlannedTunnel, way: 'in' | 'out', marks: Marks): Part {
  return part(mine(planned, 'hold', way), heldChain(planned.id, way), [...quiet(family, planned), ...whoWakes(planned, way, marks)]);
}

/** What is dropped while the gate is `reject`, before anything answers it. */
export function quietened(family: Family, planned: PlannedTunnel, way: 'in' | 'out'): Part {
  return part(mine(planned, 'reject', way), quietChain(planned.id), planned.tunnel.onFailure === 'drop' ? [{ if: [], then: { do: 'drop' } }] : quiet(family, planned));
}

/** Of what leaves by the tunnel's device: what is the tunnel's passes, and is counted unless the tunnel ignores it. */
export function passedOut(family: Family, planned: PlannedTunnel): readonly Rule[] {
  const { id } = planned;
  return [
    ...uncounted(family, planned, 'to').map((matches): Rule => ({ if: [...matches, { to: { id } }], then: { do: 'return' } })),
    { if: [{ to: { id } }], then: { do: 'return' }, counts: { id, direction: 'out' } },
  ];
}

/** What comes in by the tunnel's device is counted unless the tunnel ignores it. */
export function countedIn(family: Family, planned: PlannedTunnel): Part {
  const { id } = planned;
  const count: Rule = { if: [{ from: { id } }], then: { do: 'count' }, counts: { id, direction: 'in' } };
  const not = uncounted(family, planned, 'from').map((matches): Rule => ({ if: matches, then: { do: 'return' } }));
  return part([], ownCountChain(id), [...not, count]);
}

function mine({ id, tunnel }: PlannedTunnel, gate: Gate, way: 'in' | 'out'): Matches {
  return [...(way === 'in' ? [{ notIn: tunnel.device }] : []), { gate, of: { id } }];
}

function quiet(family: Family, planned: PlannedTunnel): readonly Rule[] {
  return ignored(family, planned, 'to').map((matches): Rule => ({ if: matches, then: { do: 'drop' } }));
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

/** Rules for what matches: in a chain of their own, unless there is but one, or one for all of it. */
function part(matches: Matches, chain: string, rules: readonly Rule[]): Part {
  const [first, second] = rules;
  if (first === undefined) return { rules: [], chains: [] };
  if (second === undefined || first.if.length === 0) return { rules: [{ ...first, if: [...matches, ...first.if] }], chains: [] };
  return { rules: [{ if: matches, then: { do: 'jump', chain } }], chains: [[chain, rules]] };
}
