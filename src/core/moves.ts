import type { CommandEvent, Effect, GateRepaired, TunnelEvent } from './events.js';
import { backoffMs, budgetFreeAt, idleCheckMs, withinHour, type Policy } from './policy.js';
import type { Dialing, Draining, Idle, State, Tunnel, Up, Wake } from './state.js';
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

/** After the opening the last packets of the queue still get their verdicts: nothing else is started meanwhile. */
const SETTLE_MS = 100;
/** Wakes that `why` can tell of. */
const HISTORY = 10;

const DEVICE_GONE = 'device gone';

type DeviceNews = TunnelEvent & { type: 'device' };

export const HOLD: readonly Effect[] = [{ do: 'hold' }, { do: 'gate', gate: 'hold' }];
/** What is held from here on outlives the tunnel device. */
const HOLD_ON_LIVING_LINK: readonly Effect[] = [...HOLD, { do: 'catch-first', on: true }];

const RELEASE: readonly Effect[] = [{ do: 'route' }, { do: 'catch-first', on: false }, { do: 'release' }];
/** So that the opening takes no longer than a write: while a process starts, packets would wait and be overtaken. */
const EXPECT_OPEN: Effect = { do: 'expect-gate', gate: 'open' };
const CLOSE: readonly Effect[] = [...HOLD_ON_LIVING_LINK, { do: 'release-local' }];
const OPEN: readonly Effect[] = [{ do: 'gate', gate: 'open' }, { do: 'report', what: 'opened' }];
/** First the kernel refuses what comes, then what is held is answered: nothing can slip in between and stay. */
const REJECT: readonly Effect[] = [{ do: 'gate', gate: 'reject' }, { do: 'answer' }];

/** The gate could not be set, and what stood behind it in the list was dropped. */
export const ANSWER_WITHOUT_GATE: readonly Effect[] = [{ do: 'answer' }, { do: 'stop-link' }, { do: 'catch-first', on: false }];

export function stay(tunnel: Tunnel): Transition {
  return { tunnel, effects: [] };
}

/** Effects that come before those of a move. */
export function after(effects: readonly Effect[], move: Transition): Transition {
  return { tunnel: move.tunnel, effects: [...effects, ...move.effects] };
}

export function idle(context: Context, failures: number): Idle {
  return { at: 'idle', since: context.now, failures };
}

export function connectionOf({ device, addresses }: Connection): Connection {
  return { device, addresses };
}

export function nextCheck({ now, policy }: Context): number {
  return Number.isFinite(policy.idleMs) ? now + idleCheckMs(policy) : Infinity;
}

// ——— up ———

/** A packet wants the tunnel: it dials, if the budget allows. */
export function wake(tunnel: Tunnel, state: Idle, wake: Wake, context: Context): Transition {
  const { now, policy } = context;
  const until = budgetFreeAt(policy, tunnel.wakeTimes, now);
  if (until !== undefined) {
    const failure: LinkFailure = { code: 'budget', detail: `more than ${policy.wakesPerHour} wakes in an hour` };
    return { tunnel: { ...tunnel, state: { at: 'backoff', since: now, until, failures: state.failures, failure }, lastFailure: { ...failure, at: now } }, effects: REJECT };
  }
  return dial({ ...tunnel, wakeTimes: [...withinHour(tunnel.wakeTimes, now), now].slice(-1000) }, state.failures, wake, context);
}

export function dial(tunnel: Tunnel, failures: number, wake: Wake, context: Context): Transition {
  return { tunnel: woken({ ...tunnel, state: { at: 'dialing', since: context.now, failures, phase: 'connecting' } }, wake), effects: [{ do: 'dial' }, EXPECT_OPEN] };
}

/** The link came up by itself. */
export function adopt(tunnel: Tunnel, connection: Connection, context: Context): Transition {
  return connected(woken(tunnel, { at: context.now }), { at: 'dialing', since: context.now, failures: 0, phase: 'connecting' }, connection, context);
}

