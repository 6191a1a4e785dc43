import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Effect, TunnelEvent } from '../../../src/core/events.js';
import type { Policy } from '../../../src/core/policy.js';
import { startingTunnel, type Tunnel } from '../../../src/core/state.js';
import { deadlineOf, transition } from '../../../src/core/transition.js';

const policy: Policy = { idleMs: 3000, holdTimeoutMs: 10_000, lingerMs: 200, backoffStartMs: 2000, backoffMaxMs: 60_000, minUpMs: 0, wakesPerHour: 20 };
const packet = { protocol: 'udp', source: '10.77.1.2', destination: '10.99.0.1' };
const link = { device: 'ovpn-a', addresses: {} };

/**
 * What is around the machine, as far as packets are concerned: it carries effects out, or fails to, and brings back
 * what comes of them, in its own time. `step` of the test decides what happens next.
 */
class World {
  tunnel: Tunnel = startingTunnel(0);
  now = 0;
  /** Packets without a verdict, by their numbers. */
  readonly waiting = new Map<number, 'stray' | 'waking'>();
  packets = 0;
  answered = 0;
  /** Strays that found no tunnel. */
  dropped = 0;
  released = 0;
  /** Effects that wait for their turn, list by list. */
  readonly lists: Effect[][] = [];
  readonly events: TunnelEvent[] = [];
  mode: 'hold' | 'release' | 'accept' | 'answer' = 'hold';
  gate: 'hold' | 'open' | 'reject' | 'bypass' = 'hold';
  link: 'down' | 'dialing' | 'up' | 'ending' = 'down';
  /** It was up, was made to start over, and may have been about to end. */
  restarting = false;

  get held(): number {
    return this.waiting.size;
  }

  tell(event: TunnelEvent): void {
    this.now += 1;
    const before = this.tunnel.state.at;
    const { tunnel, effects } = transition(this.tunnel, event, { now: this.now, policy, random: 0.5 });
    this.tunnel = tunnel;
    for (const effect of effects) if (effect.do === 'drop') expect({ before, strays: effect.packets }).toEqual({ before: 'idle', strays: 'strays' in event && event.strays });
    if (effects.length > 0) this.lists.push([...effects]);
  }

  /** A packet to `protect`. What the gate does not take goes on to the guard. */
  packet(): void {
    if (this.gate === 'hold') this.queued({});
    // open: into the tunnel, or dropped by the guard where there is none; reject: answered; bypass: as the user said
  }

  /** A segment that ends a connection, or an ICMP error. */
  stray(): void {
    if (this.gate === 'hold') this.queued({ strays: [this.packets + 1] });
  }

  /** One effect, or `fails`. */
  carryOut(fails: boolean): void {
    const [list] = this.lists;
    const effect = list?.shift();
    if (list?.length === 0) this.lists.shift();
    if (!effect) return;
    if (fails && ['gate', 'catch-first', 'release-local', 'keep-addresses', 'read-counters'].includes(effect.do)) {
      if (list && list.length > 0) this.lists.shift();
      this.events.push({ type: 'effect-failed', effect: effect.do, detail: 'no' });
      return;
    }
    this.perform(effect);
  }

  /** The next event that the world has ready. */
  deliver(): void {
    const event = this.events.shift();
    if (event) this.tell(event);
  }

  /** The link gets on: up, lost, refused. */
  linkMoves(how: 'well' | 'badly' | 'refused'): void {
    const { restarting } = this;
    this.restarting = false;
    if (this.link === 'dialing' && how === 'well') {
      this.link = 'up';
      this.events.push({ type: 'link-up', ...link });
    } else if (this.link === 'dialing' && restarting && how === 'badly') {
      this.link = 'down';
      this.events.push({ type: 'link-down', reason: 'inactive' });
    } else if (this.link === 'dialing') {
      this.link = 'down';
      this.events.push({ type: 'link-down', reason: 'exit', failure: how === 'refused' ? { code: 'auth', detail: 'refused' } : { code: 'exit', detail: 'ended' } });
    } else if (this.link === 'up' && how === 'badly') {
      this.link = 'dialing';
      this.events.push({ type: 'link-reconnecting', reason: 'ping-restart' });
    } else if (this.link === 'up' && how === 'refused') {
      this.link = 'down';
      this.events.push({ type: 'link-down', reason: 'inactive' });
    } else if (this.link === 'ending') {
      this.link = 'down';
      this.events.push({ type: 'link-down', reason: 'SIGTERM' });
    }
  }

