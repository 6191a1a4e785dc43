import { describe, expect, it } from '@jest/globals';
import { asyncScheduler, NEVER, Subject, timer, type Observable } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import type { CommandEvent, GateEvent, LinkEvent, QueueEvent } from '../../../src/core/events.js';
import { joinTunnel, type Step, type TunnelParts } from '../../../src/core/join.js';
import type { ClockPort, GatePort, LinkPort, QueuePort } from '../../../src/core/ports.js';

const packet = { protocol: 'tcp', source: '10.77.1.2', destination: '10.99.0.1' };
const held: QueueEvent = { type: 'packets-held', count: 1, first: packet };
const up: LinkEvent = { type: 'link-up', device: 'ovpn-a', addresses: { ipv4: '10.8.0.2' } };
const down: LinkEvent = { type: 'link-down', reason: 'SIGTERM' };
const policy = { idleMs: 40, holdTimeoutMs: 30, lingerMs: 2, backoffStartMs: 10, backoffMaxMs: 100, minUpMs: 0, wakesPerHour: Infinity };

interface World {
  readonly parts: TunnelParts;
  /** What the join had done, in order. */
  readonly calls: string[];
  gateFails: boolean;
}

/** Ports that note what they are asked for. The gate answers at once, or not at all. */
function world(inputs: { queue$: Observable<QueueEvent>; link$: Observable<LinkEvent>; commands$?: Observable<CommandEvent>; gate$?: Observable<GateEvent> }, clock: ClockPort): World {
  const calls: string[] = [];
  const note = (text: string): void => { calls.push(text); };
  const noted = (text: string): Promise<void> => {
    calls.push(text);
    return Promise.resolve();
  };
  const queue: QueuePort = {
    events$: inputs.queue$,
    hold: () => { note('hold'); },
    remind: () => { note('remind'); },
    release: () => { note('release'); },
    releaseLocal: () => noted('release-local'),
    answer: () => { note('answer'); },
    drop: (packets) => { note(`drop ${packets.join(' ')}`); },
    carryOut: ({ command }) => { note(`carry out ${command}`); },
    stats: () => ({ packets: 0, oldestMs: 0, held: 0, released: 0, dropped: 0, rejected: 0 }),
    close: () => Promise.resolve(),
  };
  const link: LinkPort = { events$: inputs.link$, start: () => Promise.resolve(), dial: () => { note('dial'); }, redial: () => { note('redial'); }, stop: () => { note('stop-link'); }, close: () => Promise.resolve() };
  const made: { world?: World } = {};
  const gate: GatePort = {
    install: () => Promise.resolve(),
    set: (_, value, carryOut) => {
      if (made.world?.gateFails) return Promise.reject(new Error('ipset: no'));
      const done = noted(`gate ${value}`);
      if (value === 'open') carryOut?.({ subsystem: 6, command: 1, attributes: [] });
      return done;
    },
    expect: (_, value) => { note(`expect ${value}`); },
    catchFirst: (_, on) => noted(`catch-first ${on ? 'on' : 'off'}`),
    route: () => noted('route'),
    keepAddresses: () => noted('keep-addresses'),
    counters: () => Promise.resolve(new Map([['a', { in: 0, out: 0 }]])),
    events$: inputs.gate$ ?? NEVER,
    look: () => undefined,
    mendRoutes: () => Promise.resolve(),
    held: () => undefined,
    unlearned: () => 0,
    routes: () => [],
    remove: () => Promise.resolve([]),
  };
  const parts: TunnelParts = { name: 'a', policy, queue, link, gate, clock, commands$: inputs.commands$ ?? new Subject(), random: () => 0 };
  made.world = { parts, calls, gateFails: false };
  return made.world;
}

const ticks = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve); }); };