export function connected(tunnel: Tunnel, state: Dialing, connection: Connection, context: Context): Transition {
  const next = withLastWake(tunnel, (wake) => (wake.dialMs === undefined ? { ...wake, dialMs: context.now - wake.at } : wake));
  return { tunnel: { ...next, state: { ...state, phase: 'releasing', connection: connectionOf(connection) } }, effects: RELEASE };
}

export function released(tunnel: Tunnel, state: Dialing, packets: number, context: Context): Transition {
  const next = withLastWake(tunnel, (wake) => (wake.released === undefined ? { ...wake, released: packets, releaseMs: context.now - wake.at - (wake.dialMs ?? 0) } : wake));
  return { tunnel: { ...next, state: { ...state, phase: 'opening' } }, effects: OPEN };
}

export function opened(tunnel: Tunnel, connection: Connection, context: Context): Transition {
  const state: Up = { at: 'up', since: context.now, connection, settled: false, idle: { lastTrafficAt: context.now, nextCheckAt: context.now + SETTLE_MS } };
  return stay({ ...tunnel, state });
}

/** The time has come to look at the counters or ask for the names, and, soon after the opening, to do what would have been in its way. */
export function check(tunnel: Tunnel, state: Up, { now, policy }: Context): Transition {
  const { lookUpAt = Infinity, ...rest } = state;
  const looks = policy.hasNames === true && (!state.settled || now >= lookUpAt);
  const lookUp: Effect[] = looks ? [{ do: 'look-up', keep: true }] : [];
  const keep: Effect[] = state.settled ? [] : [{ do: 'recount' }, { do: 'keep-addresses', addresses: state.connection.addresses }, { do: 'expect-gate', gate: 'hold' }];
  const read: Effect[] = Number.isFinite(policy.idleMs) ? [{ do: 'read-counters' }] : [];
  return { tunnel: { ...tunnel, state: { ...(looks ? rest : state), settled: true, idle: { ...state.idle, nextCheckAt: Infinity } } }, effects: [...keep, ...read, ...lookUp] };
}

/** When a state that is up wants to be told the time. */
export function nextOf({ idle: { nextCheckAt }, lookUpAt = Infinity }: Up): number | undefined {
  const next = Math.min(nextCheckAt, lookUpAt);
  return Number.isFinite(next) ? next : undefined;
}

export function withLookUp(state: Up, againAfterMs: number | undefined, { now }: Context): Up {
  return againAfterMs === undefined ? state : { ...state, lookUpAt: now + againAfterMs };
}

/** Another network may have other answers, or at last some; while the tunnel is wanted, what was held for the old ones stays protected. */
export function lookingUp({ state: { at } }: Tunnel, moved: Transition, { policy }: Context): Transition {
  if (policy.hasNames !== true) return moved;
  return { tunnel: moved.tunnel, effects: [...moved.effects, { do: 'look-up', keep: at === 'dialing' || at === 'up' || at === 'draining' }] };
}

/** The link starts over by itself: packets are held until it is up again. */
export function reconnecting(tunnel: Tunnel, setback: string, context: Context): Transition {
  const state: Dialing = { at: 'dialing', since: context.now, failures: 0, phase: 'connecting', setback, ...(tunnel.state.at === 'up' ? { wasUp: true } : {}) };
  return { tunnel: { ...tunnel, state }, effects: [...HOLD_ON_LIVING_LINK, ...keepSoon(tunnel), EXPECT_OPEN] };
}

/** The link is made to start over. */
export function redial(tunnel: Tunnel, reason: string, context: Context): Transition {
  const move = reconnecting(tunnel, reason, context);
  return { tunnel: move.tunnel, effects: [...move.effects, { do: 'redial' }] };
}

/** Packets are held at once. The link may be about to end, or to start over: only if it does neither it is made to. */
export function deviceNews(tunnel: Tunnel, { is }: DeviceNews, context: Context): Transition {
  if (is === 'back') return stay(tunnel);
  return is === 'gone' ? reconnecting(tunnel, DEVICE_GONE, context) : redial(tunnel, DEVICE_GONE, context);
}

