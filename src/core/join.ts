import { catchError, concatMap, connect, defer, distinctUntilChanged, EMPTY, filter, from, ignoreElements, map, merge, type Observable, observeOn, of, queueScheduler, scan, share, Subject, switchMap, tap } from 'rxjs';
import type { Effect, EffectEvent, GateEvent, TunnelEvent } from './events.js';
import { messageOf } from './errors.js';
import type { Policy } from './policy.js';
import type { ClockPort, GatePort, LinkPort, NamesPort, QueuePort } from './ports.js';
import { startingTunnel, type Tunnel } from './state.js';
import { deadlineOf, transition } from './transition.js';

/** One tunnel and what it is joined from. */
export interface TunnelParts {
  readonly name: string;
  readonly policy: Policy;
  readonly queue: QueuePort;
  readonly link: LinkPort;
  readonly gate: GatePort;
  /** Absent: only prefixes are protected. */
  readonly names?: NamesPort;
  readonly clock: ClockPort;
  /** Commands, and what happens to the machine. */
  readonly commands$: Observable<TunnelEvent>;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** One event that happened, and what came of it. */
export interface Step {
  readonly tunnel: string;
  readonly now: number;
  readonly event: TunnelEvent;
  readonly before: Tunnel;
  readonly after: Tunnel;
  readonly effects: readonly Effect[];
}

/**
 * Joins queue events, management events, commands and time into the one stream of a tunnel: every event passes the
 * transition function, every effect is carried out in its order and comes back as an event. Hot once subscribed;
 * unsubscribing ends it. It never errors: what fails becomes an event.
 */
export function joinTunnel(parts: TunnelParts): Observable<Step> {
  return defer(() => {
    const feedback$ = new Subject<TunnelEvent>();
    const first = startingTunnel(parts.clock.now());
    const start: Step = { tunnel: parts.name, now: first.state.since, event: { type: 'clock' }, before: first, after: first, effects: [] };
    const events$ = merge(parts.queue.events$, parts.link.events$, parts.names?.events$ ?? EMPTY, parts.gate.events$.pipe(map((event) => ofTunnel(event, parts.name))), parts.commands$, feedback$);
    return events$.pipe(
      // Before scan: an event that an effect causes at once waits until everybody has seen this one.
      observeOn(queueScheduler),
      scan((last, event) => step(parts, last.after, event), start),
      connect((steps$) => {
        const effects$ = steps$.pipe(filter(({ effects }) => effects.length > 0), concatMap(({ effects }) => carryOut(effects, parts)));
        const clock$ = steps$.pipe(
          map(({ after }) => deadlineOf(after.state, parts.policy)),
          distinctUntilChanged(),
          switchMap((at) => (at === undefined ? EMPTY : parts.clock.at(at).pipe(map((): TunnelEvent => ({ type: 'clock' }))))),
        );
        const back$ = merge(effects$, clock$).pipe(tap((event) => { feedback$.next(event); }), ignoreElements());
        return merge(steps$, back$);
      }),
    );
  }).pipe(share());
}

/** What the gate tells, as far as it is about one tunnel. */
function ofTunnel(event: GateEvent, name: string): TunnelEvent {
  return event.type === 'gate-repaired' ? { ...event, escaped: event.escaped.get(name) ?? 0 } : event;
}

function step(parts: TunnelParts, before: Tunnel, event: TunnelEvent): Step {
  const now = parts.clock.now();
  const { tunnel: after, effects } = transition(before, event, { now, policy: parts.policy, random: parts.random() });
  return { tunnel: parts.name, now, event, before, after, effects };
}

function carryOut(effects: readonly Effect[], parts: TunnelParts): Observable<EffectEvent> {
  let current: Effect['do'] = 'report';
  return from(effects).pipe(
    concatMap((effect) => {
      current = effect.do;
      return perform(effect, parts);
    }),
    catchError((error: unknown) => of<EffectEvent>({ type: 'effect-failed', effect: current, detail: messageOf(error) })),
  );
}

function perform(effect: Effect, { name, queue, link, gate, names }: TunnelParts): Observable<EffectEvent> {
  switch (effect.do) {
    case 'dial':
      return at(() => { link.dial(); });
    case 'redial':
      return at(() => { link.redial(); });
    case 'stop-link':
      return at(() => { link.stop(); });
    case 'hold':
      return at(() => { queue.hold(); });
    case 'release':
      return at(() => { queue.release(); });
    case 'answer':
      return at(() => { queue.answer(); });
    case 'drop':
      return at(() => { queue.drop(effect.packets); });
    case 'release-local':
      return from(queue.releaseLocal()).pipe(ignoreElements());
    case 'gate':
      return from(gate.set(name, effect.gate, (change) => { queue.carryOut(change); })).pipe(ignoreElements());
    case 'expect-gate':
      return at(() => { gate.expect(name, effect.gate); });
    case 'catch-first':
      return from(gate.catchFirst(name, effect.on)).pipe(ignoreElements());
    case 'keep-addresses':
      return from(gate.keepAddresses(name, effect.addresses)).pipe(ignoreElements());
    case 'route':
      return from(gate.route(name)).pipe(ignoreElements());
    case 'look-up':
      return at(() => { names?.lookUp(effect.keep); });
    case 'read-counters':
      return from(gate.counters()).pipe(map((all): EffectEvent => ({ type: 'traffic', packets: (all.get(name)?.in ?? 0) + (all.get(name)?.out ?? 0) })));
    case 'recount':
      return at(() => { queue.stats(); });
    case 'report':
      return of({ type: 'done', what: effect.what, held: queue.stats().packets });
  }
}

/** Done within the call: nothing waits for it. */
function at(action: () => void): Observable<never> {
  action();
  return EMPTY;
}
