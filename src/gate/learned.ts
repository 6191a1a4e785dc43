import { isOrdinary } from '../core/named.js';
import { formatNet, type Net } from '../core/prefix.js';
import type { Plan } from './plan.js';
import type { PlannedTunnel } from './planned-tunnel.js';

// Addresses of domains, which a plan gets while it stands: what dnsmasq has found.

export interface Learnable {
  /** What becomes the tunnel's, or is to be brought back for it. */
  readonly all: readonly Net[];
  /** What of it the plan does not have. */
  readonly fresh: readonly Net[];
  /** There are others, for which there is no room. */
  readonly tooMany: boolean;
}

/** Which of these addresses become the tunnel's, with at most `most` in all tunnels together. */
export function learnable(plan: Plan, { learned }: PlannedTunnel, addresses: readonly Net[], most: number): Learnable {
  // nobody but this host may reach a server in clear, and an address that no other host can have is a mistake, or a block
  const remotes = new Set(plan.remotes.map(formatNet));
  const wanted = addresses.filter((net) => isOrdinary(net) && !remotes.has(formatNet(net)));
  // somebody may have emptied our sets: what is known is learned again, or its packets would come back for ever
  const known = wanted.filter((net) => learned.has(formatNet(net)));
  const room = Math.max(0, most - plan.tunnels.reduce((sum, planned) => sum + planned.learned.size, 0));
  const fresh = wanted.filter((net) => !known.includes(net)).slice(0, room);
  return { all: [...known, ...fresh], fresh, tooMany: known.length + fresh.length < wanted.length };
}

/** The part of a tunnel that these addresses are, which were nobody's so far. */
export function learnedPart(planned: PlannedTunnel, addresses: readonly Net[]): PlannedTunnel {
  return { ...planned, entries: addresses.map((net) => ({ net, match: true, lan: false, asProtected: false })), routes: addresses.map((net) => ({ net, asProtected: false })), learned: new Set(addresses.map(formatNet)) };
}

/** The plan with such a part: no rule depends on it. */
export function withLearned(plan: Plan, part: PlannedTunnel): Plan {
  const tunnels = plan.tunnels.map((planned): PlannedTunnel => (planned.id !== part.id ? planned : { ...planned, entries: [...planned.entries, ...part.entries], routes: [...planned.routes, ...part.routes], learned: new Set([...planned.learned, ...part.learned]) }));
  return { ...plan, tunnels, any: [...plan.any, ...part.entries] };
}