/** Its device went, and it has said nothing of it. */
export function silentLink(tunnel: Tunnel, state: Dialing, { is }: DeviceNews): Transition {
  if (state.setback !== DEVICE_GONE || is === 'gone') return stay(tunnel);
  // Once: what starts over may take the device away that has come back.
  return { tunnel: { ...tunnel, state: { ...state, setback: `device ${is}` } }, effects: [{ do: 'redial' }] };
}

// ——— not up ———

export function fail(tunnel: Tunnel, failures: number, failure: LinkFailure, effects: readonly Effect[], context: Context): Transition {
  const failed: Tunnel = { ...tunnel, dialFailures: tunnel.dialFailures + 1 };
  return refuse(failed, failures, failure, [...REJECT, ...effects, { do: 'catch-first', on: false }], context);
}

export function refuse(tunnel: Tunnel, failures: number, failure: LinkFailure, effects: readonly Effect[], { now, policy, random }: Context): Transition {
  const state: State =
    failure.code === 'auth'
      ? { at: 'locked', since: now, failure }
      : { at: 'backoff', since: now, until: now + backoffMs(policy, failures + 1, random), failures: failures + 1, failure };
  return { tunnel: { ...tunnel, state, lastFailure: { ...failure, at: now } }, effects };
}

/** `down` during a dial: what is held is answered, the link is told to stop. */
export function abandon(tunnel: Tunnel, context: Context): Transition {
  const state: Draining = { at: 'draining', since: context.now, phase: 'stopping', cause: 'command' };
  return { tunnel: { ...tunnel, state }, effects: [{ do: 'answer' }, ...HOLD, { do: 'stop-link' }] };
}

export function pause(tunnel: Tunnel, { forMs, bypass }: CommandEvent & { command: 'pause' }, { now }: Context): Transition {
  const state: State = { at: 'paused', since: now, bypass, ...(forMs === undefined ? {} : { until: now + forMs }) };
  const effects: Effect[] = [{ do: 'gate', gate: bypass ? 'bypass' : 'reject' }, { do: 'answer' }, { do: 'catch-first', on: false }, { do: 'stop-link' }];
  return { tunnel: { ...tunnel, state }, effects };
}

// ——— going down ———

/** Looks at a reading of the counters. The first has nothing to be compared with, and counts as traffic: what woke the tunnel. */
export function watch(tunnel: Tunnel, state: Up, packets: number, context: Context): Transition {
  const { now, policy } = context;
  if (!Number.isFinite(policy.idleMs)) return stay(tunnel);
  const quiet = state.idle.packets === packets;
  const lastTrafficAt = quiet ? state.idle.lastTrafficAt : now;
  const endsAt = Math.max(lastTrafficAt + policy.idleMs, state.since + policy.minUpMs);
  if (quiet && now >= endsAt) return close(tunnel, state, 'idle', context);
  const nextCheckAt = Math.min(nextCheck(context), Math.max(now + 1, endsAt));
  return stay({ ...tunnel, state: { ...state, idle: { lastTrafficAt, nextCheckAt, packets } } });
}

export function close(tunnel: Tunnel, { connection }: Up, cause: 'idle' | 'command', context: Context): Transition {
  const state: Draining = { at: 'draining', since: context.now, phase: 'closing', connection, cause };
  return { tunnel: { ...tunnel, state }, effects: [...CLOSE, ...keepSoon(tunnel), { do: 'report', what: 'closed' }] };
}

/** Sockets of this host may have an address of the tunnel already, also where it was up for a moment only. */
function keepSoon({ state }: Tunnel): readonly Effect[] {
  return state.at === 'up' && !state.settled ? [{ do: 'keep-addresses', addresses: state.connection.addresses }] : [];
}

