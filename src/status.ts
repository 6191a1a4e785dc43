import type { TunnelSettings } from './config/load.js';
import type { LastWake, TunnelStatus } from './control/api.js';
import type { QueueStats } from './core/ports.js';
import { gateOf, type Tunnel } from './core/state.js';

/** What a tunnel is doing, for people and programs. */
export function tunnelStatus({ name, device, protect }: TunnelSettings, { state, wakes, dialFailures, lastWake, lastFailure }: Tunnel, queue: QueueStats): TunnelStatus {
  const { packets, oldestMs, held, released, dropped, rejected } = queue;
  return {
    name,
    state: state.at,
    gate: gateOf(state),
    since: iso(state.since),
    device,
    protect,
    held: { packets, oldestMs },
    counters: { wakes, held, released, dropped, rejected, dialFailures },
    ...(lastWake ? { lastWake: { ...rounded(lastWake), at: iso(lastWake.at) } } : {}),
    ...(lastFailure ? { lastFailure: { ...lastFailure, at: iso(lastFailure.at) } } : {}),
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

/** Milliseconds with one decimal. */
function rounded<T extends Pick<LastWake, 'dialMs' | 'releaseMs'>>(wake: T): T {
  const { dialMs, releaseMs } = wake;
  return { ...wake, ...(dialMs === undefined ? {} : { dialMs: Math.round(dialMs * 10) / 10 }), ...(releaseMs === undefined ? {} : { releaseMs: Math.round(releaseMs * 10) / 10 }) };
}
