import type { GateEvent } from './core/events.js';
import type { Step } from './core/join.js';
import type { LogPort } from './core/ports.js';
import type { WakePacket } from './core/words.js';

/** Logs what a person wants to know of a step: changes of state, and effects that failed. */
export function logStep({ tunnel, event, before, after }: Step, log: LogPort): void {
  if (event.type === 'effect-failed') log.error({ event: 'effect.failed', tunnel, effect: event.effect }, event.detail);
  if (event.type === 'queue-failed') log.error({ event: 'queue.failed', tunnel }, event.detail);
  const from = before.state.at;
  const to = after.state.at;
  if (from === to) return;
  const [lastWake] = after.history;
  switch (after.state.at) {
    case 'dialing':
      log.info({ event: 'tunnel.dialing', tunnel, from, ...(lastWake?.packet ? { packet: lastWake.packet } : {}) }, `${tunnel}: dialing for ${lastWake?.packet ? packetText(lastWake.packet) : event.type}`);
      break;
    case 'up':
      log.info({ event: 'tunnel.up', tunnel, from, dialMs: lastWake?.dialMs, releaseMs: lastWake?.releaseMs, released: lastWake?.released }, `${tunnel}: up, ${lastWake?.released ?? 0} packets released`);
      break;
    case 'draining':
      log.info({ event: 'tunnel.draining', tunnel, from, cause: event.type }, `${tunnel}: going down`);
      break;
    case 'idle':
      log.info({ event: 'tunnel.idle', tunnel, from, cause: event.type }, `${tunnel}: idle, the trap is set`);
      break;
    case 'paused':
      log.info({ event: 'tunnel.paused', tunnel, from, bypass: after.state.bypass }, `${tunnel}: paused`);
      break;
    case 'backoff':
    case 'locked':
      log.warn({ event: after.state.at === 'locked' ? 'tunnel.locked' : 'tunnel.backoff', tunnel, from, code: after.lastFailure?.code, detail: after.lastFailure?.detail }, `${tunnel}: ${after.lastFailure?.detail ?? ''}; packets are refused`);
      break;
  }
}

/** Logs what somebody else did to the firewall, and that it was mended. */
export function logGate(event: GateEvent, log: LogPort): void {
  switch (event.type) {
    case 'gate-broken':
      log.warn({ event: 'gate.broken' }, 'somebody took rules or sets of ours away (a firewall reloaded or flushed?): bringing them back');
      break;
    case 'gate-unrepaired':
      log.error({ event: 'gate.repair_failed' }, `what somebody took away of the firewall could not be brought back: ${event.detail}`);
      break;
    case 'gate-repaired': {
      const { afterMs, unheard, escaped } = event;
      const most = Math.max(0, ...escaped.values());
      log.warn({ event: 'gate.repaired', afterMs: Math.round(afterMs), unheard, ...(escaped.size === 0 ? {} : { escaped: Object.fromEntries(escaped) }) }, `all of the firewall stands again, after ${Math.round(afterMs)} ms${unheard ? ' at most' : ''}; ${most === 0 ? 'nothing went in clear' : `at most ${most} packets went in clear`}`);
      break;
    }
  }
}

/** `10.77.1.2 → 10.99.0.1 tcp/8080`. */
export function packetText({ source, destination, protocol, destinationPort }: WakePacket): string {
  return `${source} → ${destination} ${protocol}${destinationPort === undefined ? '' : `/${destinationPort}`}`;
}
