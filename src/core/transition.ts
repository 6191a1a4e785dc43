import type { Effect, TunnelEvent } from './events.js';
import { backoffMs, idleCheckMs, type Policy } from './policy.js';
import type { State, Tunnel, Wake } from './state.js';
import type { Connection, LinkFailure } from './words.js';

/** What a transition may look at beside the state and the event. */
export interface Context {
  readonly now: number;
  readonly policy: Policy;
  /** From 0 to 1, for the jitter of the back-off. */
  readonly random: number;
}

export interface Transition {
  readonly tunnel: Tunnel;
  readonly effects: readonly Effect[];
}

type In<At extends State['at']> = State & { at: At };

const HOLD: Effect[] = [{ do: 'hold' }, { do: 'gate', gate: 'hold' }];
/** What is held from here on outlives the tunnel device. */
const HOLD_ON_LIVING_LINK: Effect[] = [...HOLD, { do: 'catch-first', on: true }];
const RELEASE: Effect[] = [{ do: 'catch-first', on: false }, { do: 'release' }];
const CLOSE: Effect[] = [...HOLD_ON_LIVING_LINK, { do: 'release-local' }, { do: 'report', what: 'closed' }];
const OPEN: Effect[] = [{ do: 'gate', gate: 'open' }, { do: 'report', what: 'opened' }];
/** First the kernel refuses what comes, then what is held is answered: nothing can slip in between and stay. */
const REJECT: Effect[] = [{ do: 'gate', gate: 'reject' }, { do: 'answer' }];

/** The one place that decides. Pure: the same state, event and context always give the same answer. */
export function transition(tunnel: Tunnel, event: TunnelEvent, context: Context): Transition {
  const { state } = tunnel;
  switch (state.at) {
    case 'idle':
      return fromIdle(tunnel, state, event, context);
    case 'dialing':
      return fromDialing(tunnel, state, event, context);
    case 'up':
      return fromUp(tunnel, state, event, context);
    case 'draining':
      return fromDraining(tunnel, state, event, context);
    case 'backoff':
    case 'locked':
      return fromRefusing(tunnel, state, event, context);
  }
}

/** When the state wants a `clock` event; undefined: no timer runs. */
export function deadlineOf(state: State, policy: Policy): number | undefined {
  switch (state.at) {
    case 'idle':
    case 'locked':
      return undefined;
    case 'dialing':
      return state.phase === 'connecting' ? state.since + policy.holdTimeoutMs : undefined;
    case 'up':
      return Number.isFinite(state.idle.nextCheckAt) ? state.idle.nextCheckAt : undefined;
    case 'draining':
      return state.phase === 'lingering' ? state.until : undefined;
    case 'backoff':
      return state.until;
  }
}

function fromIdle(tunnel: Tunnel, state: In<'idle'>, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'packets-held':
      return dial(tunnel, state.failures, { at: context.now, packet: event.first }, context);
    case 'command':
      return event.command === 'up' ? dial(tunnel, state.failures, { at: context.now }, context) : stay(tunnel);
    case 'link-up': // by itself: OpenVPN runs elsewhere, and somebody else released its hold
      return adopt(tunnel, event, context);
    case 'done': // the link ended while the gate closed; what was held meanwhile still wants it
      return event.held > 0 ? dial(tunnel, state.failures, { at: context.now }, context) : stay(tunnel);
    case 'effect-failed': // the trap is not set: try again later, or it would never fire
      return event.effect === 'gate' ? refuse(tunnel, state.failures, { code: 'firewall', detail: event.detail }, [{ do: 'answer' }], context) : stay(tunnel);
    default:
      return stay(tunnel);
  }
}

function fromDialing(tunnel: Tunnel, state: In<'dialing'>, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'packets-held':
      return stay(withWakePacket(tunnel, event.first));
    case 'link-up':
      return state.phase === 'connecting' ? connected(tunnel, state, event, context) : stay(tunnel);
    case 'released':
      return state.phase === 'releasing' ? released(tunnel, state, event.packets, context) : stay(tunnel);
    case 'done':
      return event.what === 'opened' && state.phase === 'opening' && state.connection ? opened(tunnel, state.connection, context) : stay(tunnel);
    case 'link-reconnecting':
      return state.phase === 'connecting' ? stay(tunnel) : reconnecting(tunnel, context);
    case 'link-down':
      return fail(tunnel, state.failures, event.failure ?? { code: 'exit', detail: event.reason }, [], context);
    case 'effect-failed':
      return fail(tunnel, state.failures, { code: 'firewall', detail: event.detail }, [{ do: 'stop-link' }], context);
    case 'clock':
      return fail(tunnel, state.failures, { code: 'timeout', detail: `not connected after ${context.policy.holdTimeoutMs} ms` }, [{ do: 'stop-link' }], context);
    case 'command':
      return event.command === 'down' ? abandon(tunnel, context) : stay(tunnel);
    default:
      return stay(tunnel);
  }
}

