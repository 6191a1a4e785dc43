import type { TunnelSettings } from './config/load.js';
import type { LastWake, TunnelStatus, Why } from './control/api.js';
import type { QueueStats } from './core/ports.js';
import { gateOf, type Tunnel, type Wake } from './core/state.js';

/** What a tunnel is doing, for people and programs. */
export function tunnelStatus({ name, device, protect, names, domains }: TunnelSettings, tunnel: Tunnel, queue: QueueStats, named: ReadonlyMap<string, readonly string[]>): TunnelStatus {
  const { state, wakes, dialFailures, history: [lastWake] } = tunnel;
  const { packets, oldestMs, held, released, dropped, rejected } = queue;
  return {
    name,
    state: state.at,
    gate: gateOf(state),
    since: iso(state.since),
    device,
    protect: [...protect, ...names, ...domains],
    ...(named.size > 0 ? { names: Object.fromEntries(named) } : {}),
    held: { packets, oldestMs },
    counters: { wakes, held, released, dropped, rejected, dialFailures },
    ...(lastWake ? { lastWake: told(lastWake) } : {}),
    ...failureOf(tunnel),
    ...(tunnel.gateBroken ? { gateBroken: { ...tunnel.gateBroken, at: iso(tunnel.gateBroken.at) } } : {}),
    ...(tunnel.lastRepair ? { lastRepair: { ...tunnel.lastRepair, at: iso(tunnel.lastRepair.at), afterMs: Math.round(tunnel.lastRepair.afterMs) } } : {}),
  };
}

/** Why a tunnel is where it is, and what comes next. */
export function tunnelWhy({ name, idle, minUp }: TunnelSettings, tunnel: Tunnel): Omit<Why, 'version'> {
  const { state, history } = tunnel;
  return {
    name,
    state: state.at,
    since: iso(state.since),
    wakes: history.map(told),
    ...(state.at === 'up' ? { keptUp: { lastTraffic: iso(state.idle.lastTrafficAt), ...endOf(state.idle.lastTrafficAt, state.since, idle, minUp) } } : {}),
    ...((state.at === 'backoff' || state.at === 'paused') && state.until !== undefined ? { until: iso(state.until) } : {}),
    ...failureOf(tunnel),
  };
}

/** `until`, where we watch ourselves. */
function endOf(lastTrafficAt: number, since: number, idle: TunnelSettings['idle'], minUp: number): { until?: string } {
  const afterMs = typeof idle === 'number' ? idle : typeof idle === 'object' && idle.by === 'daemon' ? idle.after : undefined;
  return afterMs === undefined ? {} : { until: iso(Math.max(lastTrafficAt + afterMs, since + minUp)) };
}

function failureOf({ lastFailure }: Tunnel): Pick<TunnelStatus, 'lastFailure'> {
  return lastFailure ? { lastFailure: { ...lastFailure, at: iso(lastFailure.at) } } : {};
}

function told({ at, dialMs, releaseMs, steps, ...rest }: Wake): LastWake {
  return {
    at: iso(at),
    ...rest,
    ...(dialMs === undefined ? {} : { dialMs: rounded(dialMs) }),
    ...(releaseMs === undefined ? {} : { releaseMs: rounded(releaseMs) }),
    ...(steps === undefined ? {} : { steps: steps.map(({ name, ms }) => ({ name, ms: rounded(ms) })) }),
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

/** Milliseconds with one decimal. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
