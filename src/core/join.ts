import { EMPTY, map, merge, type MonoTypeOperatorFunction, Observable, scan, Subject, type Subscription, tap } from 'rxjs';
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
 * transition function, every effect is carried out in its order and comes back as an event. A machine of its own for
 * everyone who subscribes; unsubscribing ends it. It never errors: what fails becomes an event.
 */
export function joinTunnel(parts: TunnelParts): Observable<Step> {
  return new Observable((subscriber) => {
    const feedback$ = new Subject<TunnelEvent>();
    const back = (event: TunnelEvent): void => { feedback$.next(event); };
    const effects = new EffectsInTurn(parts, back);
    const deadline = new Deadline(parts, back);
    subscriber.add(() => {
      effects.end();
      deadline.set(undefined);
    });
    const first = startingTunnel(parts.clock.now());
    const start: Step = { tunnel: parts.name, now: first.state.since, event: { type: 'clock' }, before: first, after: first, effects: [] };
    const events$ = merge(parts.queue.events$, parts.link.events$, parts.names?.events$ ?? EMPTY, parts.gate.events$.pipe(map((event) => ofTunnel(event, parts.name))), parts.commands$, feedback$);
    events$.pipe(
      // Before scan: an event that an effect causes at once waits until everybody has seen this one.
      oneAtATime(),
      scan((last, event) => step(parts, last.after, event), start),
      // First what has to be done, then whoever looks on: a hold is not released later for a line in the log.
      tap((step) => {
        effects.add(step.effects);
        deadline.set(deadlineOf(step.after.state, parts.policy));
      }),
    ).subscribe(subscriber);
  });
}

/** Of a source without end: what comes while something is told waits until that was told. As by `observeOn(queueScheduler)`, without an action and a subscription for each. */
function oneAtATime<T>(): MonoTypeOperatorFunction<T> {
  return (source) => new Observable((subscriber) => {
    const waiting: T[] = [];
    let telling = false;
    return source.subscribe({
      next: (value) => {
        waiting.push(value);
        if (telling) return;
        telling = true;
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) subscriber.next(next);
        telling = false;
      },
      error: (error: unknown) => { subscriber.error(error); },
    });
  });
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

/** The one timer of a tunnel. */
class Deadline {
  readonly #parts: TunnelParts;
  readonly #back: (event: TunnelEvent) => void;
  #at: number | undefined;
  #timer: Subscription | undefined;

  constructor(parts: TunnelParts, back: (event: TunnelEvent) => void) {
    this.#parts = parts;
    this.#back = back;
  }

  set(at: number | undefined): void {
    if (at === this.#at) return;
    this.#at = at;
    this.#timer?.unsubscribe();
    this.#timer = at === undefined ? undefined : this.#parts.clock.at(at).subscribe(() => { this.#back({ type: 'clock' }); });
  }
}

/** Carries out the effects of one step after those of the other, each when the one before it is done. */
class EffectsInTurn {
  readonly #parts: TunnelParts;
  readonly #back: (event: TunnelEvent) => void;
  readonly #waiting: (readonly Effect[])[] = [];
  #busy = false;
  #ended = false;

  constructor(parts: TunnelParts, back: (event: TunnelEvent) => void) {
    this.#parts = parts;
    this.#back = back;
  }

  add(effects: readonly Effect[]): void {
    if (effects.length === 0) return;
    this.#waiting.push(effects);
    if (!this.#busy) void this.#run();
  }

  /** What is under way ends; nothing follows, and nothing is told of it. */
  end(): void {
    this.#ended = true;
    this.#waiting.length = 0;
  }

  async #run(): Promise<void> {
    this.#busy = true;
    for (let effects = this.#waiting.shift(); effects !== undefined; effects = this.#waiting.shift()) {
      for (const effect of effects) {
        try {
          const result = perform(effect, this.#parts);
          // Nothing waits for what was done within the call.
          const event = result instanceof Promise ? await result : result;
          if (this.#ended) return;
          if (event) this.#back(event);
        } catch (error) {
          // Those behind it were to come after it.
          this.#back({ type: 'effect-failed', effect: effect.do, detail: messageOf(error) });
          break;
        }
      }
    }
    this.#busy = false;
  }
}

function perform(effect: Effect, { name, queue, link, gate, names }: TunnelParts): Promise<EffectEvent> | Promise<void> | EffectEvent | undefined {
  switch (effect.do) {
    case 'dial':
      link.dial();
      return undefined;
    case 'redial':
      link.redial();
      return undefined;
    case 'stop-link':
      link.stop();
      return undefined;
    case 'hold':
      queue.hold();
      return undefined;
    case 'remind':
      queue.remind();
      return undefined;
    case 'release':
      queue.release();
      return undefined;
    case 'answer':
      queue.answer();
      return undefined;
    case 'drop':
      queue.drop(effect.packets);
      return undefined;
    case 'release-local':
      return queue.releaseLocal();
    case 'gate':
      return gate.set(name, effect.gate, (change) => { queue.carryOut(change); });
    case 'expect-gate':
      gate.expect(name, effect.gate);
      return undefined;
    case 'catch-first':
      return gate.catchFirst(name, effect.on);
    case 'keep-addresses':
      return gate.keepAddresses(name, effect.addresses);
    case 'route':
      return gate.route(name);
    case 'look-up':
      names?.lookUp(effect.keep);
      return undefined;
    case 'read-counters':
      return traffic(name, gate);
    case 'recount':
      queue.stats();
      return undefined;
    case 'report':
      // What the kernel says of a queue is a long text where there are many: read only where somebody wants to know.
      return effect.what === 'opened' ? { type: 'done', what: 'opened' } : { type: 'done', what: 'closed', held: queue.stats().packets };
  }
}

async function traffic(name: string, gate: GatePort): Promise<EffectEvent> {
  const counted = (await gate.counters()).get(name);
  return { type: 'traffic', packets: (counted?.in ?? 0) + (counted?.out ?? 0) };
}