  /** The queue gives some verdicts. */
  queueMoves(): void {
    if (this.mode !== 'release') return;
    this.released += this.held;
    this.waiting.clear();
    this.mode = 'accept';
    this.events.push({ type: 'released', packets: 1 });
  }

  clock(): void {
    const at = deadlineOf(this.tunnel.state, policy);
    if (at === undefined) return;
    this.now = Math.max(this.now, at);
    this.tell({ type: 'clock' });
  }

  private queued(strays: { readonly strays?: readonly number[] }): void {
    this.packets += 1;
    if (this.mode === 'accept') this.released += 1;
    else if (this.mode === 'answer') this.answered += 1;
    else {
      this.waiting.set(this.packets, strays.strays ? 'stray' : 'waking');
      this.events.push({ type: 'packets-held', count: 1, first: packet, ...strays });
    }
  }

  private perform(effect: Effect): void {
    switch (effect.do) {
      case 'dial':
        if (this.link === 'down' || this.link === 'ending') this.link = 'dialing';
        break;
      case 'redial':
        if (this.link === 'up') {
          this.link = 'dialing';
          this.restarting = true;
          this.events.push({ type: 'link-reconnecting', reason: 'SIGUSR1' });
        }
        break;
      case 'stop-link':
        if (this.link === 'down') this.events.push({ type: 'link-down', reason: 'stopped' });
        else this.link = 'ending';
        break;
      case 'hold':
        this.mode = 'hold';
        break;
      case 'remind': {
        const strays = [...this.waiting.values()].includes('waking') ? {} : { strays: [...this.waiting.keys()] };
        if (this.held > 0) this.events.push({ type: 'packets-held', count: this.held, first: packet, ...strays });
        break;
      }
      case 'release':
        this.mode = 'release';
        break;
      case 'release-local':
        break;
      case 'answer':
        this.answered += this.held;
        this.waiting.clear();
        this.mode = 'answer';
        break;
      case 'drop':
        for (const id of effect.packets) if (this.waiting.delete(id)) this.dropped += 1;
        break;
      case 'gate':
        this.gate = effect.gate;
        break;
      case 'report':
        this.events.push({ type: 'done', what: effect.what, held: this.held });
        break;
      case 'read-counters':
        this.events.push({ type: 'traffic', packets: 7 });
        break;
      case 'catch-first':
      case 'expect-gate':
      case 'keep-addresses':
      case 'look-up':
      case 'route':
      case 'recount':
        break;
    }
  }
}

type Step = (world: World) => void;

const steps = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Step>((world) => { world.packet(); }) },
  { weight: 2, arbitrary: fc.constant<Step>((world) => { world.stray(); }) },
  { weight: 8, arbitrary: fc.constant<Step>((world) => { world.carryOut(false); }) },
  { weight: 3, arbitrary: fc.constant<Step>((world) => { world.carryOut(true); }) },
  { weight: 8, arbitrary: fc.constant<Step>((world) => { world.deliver(); }) },
  { weight: 4, arbitrary: fc.constantFrom('well' as const, 'well' as const, 'badly' as const, 'refused' as const).map((how): Step => (world) => { world.linkMoves(how); }) },
  { weight: 3, arbitrary: fc.constant<Step>((world) => { world.queueMoves(); }) },
  { weight: 4, arbitrary: fc.constant<Step>((world) => { world.clock(); }) },
  { weight: 1, arbitrary: fc.constantFrom<TunnelEvent>({ type: 'command', command: 'up' }, { type: 'command', command: 'down' }, { type: 'command', command: 'resume' }, { type: 'command', command: 'pause', bypass: false, forMs: 5000 }, { type: 'network', what: 'changed' }).map((event): Step => (world) => { world.tell(event); }) },
  { weight: 2, arbitrary: fc.constantFrom('gone' as const, 'missing' as const, 'back' as const).map((is): Step => (world) => { world.tell({ type: 'device', is }); }) },
);