function fromUp(tunnel: Tunnel, state: In<'up'>, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'clock':
      return { tunnel: { ...tunnel, state: { ...state, idle: { ...state.idle, nextCheckAt: Infinity } } }, effects: [{ do: 'read-counters' }] };
    case 'traffic':
      return watch(tunnel, state, event.packets, context);
    case 'effect-failed': // the counters could not be read: look again
      return { tunnel: { ...tunnel, state: { ...state, idle: { ...state.idle, nextCheckAt: nextCheck(context) } } }, effects: [] };
    case 'command':
      return event.command === 'down' ? close(tunnel, state.connection, 'command', context) : stay(tunnel);
    case 'link-reconnecting':
      return reconnecting(tunnel, context);
    case 'link-down': // refused credentials are not tried again by the next packet
      return event.failure?.code === 'auth' ? fail(tunnel, 0, event.failure, [], context) : { tunnel: { ...tunnel, state: idle(context, 0) }, effects: HOLD };
    case 'link-up': // with other addresses, perhaps
      return { tunnel: { ...tunnel, state: { ...state, connection: connectionOf(event) } }, effects: [{ do: 'keep-addresses', addresses: event.addresses }] };
    default:
      return stay(tunnel);
  }
}

function fromDraining(tunnel: Tunnel, state: In<'draining'>, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'packets-held':
      return wanted(tunnel, state, { at: context.now, packet: event.first }, context);
    case 'done':
      return event.what === 'closed' && state.phase === 'closing' ? closed(tunnel, state, event.held, context) : stay(tunnel);
    case 'effect-failed': // the guard stands whatever the gate does: go on going down
    case 'clock':
      return stopLink(tunnel, state, context);
    case 'link-reconnecting': // the link restarts by itself while it should end
      return state.phase === 'stopping' ? stay(tunnel) : stopLink(tunnel, state, context);
    case 'link-down':
      return gone(tunnel, state, context);
    case 'command':
      return event.command === 'up' ? wanted(tunnel, state, { at: context.now }, context) : stay(tunnel);
    default:
      return stay(tunnel);
  }
}

function fromRefusing(tunnel: Tunnel, state: In<'backoff' | 'locked'>, event: TunnelEvent, context: Context): Transition {
  const failures = state.at === 'backoff' ? state.failures : 0;
  switch (event.type) {
    case 'clock': // the trap is set again; the next packet dials
      return state.at === 'backoff' ? { tunnel: { ...tunnel, state: idle(context, failures) }, effects: HOLD } : stay(tunnel);
    case 'command': {
      if (event.command === 'down') return stay(tunnel);
      const next = dial(tunnel, failures, { at: context.now }, context);
      return { tunnel: next.tunnel, effects: [...HOLD, ...next.effects] };
    }
    case 'link-up': {
      const next = adopt(tunnel, event, context);
      return { tunnel: next.tunnel, effects: [...HOLD, ...next.effects] };
    }
    case 'effect-failed': // the kernel doesn't refuse for us: the queue answers, packet by packet
      return event.effect === 'gate' ? { tunnel, effects: [{ do: 'answer' }] } : stay(tunnel);
    default:
      return stay(tunnel);
  }
}

// ——— what the transitions are made of ———

function stay(tunnel: Tunnel): Transition {
  return { tunnel, effects: [] };
}

function idle(context: Context, failures: number): State {
  return { at: 'idle', since: context.now, failures };
}

function connectionOf({ device, addresses }: Connection): Connection {
  return { device, addresses };
}

function nextCheck({ now, policy }: Context): number {
  return Number.isFinite(policy.idleMs) ? now + idleCheckMs(policy) : Infinity;
}

function dial(tunnel: Tunnel, failures: number, wake: Wake, context: Context): Transition {
  const state: State = { at: 'dialing', since: context.now, failures, phase: 'connecting' };
  return { tunnel: woken({ ...tunnel, state }, wake), effects: [{ do: 'dial' }] };
}

function adopt(tunnel: Tunnel, connection: Connection, context: Context): Transition {
  const state: In<'dialing'> = { at: 'dialing', since: context.now, failures: 0, phase: 'connecting' };
  return connected(woken(tunnel, { at: context.now }), state, connection, context);
}

function connected(tunnel: Tunnel, state: In<'dialing'>, connection: Connection, context: Context): Transition {
  const wake: Wake = { ...(tunnel.lastWake ?? { at: state.since }) };
  const lastWake = wake.dialMs === undefined ? { ...wake, dialMs: context.now - wake.at } : wake;
  return { tunnel: { ...tunnel, state: { ...state, phase: 'releasing', connection: connectionOf(connection) }, lastWake }, effects: RELEASE };
}

function released(tunnel: Tunnel, state: In<'dialing'>, packets: number, context: Context): Transition {
  const wake = tunnel.lastWake ?? { at: state.since };
  const lastWake = wake.released === undefined ? { ...wake, released: packets, releaseMs: context.now - wake.at - (wake.dialMs ?? 0) } : wake;
  return { tunnel: { ...tunnel, state: { ...state, phase: 'opening' }, lastWake }, effects: OPEN };
}