describe('in marbles', () => {
  const places = (steps$: Observable<Step>, into: string[], scheduler: TestScheduler): void => {
    steps$.subscribe(({ after: { state }, event }) => { into.push(`${scheduler.now()} ${event.type} → ${state.at}`); });
  };
  const run = (queue: string, link: string): { said: string[]; calls: string[] } => {
    const scheduler = new TestScheduler((actual, expected) => { expect(actual).toEqual(expected); });
    const said: string[] = [];
    let calls: string[] = [];
    scheduler.run(({ hot }) => {
      const clock: ClockPort = { now: () => scheduler.now(), at: (time) => timer(Math.max(0, time - scheduler.now()), asyncScheduler) };
      const made = world({ queue$: hot(queue, { h: held, r: { type: 'released', packets: 1 } as const }), link$: hot(link, { u: up, d: down, e: { type: 'link-reconnecting', reason: 'ping-restart' } as const }) }, clock);
      calls = made.calls;
      places(joinTunnel(made.parts), said, scheduler);
    });
    return { said, calls };
  };

  it('runs no timer while idle, and bounds a dial by the hold time', () => {
    expect(run('-----h', '------').said).toEqual(['5 packets-held → dialing', '35 clock → backoff', '45 clock → idle']);
  });

  it('dials once for however many packets', () => {
    const { calls } = run('hhhhh-h', '-------');
    expect(calls.filter((call) => call === 'dial')).toHaveLength(1);
  });

  it('releases when the link is up, not before', () => {
    const { said, calls } = run('h------', '---u---');
    expect(said.slice(0, 2)).toEqual(['0 packets-held → dialing', '3 link-up → dialing']);
    expect(calls.slice(0, 1)).toEqual(['dial']);
  });
});

it('drops just the strays that came while nobody wanted the tunnel', () => {
  const queue$ = new Subject<QueueEvent>();
  const { parts, calls } = world({ queue$, link$: NEVER }, { now: () => 0, at: () => NEVER });
  joinTunnel(parts).subscribe();
  queue$.next({ ...held, strays: [7, 8] });
  queue$.next(held);
  queue$.next({ ...held, strays: [10] });
  expect(calls).toEqual(['drop 7 8', 'dial', 'expect open']);
});

describe('with a gate that takes its time', () => {
  function start(clock: ClockPort = { now: () => 0, at: () => new Subject() }) {
    const queue$ = new Subject<QueueEvent>();
    const link$ = new Subject<LinkEvent>();
    const commands$ = new Subject<CommandEvent>();
    const made = world({ queue$, link$, commands$ }, clock);
    const steps: Step[] = [];
    joinTunnel(made.parts).subscribe((step) => steps.push(step));
    return { ...made, world: made, queue$, link$, commands$, steps, at: () => steps.at(-1)?.after.state.at };
  }

  it('opens in order: release until nothing is held, then the gate', async () => {
    const { queue$, link$, calls, at } = start();
    queue$.next(held);
    link$.next(up);
    await ticks();
    expect(calls).toEqual(['dial', 'expect open', 'route', 'catch-first off', 'release']);
    queue$.next({ type: 'released', packets: 1 });
    await ticks();
    expect(calls.slice(5)).toEqual(['gate open', 'carry out 1']);
    expect(at()).toBe('up');
  });

  it('closes in order: gate, route, what was held, and only then the link', async () => {
    const times = new Subject<unknown>();
    const { queue$, link$, commands$, calls, at } = start({ now: () => 0, at: () => times });
    queue$.next(held);
    link$.next(up);
    await ticks();
    queue$.next({ type: 'released', packets: 1 });
    await ticks();
    calls.length = 0;
    commands$.next({ type: 'command', command: 'down' });
    await ticks();
    expect(calls).toEqual(['hold', 'gate hold', 'catch-first on', 'release-local', 'keep-addresses']);
    times.next(0);
    expect(calls.at(-1)).toBe('stop-link');
    link$.next(down);
    await ticks();
    expect(at()).toBe('idle');
  });

  it('turns a gate that fails into an event, and goes on', async () => {
    const { world: made, queue$, link$, steps, at } = start();
    queue$.next(held);
    link$.next(up);
    await ticks();
    made.gateFails = true;
    queue$.next({ type: 'released', packets: 1 });
    await ticks();
    expect(steps.find(({ event }) => event.type === 'effect-failed')?.event).toEqual({ type: 'effect-failed', effect: 'gate', detail: 'ipset: no' });
    expect(at()).toBe('backoff');
  });

  it('lets everybody see an event before the one that it causes', () => {
    const queue$ = new Subject<QueueEvent>();
    const made = world({ queue$, link$: new Subject() }, { now: () => 0, at: () => new Subject() });
    const echoing: TunnelParts = { ...made.parts, link: { ...made.parts.link, dial: () => { queue$.next({ type: 'overflow', packets: 1 }); } } };
    const seen: string[] = [];
    joinTunnel(echoing).subscribe(({ event }) => seen.push(event.type));
    queue$.next(held);
    expect(seen).toEqual(['packets-held', 'overflow']);
  });
});
