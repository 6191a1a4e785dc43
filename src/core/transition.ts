import type { CommandEvent, TunnelEvent } from './events.js';
import * as move from './moves.js';
import { HOLD, stay, withBrokenGate, withProgress, withRepair, withWakePacket, withWaker, type Context, type Transition } from './moves.js';
import type { Policy } from './policy.js';
import type { Backoff, Dialing, Draining, Idle, Locked, State, Tunnel, Up } from './state.js';

export type { Context, Transition };

/** The one place that decides. Pure: the same state, event and context always give the same answer. */
export function transition(tunnel: Tunnel, event: TunnelEvent, context: Context): Transition {
  if (event.type === 'command' && event.command === 'pause') return move.pause(tunnel, event, context);
  if (event.type === 'waker-found') return stay(withWaker(tunnel, event.process));
  if (event.type === 'gate-broken' || event.type === 'gate-unrepaired') return stay(withBrokenGate(tunnel, event, context));
  if (event.type === 'gate-repaired') return { tunnel: withRepair(tunnel, event, context), effects: [{ do: 'recount' }] };
  const moved = fromState(tunnel, event, context);
  return event.type === 'network' ? move.lookingUp(tunnel, moved, context) : moved;
}

function fromState(tunnel: Tunnel, event: TunnelEvent, context: Context): Transition {
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
    case 'paused':
      return fromPaused(tunnel, event, context);
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
      return move.nextOf(state);
    case 'draining':
      if (state.phase === 'lingering') return state.until;
      // What is held waits for the old link's end no longer than for a dial.
      return state.phase === 'stopping' && state.redial ? state.redial.at + policy.holdTimeoutMs : undefined;
    case 'backoff':
    case 'paused':
      return state.until;
  }
}

const asks = (event: TunnelEvent & CommandEvent, command: CommandEvent['command']): boolean => event.command === command;

function fromIdle(tunnel: Tunnel, state: Idle, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'packets-held': // strays alone want no tunnel; in every other state they are held like all else
      if (event.strays) return { tunnel, effects: [{ do: 'drop', packets: event.strays }] };
      return move.wake(tunnel, state, { at: context.now, packet: event.first }, context);
    case 'command':
      return asks(event, 'up') ? move.dial(tunnel, state.failures, { at: context.now }, context) : stay(tunnel);
    case 'link-up': // by itself: OpenVPN runs elsewhere, and somebody else released its hold
      return move.adopt(tunnel, event, context);
    case 'effect-failed': // the trap is not set: try again later, or it would never fire
      return event.effect === 'gate' ? move.refuse(tunnel, state.failures, { code: 'firewall', detail: event.detail }, [{ do: 'answer' }], context) : stay(tunnel);
    case 'network':
      return stay({ ...tunnel, state: { ...state, failures: 0 } });
    default:
      return stay(tunnel);
  }
}

function fromDialing(tunnel: Tunnel, state: Dialing, event: TunnelEvent, context: Context): Transition {
  const { failures, phase, setback } = state;
  switch (event.type) {
    case 'packets-held':
      return stay(withWakePacket(tunnel, event.first));
    case 'link-progress':
      return stay(withProgress(tunnel, event.step, context));
    case 'link-up':
      return phase === 'connecting' ? move.connected(tunnel, state, event, context) : stay(tunnel);
    case 'released':
      return phase === 'releasing' ? move.released(tunnel, state, event.packets, context) : stay(tunnel);
    case 'done':
      return event.what === 'opened' && phase === 'opening' && state.connection ? move.opened(tunnel, state.connection, context) : stay(tunnel);
    case 'link-reconnecting':
      return phase === 'connecting' ? stay({ ...tunnel, state: { ...state, setback: event.reason } }) : move.reconnecting(tunnel, event.reason, context);
    case 'link-down':
      if (state.wasUp && event.failure === undefined) return move.ended(tunnel, state, context);
      return move.fail(tunnel, failures, event.failure ?? { code: 'exit', detail: event.reason }, [], context);
    case 'effect-failed':
      return move.fail(tunnel, failures, { code: 'firewall', detail: event.detail }, [{ do: 'stop-link' }], context);
    case 'queue-failed': // the release ended before its time
      return phase === 'releasing' ? move.fail(tunnel, failures, { code: 'firewall', detail: event.detail }, [{ do: 'stop-link' }], context) : stay(tunnel);
    case 'clock':
      return move.fail(tunnel, failures, { code: 'timeout', detail: `not connected after ${context.policy.holdTimeoutMs} ms${setback === undefined ? '' : ` (${setback})`}` }, [{ do: 'stop-link' }], context);
    case 'command':
      if (asks(event, 'up') && state.wasUp) return stay({ ...tunnel, state: { ...state, redial: { at: context.now } } });
      return asks(event, 'down') ? move.abandon(tunnel, context) : stay(tunnel);
    case 'network':
      return phase === 'connecting' ? { tunnel, effects: [{ do: 'redial' }] } : move.redial(tunnel, `network ${event.what}`, context);
    case 'device': // that of the link before, if this one is still connecting
      return phase === 'connecting' ? move.silentLink(tunnel, state, event) : move.deviceNews(tunnel, event, context);
    default:
      return stay(tunnel);
  }
}