export function closed(tunnel: Tunnel, state: Draining, held: number, context: Context): Transition {
  const { redial: wake, ...rest } = state;
  const lingering: Draining = { ...rest, phase: 'lingering', until: context.now + context.policy.lingerMs };
  // What was held while the gate closed may have gone into the living tunnel; an `up` is still to be obeyed.
  const satisfied = held === 0 && (wake === undefined || wake.packet !== undefined);
  return satisfied ? stay({ ...tunnel, state: lingering }) : wanted(tunnel, lingering, wake ?? { at: context.now }, context);
}

/** Somebody wants the tunnel that is going down. */
export function wanted(tunnel: Tunnel, state: Draining, wake: Wake, context: Context): Transition {
  // Nobody asked for the end, and OpenVPN was not told yet: the link is as good as it was.
  if (state.cause === 'idle' && state.phase === 'lingering' && state.connection) {
    return connected(woken(tunnel, wake), { at: 'dialing', since: context.now, failures: 0, phase: 'connecting' }, state.connection, context);
  }
  return stay({ ...tunnel, state: { ...state, redial: state.redial ?? wake } });
}

export function stopLink(tunnel: Tunnel, state: Draining, context: Context): Transition {
  return { tunnel: { ...tunnel, state: { ...state, phase: 'stopping', since: context.now } }, effects: [{ do: 'stop-link' }] };
}

/** The link that was up has ended by itself, instead of starting over; what was held since then wants the next one. */
export function ended(tunnel: Tunnel, state: Dialing, context: Context): Transition {
  return gone(tunnel, state, context, [{ do: 'remind' }]);
}

/** The link has ended, as it should. The gate is closed again in case that closing it failed. */
export function gone(tunnel: Tunnel, { redial: wake }: Draining | Dialing, context: Context, then: readonly Effect[] = []): Transition {
  const trap: readonly Effect[] = [...HOLD, ...then, { do: 'catch-first', on: false }];
  return after(trap, wake ? dial(tunnel, 0, wake, context) : stay({ ...tunnel, state: idle(context, 0) }));
}

// ——— what is remembered ———

function woken(tunnel: Tunnel, wake: Wake): Tunnel {
  return { ...tunnel, wakes: tunnel.wakes + 1, history: [wake, ...tunnel.history].slice(0, HISTORY) };
}

function withLastWake(tunnel: Tunnel, change: (wake: Wake) => Wake): Tunnel {
  const [last, ...older] = tunnel.history;
  return last === undefined ? tunnel : { ...tunnel, history: [change(last), ...older] };
}

/** A command dialed, and then came the first packet. */
export function withWakePacket(tunnel: Tunnel, packet: NonNullable<Wake['packet']>): Tunnel {
  return withLastWake(tunnel, (wake) => (wake.packet === undefined && wake.released === undefined ? { ...wake, packet } : wake));
}

export function withProgress(tunnel: Tunnel, name: string, { now }: Context): Tunnel {
  return withLastWake(tunnel, (wake) => (wake.dialMs === undefined ? { ...wake, steps: [...(wake.steps ?? []), { name, ms: now - wake.at }].slice(-20) } : wake));
}

/** Found a little later than the packet. */
export function withWaker(tunnel: Tunnel, process: string): Tunnel {
  return withLastWake(tunnel, (wake) => (wake.packet === undefined ? wake : { ...wake, packet: { ...wake.packet, process } }));
}

export function withBrokenGate(tunnel: Tunnel, event: TunnelEvent & { type: 'gate-broken' | 'gate-unrepaired' }, { now }: Context): Tunnel {
  return { ...tunnel, gateBroken: { at: tunnel.gateBroken?.at ?? now, ...('detail' in event ? { detail: event.detail } : {}) } };
}

export function withRepair(tunnel: Tunnel, { afterMs, escaped }: GateRepaired<number>, { now }: Context): Tunnel {
  const repaired: Tunnel & { gateBroken?: unknown } = { ...tunnel, lastRepair: { at: now, afterMs, escaped } };
  delete repaired.gateBroken;
  return repaired;
}