/** Lets everything come to rest: the link gets on as `how` says, time passes, and of the effects only the `failing`th fails. */
function settle(world: World, how: 'well' | 'badly' | 'never', failing = Infinity): void {
  let effects = 0;
  for (let turn = 0; turn < 60; turn++) {
    while (world.lists.length > 0 || world.events.length > 0) {
      if (world.lists.length > 0) world.carryOut(effects++ === failing);
      world.deliver();
    }
    world.queueMoves();
    if (how !== 'never' && (world.link === 'dialing' || world.link === 'ending')) world.linkMoves(how);
    // Time passes for a while, and then only as long as somebody waits.
    else if ((turn < 30 || world.held > 0) && world.events.length === 0) world.clock();
  }
}

describe.each(['well', 'badly', 'never'] as const)('whatever happened, when the link then goes %s', (how) => {
  it('no held packet stays without an answer', () => {
    fc.assert(fc.property(fc.array(steps, { maxLength: 120 }), fc.nat(25), (sequence, failing) => {
      const world = new World();
      for (const step of sequence) step(world);
      settle(world, how, failing);
      expect({ held: world.held, lists: world.lists.length, events: world.events.length }).toEqual({ held: 0, lists: 0, events: 0 });
    }), { numRuns: 1500 });
  });

  it('the gate is where the state says it is', () => {
    fc.assert(fc.property(fc.array(steps, { maxLength: 120 }), fc.nat(25), (sequence, failing) => {
      const world = new World();
      for (const step of sequence) step(world);
      settle(world, how, failing);
      const { at } = world.tunnel.state;
      if (at === 'up') expect(world).toMatchObject({ gate: 'open', mode: 'accept' });
      if (at === 'idle') expect(world).toMatchObject({ gate: 'hold', mode: 'hold' });
    }), { numRuns: 1500 });
  });

  it('the next packet wakes, or is refused, but is not left alone', () => {
    fc.assert(fc.property(fc.array(steps, { maxLength: 120 }), fc.nat(25), (sequence, failing) => {
      const world = new World();
      for (const step of sequence) step(world);
      settle(world, how, failing);
      const before = { gate: world.gate, answers: world.released + world.answered };
      world.packet();
      settle(world, how);
      expect(world.held).toBe(0);
      if (before.gate === 'hold') expect(world.released + world.answered).toBeGreaterThan(before.answers);
    }), { numRuns: 1500 });
  });
});

it('strays alone are dropped, however many, and bring nothing up; behind a packet that woke they are released like it', () => {
  fc.assert(fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), fc.boolean(), (turns, wakes) => {
    const world = new World();
    for (const turn of turns) if (turn) world.stray(); else world.deliver();
    settle(world, 'well');
    expect(world).toMatchObject({ held: 0, dropped: world.packets, released: 0, link: 'down', tunnel: { state: { at: 'idle' }, wakes: 0 } });
    if (wakes) world.packet();
    world.deliver();
    world.stray();
    settle(world, 'well');
    expect(world).toMatchObject({ held: 0, released: wakes ? 2 : 0, answered: 0 });
  }));
});

it.each(['gone', 'missing', 'back'] as const)('a device is %s, and then its link ends by itself: what was held in between goes into the next one', (is) => {
  const world = new World();
  const run = (): void => {
    while (world.lists.length > 0 || world.events.length > 0) {
      world.carryOut(false);
      world.deliver();
      world.queueMoves();
    }
  };
  const comesUp = (): void => {
    run();
    world.linkMoves('well');
    run();
    expect(world).toMatchObject({ held: 0, answered: 0, gate: 'open', tunnel: { state: { at: 'up' }, dialFailures: 0 } });
  };
  world.packet();
  comesUp();
  world.tell({ type: 'device', is: 'gone' });
  if (is !== 'gone') world.tell({ type: 'device', is });
  run();
  world.packet();
  run();
  expect(world.held).toBe(1);
  world.linkMoves(is === 'gone' ? 'refused' : 'badly');
  comesUp();
  expect(world).toMatchObject({ released: 2, tunnel: { wakes: 2 } });
});