function fromUp(tunnel: Tunnel, state: Up, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'clock':
      return move.check(tunnel, state, context);
    case 'names-found':
      return stay({ ...tunnel, state: move.withLookUp(state, event.againAfterMs, context) });
    case 'traffic':
      return move.watch(tunnel, state, event.packets, context);
    case 'effect-failed': // the counters could not be read: look again
      return stay({ ...tunnel, state: { ...state, idle: { ...state.idle, nextCheckAt: move.nextCheck(context) } } });
    case 'command':
      return asks(event, 'down') ? move.close(tunnel, state, 'command', context) : stay(tunnel);
    case 'link-reconnecting':
      return move.reconnecting(tunnel, event.reason, context);
    case 'link-down': // refused credentials are not tried again by the next packet
      return event.failure?.code === 'auth' ? move.fail(tunnel, 0, event.failure, [], context) : { tunnel: { ...tunnel, state: move.idle(context, 0) }, effects: HOLD };
    case 'link-up': // with other addresses, perhaps
      return { tunnel: { ...tunnel, state: { ...state, connection: move.connectionOf(event) } }, effects: [{ do: 'keep-addresses', addresses: event.addresses }] };
    case 'network':
      return move.redial(tunnel, `network ${event.what}`, context);
    case 'device':
      return move.deviceNews(tunnel, event, context);
    default:
      return stay(tunnel);
  }
}

function fromDraining(tunnel: Tunnel, state: Draining, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'packets-held':
      return move.wanted(tunnel, state, { at: context.now, packet: event.first }, context);
    case 'done':
      return event.what === 'closed' && state.phase === 'closing' ? move.closed(tunnel, state, event.held, context) : stay(tunnel);
    case 'effect-failed': // the guard stands whatever the gate does: go on going down
      return move.stopLink(tunnel, state, context);
    case 'clock':
      return state.phase === 'stopping' && state.redial ? move.fail(tunnel, 0, { code: 'timeout', detail: 'the old link does not end' }, [], context) : move.stopLink(tunnel, state, context);
    case 'device': // nothing can use it any more
    case 'link-reconnecting': // the link restarts by itself while it should end
      return state.phase === 'stopping' ? stay(tunnel) : move.stopLink(tunnel, state, context);
    case 'link-down':
      return move.gone(tunnel, state, context);
    case 'command':
      return asks(event, 'up') ? move.wanted(tunnel, state, { at: context.now }, context) : stay(tunnel);
    default:
      return stay(tunnel);
  }
}

function fromRefusing(tunnel: Tunnel, state: Backoff | Locked, event: TunnelEvent, context: Context): Transition {
  const failures = state.at === 'backoff' ? state.failures : 0;
  switch (event.type) {
    case 'clock': // the trap is set again; the next packet dials
      return state.at === 'backoff' ? { tunnel: { ...tunnel, state: move.idle(context, failures) }, effects: HOLD } : stay(tunnel);
    case 'network': // what failed may work now
      return state.at === 'backoff' && state.failure.code !== 'budget' ? { tunnel: { ...tunnel, state: move.idle(context, 0) }, effects: HOLD } : stay(tunnel);
    case 'command':
      // What refused may have been mended: the trap is set, and the next packet tries.
      if (asks(event, 'resume')) return { tunnel: { ...tunnel, state: move.idle(context, 0) }, effects: HOLD };
      return asks(event, 'up') ? move.after(HOLD, move.dial(tunnel, failures, { at: context.now }, context)) : stay(tunnel);
    case 'link-up':
      return move.after(HOLD, move.adopt(tunnel, event, context));
    case 'effect-failed': // the kernel doesn't refuse for us: the queue answers, packet by packet
      return event.effect === 'gate' ? { tunnel, effects: move.ANSWER_WITHOUT_GATE } : stay(tunnel);
    default:
      return stay(tunnel);
  }
}

function fromPaused(tunnel: Tunnel, event: TunnelEvent, context: Context): Transition {
  switch (event.type) {
    case 'clock':
      return { tunnel: { ...tunnel, state: move.idle(context, 0) }, effects: HOLD };
    case 'command':
      if (asks(event, 'resume')) return { tunnel: { ...tunnel, state: move.idle(context, 0) }, effects: HOLD };
      return asks(event, 'up') ? move.after(HOLD, move.dial(tunnel, 0, { at: context.now }, context)) : stay(tunnel);
    case 'link-up': // somebody else brought it up; the user said no
      return { tunnel, effects: [{ do: 'stop-link' }] };
    case 'effect-failed': // as in backoff
      return event.effect === 'gate' ? { tunnel, effects: move.ANSWER_WITHOUT_GATE } : stay(tunnel);
    default:
      return stay(tunnel);
  }
}