function opened(tunnel: Tunnel, connection: Connection, context: Context): Transition {
  const state: State = { at: 'up', since: context.now, connection, idle: { lastTrafficAt: context.now, nextCheckAt: Infinity } };
  return { tunnel: { ...tunnel, state }, effects: [{ do: 'keep-addresses', addresses: connection.addresses }, { do: 'read-counters' }] };
}

function reconnecting(tunnel: Tunnel, context: Context): Transition {
  return { tunnel: { ...tunnel, state: { at: 'dialing', since: context.now, failures: 0, phase: 'connecting' } }, effects: HOLD_ON_LIVING_LINK };
}

function fail(tunnel: Tunnel, failures: number, failure: LinkFailure, effects: readonly Effect[], context: Context): Transition {
  const failed: Tunnel = { ...tunnel, dialFailures: tunnel.dialFailures + 1 };
  return refuse(failed, failures, failure, [...REJECT, ...effects, { do: 'catch-first', on: false }], context);
}

function refuse(tunnel: Tunnel, failures: number, failure: LinkFailure, effects: readonly Effect[], { now, policy, random }: Context): Transition {
  const state: State =
    failure.code === 'auth'
      ? { at: 'locked', since: now, failure }
      : { at: 'backoff', since: now, until: now + backoffMs(policy, failures + 1, random), failures: failures + 1, failure };
  return { tunnel: { ...tunnel, state, lastFailure: { ...failure, at: now } }, effects };
}

/** `down` during a dial: what is held is answered, the link is told to stop. */
function abandon(tunnel: Tunnel, context: Context): Transition {
  const state: State = { at: 'draining', since: context.now, phase: 'stopping', cause: 'command' };
  return { tunnel: { ...tunnel, state }, effects: [{ do: 'answer' }, ...HOLD, { do: 'stop-link' }] };
}

function watch(tunnel: Tunnel, state: In<'up'>, packets: number, context: Context): Transition {
  const { now, policy } = context;
  if (!Number.isFinite(policy.idleMs)) return stay(tunnel);
  const quiet = (state.idle.packets ?? packets) === packets;
  const lastTrafficAt = quiet ? state.idle.lastTrafficAt : now;
  if (quiet && now - lastTrafficAt >= policy.idleMs) return close(tunnel, state.connection, 'idle', context);
  const nextCheckAt = Math.min(nextCheck(context), Math.max(now + 1, quiet ? lastTrafficAt + policy.idleMs : Infinity));
  return { tunnel: { ...tunnel, state: { ...state, idle: { lastTrafficAt, nextCheckAt, packets } } }, effects: [] };
}

function close(tunnel: Tunnel, connection: Connection, cause: 'idle' | 'command', context: Context): Transition {
  return { tunnel: { ...tunnel, state: { at: 'draining', since: context.now, phase: 'closing', connection, cause } }, effects: CLOSE };
}

function closed(tunnel: Tunnel, state: In<'draining'>, held: number, context: Context): Transition {
  const { redial, ...rest } = state;
  const lingering: In<'draining'> = { ...rest, phase: 'lingering', until: context.now + context.policy.lingerMs };
  // What was held while the gate closed may have gone into the living tunnel.
  return held === 0 ? { tunnel: { ...tunnel, state: lingering }, effects: [] } : wanted(tunnel, lingering, redial ?? { at: context.now }, context);
}

/** Somebody wants the tunnel that is going down. */
function wanted(tunnel: Tunnel, state: In<'draining'>, wake: Wake, context: Context): Transition {
  // Nobody asked for the end, and OpenVPN was not told yet: the link is as good as it was.
  if (state.cause === 'idle' && state.phase === 'lingering' && state.connection) {
    const dialing: In<'dialing'> = { at: 'dialing', since: context.now, failures: 0, phase: 'connecting' };
    return connected(woken(tunnel, wake), dialing, state.connection, context);
  }
  return { tunnel: { ...tunnel, state: { ...state, redial: state.redial ?? wake } }, effects: [] };
}

function stopLink(tunnel: Tunnel, state: In<'draining'>, context: Context): Transition {
  return { tunnel: { ...tunnel, state: { ...state, phase: 'stopping', since: context.now } }, effects: [{ do: 'stop-link' }] };
}

function gone(tunnel: Tunnel, state: In<'draining'>, context: Context): Transition {
  const caught: Effect = { do: 'catch-first', on: false };
  const down: Effect[] = state.phase === 'closing' ? [...HOLD, caught] : [caught];
  if (!state.redial) return { tunnel: { ...tunnel, state: idle(context, 0) }, effects: down };
  const next = dial(tunnel, 0, state.redial, context);
  return { tunnel: next.tunnel, effects: [...down, ...next.effects] };
}

function woken(tunnel: Tunnel, wake: Wake): Tunnel {
  return { ...tunnel, wakes: tunnel.wakes + 1, lastWake: wake };
}

function withWakePacket(tunnel: Tunnel, packet: NonNullable<Wake['packet']>): Tunnel {
  const wake = tunnel.lastWake;
  return wake && wake.packet === undefined && wake.released === undefined ? { ...tunnel, lastWake: { ...wake, packet } } : tunnel;
}
