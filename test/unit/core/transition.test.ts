import { describe, expect, it } from '@jest/globals';
import type { Effect, TunnelEvent } from '../../../src/core/events.js';
import type { Policy } from '../../../src/core/policy.js';
import type { State, Tunnel } from '../../../src/core/state.js';
import { deadlineOf, transition } from '../../../src/core/transition.js';

const policy: Policy = { idleMs: 8000, holdTimeoutMs: 30_000, lingerMs: 200, backoffStartMs: 2000, backoffMaxMs: 60_000, minUpMs: 0, wakesPerHour: Infinity };
const now = 100_000;
const context = { now, policy, random: 0 };
const connection = { device: 'ovpn-a', addresses: { ipv4: '10.8.0.2' } };
const failure = { code: 'exit', detail: 'ended' } as const;
const packet = { protocol: 'tcp', source: '10.77.1.2', destination: '10.99.0.1' };

const states = {
  'idle': { at: 'idle', since: 0, failures: 1 },
  'dialing/connecting': { at: 'dialing', since: 0, failures: 1, phase: 'connecting' },
  'dialing/connecting, was up': { at: 'dialing', since: 0, failures: 0, phase: 'connecting', setback: 'device gone', wasUp: true },
  'dialing/releasing': { at: 'dialing', since: 0, failures: 1, phase: 'releasing', connection },
  'dialing/opening': { at: 'dialing', since: 0, failures: 1, phase: 'opening', connection },
  'up': { at: 'up', since: 0, connection, settled: true, idle: { lastTrafficAt: now - 8000, nextCheckAt: now, packets: 7 } },
  'draining/closing': { at: 'draining', since: 0, phase: 'closing', cause: 'idle', connection },
  'draining/closing, packet': { at: 'draining', since: 0, phase: 'closing', cause: 'command', connection, redial: { at: now, packet } },
  'draining/closing, up': { at: 'draining', since: 0, phase: 'closing', cause: 'command', connection, redial: { at: now } },
  'draining/lingering': { at: 'draining', since: 0, phase: 'lingering', cause: 'idle', connection, until: now },
  'draining/lingering by command': { at: 'draining', since: 0, phase: 'lingering', cause: 'command', connection, until: now },
  'draining/stopping': { at: 'draining', since: 0, phase: 'stopping', cause: 'idle' },
  'draining/stopping, wanted': { at: 'draining', since: 0, phase: 'stopping', cause: 'idle', redial: { at: now - 50, packet } },
  'backoff': { at: 'backoff', since: 0, until: now, failures: 2, failure },
  'locked': { at: 'locked', since: 0, failure: { code: 'auth', detail: 'refused' } },
  'paused': { at: 'paused', since: 0, until: now, bypass: false },
  'paused, bypass': { at: 'paused', since: 0, bypass: true },
} satisfies Record<string, State>;

const events = {
  'packets-held': { type: 'packets-held', count: 3, first: packet },
  'strays held': { type: 'packets-held', count: 2, first: packet, strays: [4, 6] },
  'released': { type: 'released', packets: 3 },
  'overflow': { type: 'overflow', packets: 1 },
  'flushed': { type: 'flushed', packets: 1 },
  'queue-failed': { type: 'queue-failed', detail: 'ENOBUFS' },
  'link-up': { type: 'link-up', ...connection },
  'link-progress': { type: 'link-progress', step: 'AUTH' },
  'link-reconnecting': { type: 'link-reconnecting', reason: 'ping-restart' },
  'link-down': { type: 'link-down', reason: 'SIGTERM' },
  'link-down, failed': { type: 'link-down', reason: 'exit', failure },
  'link-down, refused': { type: 'link-down', reason: 'auth', failure: { code: 'auth', detail: 'refused' } },
  'up': { type: 'command', command: 'up' },
  'down': { type: 'command', command: 'down' },
  'pause': { type: 'command', command: 'pause', forMs: 60_000, bypass: false },
  'pause, bypass': { type: 'command', command: 'pause', bypass: true },
  'resume': { type: 'command', command: 'resume' },
  'network': { type: 'network', what: 'changed' },
  'device gone': { type: 'device', is: 'gone' },
  'device missing': { type: 'device', is: 'missing' },
  'device back': { type: 'device', is: 'back' },
  'opened': { type: 'done', what: 'opened' },
  'closed': { type: 'done', what: 'closed', held: 0 },
  'closed, 2 held': { type: 'done', what: 'closed', held: 2 },
  'traffic': { type: 'traffic', packets: 8 },
  'no traffic': { type: 'traffic', packets: 7 },
  'gate failed': { type: 'effect-failed', effect: 'gate', detail: 'ipset' },
  'other effect failed': { type: 'effect-failed', effect: 'catch-first', detail: 'ip' },
  'clock': { type: 'clock' },
} satisfies Record<string, TunnelEvent>;

type StateName = keyof typeof states;
type EventName = keyof typeof events;

/** In every state the same. */
const pauses: Partial<Record<EventName, string>> = {
  'pause': 'paused: gate reject, answer, catch-first off, stop-link',
  'pause, bypass': 'paused: gate bypass, answer, catch-first off, stop-link',
};

const connecting: Partial<Record<EventName, string>> = {
  'network': 'dialing/connecting: redial',
  'link-up': 'dialing/releasing: route, catch-first off, release',
  'link-down, failed': 'backoff: gate reject, answer, catch-first off',
  'link-down, refused': 'locked: gate reject, answer, catch-first off',
  'gate failed': 'backoff: gate reject, answer, stop-link, catch-first off',
  'other effect failed': 'backoff: gate reject, answer, stop-link, catch-first off',
  'clock': 'backoff: gate reject, answer, stop-link, catch-first off',
  'down': 'draining/stopping: answer, hold, gate hold, stop-link',
};

/** What is not in this table changes neither the state nor anything else. */
const table: Record<StateName, Partial<Record<EventName, string>>> = {
  'paused': {
    'resume': 'idle: hold, gate hold',
    'clock': 'idle: hold, gate hold',
    'up': 'dialing/connecting: hold, gate hold, dial, expect-gate open',
    'link-up': 'paused: stop-link',
    'gate failed': 'paused: answer, stop-link, catch-first off',
  },
  'paused, bypass': {
    'resume': 'idle: hold, gate hold',
    'clock': 'idle: hold, gate hold',
    'up': 'dialing/connecting: hold, gate hold, dial, expect-gate open',
    'link-up': 'paused: stop-link',
    'gate failed': 'paused: answer, stop-link, catch-first off',
  },
  'idle': {
    'packets-held': 'dialing/connecting: dial, expect-gate open',
    'strays held': 'idle: drop 4 6',
    'up': 'dialing/connecting: dial, expect-gate open',
    'link-up': 'dialing/releasing: route, catch-first off, release',
    'gate failed': 'backoff: answer',
  },
  'dialing/connecting': {
    ...connecting,
    'link-down': 'backoff: gate reject, answer, catch-first off',
  },
  'dialing/connecting, was up': {
    ...connecting,
    'device missing': 'dialing/connecting: redial',
    'device back': 'dialing/connecting: redial',
    'up': 'dialing/connecting',
    'link-down': 'idle: hold, gate hold, remind, catch-first off',
  },
  'dialing/releasing': {
    'queue-failed': 'backoff: gate reject, answer, stop-link, catch-first off',
    'network': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open, redial',
    'device gone': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open',
    'device missing': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open, redial',
    'released': 'dialing/opening: gate open, report opened',
    'link-reconnecting': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open',
    'link-down': 'backoff: gate reject, answer, catch-first off',
    'link-down, failed': 'backoff: gate reject, answer, catch-first off',
    'link-down, refused': 'locked: gate reject, answer, catch-first off',
    'gate failed': 'backoff: gate reject, answer, stop-link, catch-first off',
    'other effect failed': 'backoff: gate reject, answer, stop-link, catch-first off',
    'clock': 'backoff: gate reject, answer, stop-link, catch-first off',
    'down': 'draining/stopping: answer, hold, gate hold, stop-link',
  },
  'dialing/opening': {
    'network': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open, redial',
    'device gone': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open',
    'device missing': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open, redial',
    'opened': 'up',
    'link-reconnecting': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open',
    'link-down': 'backoff: gate reject, answer, catch-first off',
    'link-down, failed': 'backoff: gate reject, answer, catch-first off',
    'link-down, refused': 'locked: gate reject, answer, catch-first off',
    'gate failed': 'backoff: gate reject, answer, stop-link, catch-first off',
    'other effect failed': 'backoff: gate reject, answer, stop-link, catch-first off',
    'clock': 'backoff: gate reject, answer, stop-link, catch-first off',
    'down': 'draining/stopping: answer, hold, gate hold, stop-link',
  },
  'up': {
    'network': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open, redial',
    'device gone': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open',
    'device missing': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open, redial',
    'clock': 'up: read-counters',
    'no traffic': 'draining/closing: hold, gate hold, catch-first on, release-local, report closed',
    'down': 'draining/closing: hold, gate hold, catch-first on, release-local, report closed',
    'link-reconnecting': 'dialing/connecting: hold, gate hold, catch-first on, expect-gate open',
    'link-up': 'up: keep-addresses',
    'link-down': 'idle: hold, gate hold',
    'link-down, failed': 'idle: hold, gate hold',
    'link-down, refused': 'locked: gate reject, answer, catch-first off',
  },
  'draining/closing': {
    'closed': 'draining/lingering',
    'closed, 2 held': 'dialing/releasing: route, catch-first off, release',
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'draining/stopping: stop-link',
    'link-reconnecting': 'draining/stopping: stop-link',
    'device gone': 'draining/stopping: stop-link',
    'device missing': 'draining/stopping: stop-link',
    'device back': 'draining/stopping: stop-link',
    'link-down': 'idle: hold, gate hold, catch-first off',
    'link-down, failed': 'idle: hold, gate hold, catch-first off',
    'link-down, refused': 'idle: hold, gate hold, catch-first off',
  },
  'draining/closing, packet': {
    'closed': 'draining/lingering',
    'closed, 2 held': 'draining/lingering',
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'draining/stopping: stop-link',
    'link-reconnecting': 'draining/stopping: stop-link',
    'device gone': 'draining/stopping: stop-link',
    'device missing': 'draining/stopping: stop-link',
    'device back': 'draining/stopping: stop-link',
    'link-down': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
    'link-down, failed': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
    'link-down, refused': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
  },
  'draining/closing, up': {
    'closed': 'draining/lingering',
    'closed, 2 held': 'draining/lingering',
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'draining/stopping: stop-link',
    'link-reconnecting': 'draining/stopping: stop-link',
    'device gone': 'draining/stopping: stop-link',
    'device missing': 'draining/stopping: stop-link',
    'device back': 'draining/stopping: stop-link',
    'link-down': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
    'link-down, failed': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
    'link-down, refused': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
  },
  'draining/lingering': {
    'packets-held': 'dialing/releasing: route, catch-first off, release',
    'strays held': 'dialing/releasing: route, catch-first off, release',
    'up': 'dialing/releasing: route, catch-first off, release',
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'draining/stopping: stop-link',
    'link-reconnecting': 'draining/stopping: stop-link',
    'device gone': 'draining/stopping: stop-link',
    'device missing': 'draining/stopping: stop-link',
    'device back': 'draining/stopping: stop-link',
    'link-down': 'idle: hold, gate hold, catch-first off',
    'link-down, failed': 'idle: hold, gate hold, catch-first off',
    'link-down, refused': 'idle: hold, gate hold, catch-first off',
  },
  'draining/lingering by command': {
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'draining/stopping: stop-link',
    'link-reconnecting': 'draining/stopping: stop-link',
    'device gone': 'draining/stopping: stop-link',
    'device missing': 'draining/stopping: stop-link',
    'device back': 'draining/stopping: stop-link',
    'link-down': 'idle: hold, gate hold, catch-first off',
    'link-down, failed': 'idle: hold, gate hold, catch-first off',
    'link-down, refused': 'idle: hold, gate hold, catch-first off',
  },
  'draining/stopping': {
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'draining/stopping: stop-link',
    'link-down': 'idle: hold, gate hold, catch-first off',
    'link-down, failed': 'idle: hold, gate hold, catch-first off',
    'link-down, refused': 'idle: hold, gate hold, catch-first off',
  },
  'draining/stopping, wanted': {
    'gate failed': 'draining/stopping: stop-link',
    'other effect failed': 'draining/stopping: stop-link',
    'clock': 'backoff: gate reject, answer, catch-first off',
    'link-down': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
    'link-down, failed': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
    'link-down, refused': 'dialing/connecting: hold, gate hold, catch-first off, dial, expect-gate open',
  },
  'backoff': {
    'resume': 'idle: hold, gate hold',
    'clock': 'idle: hold, gate hold',
    'up': 'dialing/connecting: hold, gate hold, dial, expect-gate open',
    'link-up': 'dialing/releasing: hold, gate hold, route, catch-first off, release',
    'gate failed': 'backoff: answer, stop-link, catch-first off',
    'network': 'idle: hold, gate hold',
  },
  'locked': {
    'resume': 'idle: hold, gate hold',
    'up': 'dialing/connecting: hold, gate hold, dial, expect-gate open',
    'link-up': 'dialing/releasing: hold, gate hold, route, catch-first off, release',
    'gate failed': 'locked: answer, stop-link, catch-first off',
  },
};

const tunnelIn = (state: State): Tunnel => ({ state, wakes: 1, dialFailures: 0, history: [{ at: now - 100, packet }], wakeTimes: [now - 100] });
const fresh: Tunnel = { state: states.idle, wakes: 0, dialFailures: 0, history: [], wakeTimes: [] };
const place = (state: State): string => ('phase' in state ? `${state.at}/${state.phase}` : state.at);

function effectText(effect: Effect): string {
  switch (effect.do) {
    case 'gate':
    case 'expect-gate':
      return `${effect.do} ${effect.gate}`;
    case 'catch-first':
      return `catch-first ${effect.on ? 'on' : 'off'}`;
    case 'drop':
      return `drop ${effect.packets.join(' ')}`;
    case 'report':
      return `report ${effect.what}`;
    default:
      return effect.do;
  }
}

describe('every state and every event', () => {
  const cases = Object.keys(states).flatMap((state) => Object.keys(events).map((event) => ({ state: state as StateName, event: event as EventName })));

  it.each(cases)('$state on $event', ({ state, event }) => {
    const before = tunnelIn(states[state]);
    const { tunnel, effects } = transition(before, events[event], context);
    const said = `${place(tunnel.state)}${effects.length > 0 ? `: ${effects.map(effectText).join(', ')}` : ''}`;
    expect(said).toBe(pauses[event] ?? table[state][event] ?? place(states[state]));
  });
});

describe('what the machine remembers', () => {
  const run = (tunnel: Tunnel, event: TunnelEvent, time = now): Tunnel => transition(tunnel, event, { ...context, now: time }).tunnel;

  it('times a wake from its packet to the release', () => {
    let tunnel = run(fresh, events['packets-held'], 1000);
    tunnel = run(tunnel, events['link-up'], 1012);
    tunnel = run(tunnel, { type: 'released', packets: 5 }, 1015);
    expect(tunnel).toMatchObject({ wakes: 1, history: [{ at: 1000, packet, dialMs: 12, releaseMs: 3, released: 5 }] });
  });

  it('keeps the packet that came after an up command as the one that woke', () => {
    const dialing = run(fresh, events.up);
    expect(run(dialing, events['packets-held']).history[0]).toEqual({ at: now, packet });
  });

  it('doubles the back-off with every failure in a row, up to its bound, and forgets it when up', () => {
    const untils = [1, 2, 3, 10].map((failures) => {
      const { state } = run(tunnelIn({ at: 'dialing', since: 0, failures: failures - 1, phase: 'connecting' }), events['link-down, failed']);
      return state.at === 'backoff' ? state.until - now : undefined;
    });
    expect(untils).toEqual([2000, 4000, 8000, 60_000]);
    const up = run(tunnelIn(states['dialing/opening']), events.opened);
    expect(run(up, events['link-down']).state).toMatchObject({ at: 'idle', failures: 0 });
  });

  it('spreads the back-off by up to a quarter', () => {
    const { state } = transition(tunnelIn(states['dialing/connecting']), events['link-down, failed'], { ...context, random: 1 }).tunnel;
    expect(state).toMatchObject({ until: now + 5000 });
  });

  it('counts traffic since the last reading as activity', () => {
    const { state } = run(tunnelIn(states.up), events.traffic);
    expect(state).toMatchObject({ at: 'up', idle: { lastTrafficAt: now, packets: 8, nextCheckAt: now + 1000 } });
  });

  it('reads the counters just when the idle time ends', () => {
    const quiet: State = { ...states.up, idle: { lastTrafficAt: now - 7900, nextCheckAt: now, packets: 7 } };
    expect(run(tunnelIn(quiet), events['no traffic']).state).toMatchObject({ idle: { nextCheckAt: now + 100, lastTrafficAt: now - 7900 } });
  });

  it('takes the first reading as traffic: it is that of the wake', () => {
    const fresh: State = { ...states.up, idle: { lastTrafficAt: now - 375, nextCheckAt: Infinity } };
    expect(run(tunnelIn(fresh), events.traffic).state).toMatchObject({ idle: { lastTrafficAt: now, packets: 8 } });
  });

  it('obeys an `up` that came while the gate closed; packets of that time have gone into the living tunnel', () => {
    const closed = (state: State): State => run(run(tunnelIn(state), events.closed), events.clock).state;
    expect(closed(states['draining/closing, up'])).toMatchObject({ phase: 'stopping', redial: { at: now } });
    expect(closed(states['draining/closing, packet'])).not.toHaveProperty('redial');
  });

  it('tells the packet that came while going down as what woke next', () => {
    const draining = run(tunnelIn(states['draining/stopping']), events['packets-held'], now);
    expect(draining.wakes).toBe(1);
    expect(run(draining, events['link-down'], now + 30)).toMatchObject({ wakes: 2, history: [{ at: now, packet }, { at: now - 100, packet }] });
  });
});

describe('bounds', () => {
  it('refuses packets beyond the budget of wakes until the oldest is an hour old', () => {
    const bounded = { ...context, policy: { ...policy, wakesPerHour: 2 } };
    const spent: Tunnel = { ...fresh, wakeTimes: [now - 3_000_000, now - 1000] };
    const { tunnel, effects } = transition(spent, events['packets-held'], bounded);
    expect(tunnel.state).toMatchObject({ at: 'backoff', until: now + 600_000, failure: { code: 'budget' } });
    expect(effects.map(effectText)).toEqual(['gate reject', 'answer']);
  });

  it('counts only the wakes of the last hour, and no commands', () => {
    const bounded = { ...context, policy: { ...policy, wakesPerHour: 2 } };
    const old: Tunnel = { ...fresh, wakeTimes: [now - 3_700_000, now - 1000] };
    expect(transition(old, events['packets-held'], bounded).tunnel).toMatchObject({ state: { at: 'dialing' }, wakeTimes: [now - 1000, now] });
    expect(transition({ ...fresh, wakeTimes: [now - 2, now - 1] }, events.up, bounded).tunnel.state.at).toBe('dialing');
  });

  it('keeps a tunnel up for minUp though it is idle', () => {
    const steady = { ...context, policy: { ...policy, minUpMs: 60_000 } };
    const young: State = { ...states.up, since: now - 10_000 };
    expect(transition(tunnelIn(young), events['no traffic'], steady).tunnel.state).toMatchObject({ at: 'up' });
    expect(transition(tunnelIn({ ...young, since: now - 60_000 }), events['no traffic'], steady).tunnel.state.at).toBe('draining');
  });

  it('remembers the last ten wakes', () => {
    let tunnel = fresh;
    for (let i = 0; i < 12; i++) tunnel = { ...transition(tunnel, events['packets-held'], { ...context, now: i }).tunnel, state: states.idle };
    expect(tunnel.history.map(({ at }) => at)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    expect(tunnel.wakes).toBe(12);
  });

  it('says why a dial timed out', () => {
    const setBack = transition(tunnelIn(states['dialing/connecting']), events['link-reconnecting'], context).tunnel;
    expect(transition(setBack, events.clock, context).tunnel.lastFailure).toMatchObject({ code: 'timeout', detail: 'not connected after 30000 ms (ping-restart)' });
  });

  it('begins no wake for strays alone, and brings a tunnel back for them that is going down', () => {
    expect(transition(fresh, events['strays held'], context).tunnel).toEqual(fresh);
    const draining = transition(tunnelIn(states['draining/stopping']), events['strays held'], context).tunnel;
    expect(transition(draining, events['link-down'], context).tunnel).toMatchObject({ state: { at: 'dialing' }, wakes: 2 });
  });

  it('adds the process to the packet that woke', () => {
    const dialing = transition(fresh, events['packets-held'], context).tunnel;
    expect(transition(dialing, { type: 'waker-found', process: 'curl[7]' }, context).tunnel.history[0]?.packet).toEqual({ ...packet, process: 'curl[7]' });
  });

  it('keeps the steps of a dial with their times', () => {
    const dialing = transition(fresh, events['packets-held'], { ...context, now: 50 }).tunnel;
    expect(transition(dialing, events['link-progress'], { ...context, now: 57 }).tunnel.history[0]?.steps).toEqual([{ name: 'AUTH', ms: 7 }]);
  });
});

describe('deadlines', () => {
  it('has none while idle or locked: no timer runs', () => {
    expect(deadlineOf(states.idle, policy)).toBeUndefined();
    expect(deadlineOf(states.locked, policy)).toBeUndefined();
  });

  it('bounds a dial by hold.timeout', () => {
    expect(deadlineOf(states['dialing/connecting'], policy)).toBe(30_000);
  });

  it('bounds the wait for the old link by it, too, where packets are held', () => {
    expect(deadlineOf(states['draining/stopping, wanted'], policy)).toBe(now - 50 + 30_000);
    expect(deadlineOf(states['draining/stopping'], policy)).toBeUndefined();
  });

  it('does not watch where nobody asked for it, but for once after the opening', () => {
    const never = { ...policy, idleMs: Infinity };
    const up = transition(tunnelIn(states['dialing/opening']), events.opened, { ...context, policy: never }).tunnel;
    expect(deadlineOf(up.state, never)).toBe(now + 100);
    const { tunnel, effects } = transition(up, events.clock, { ...context, policy: never });
    expect(effects.map(effectText)).toEqual(['recount', 'keep-addresses', 'expect-gate hold']);
    expect(deadlineOf(tunnel.state, never)).toBeUndefined();
  });

  it('keeps the addresses and begins to watch when the opening is over', () => {
    const up = transition(tunnelIn(states['dialing/opening']), events.opened, context).tunnel;
    expect(transition(up, events.clock, context).effects.map(effectText)).toEqual(['recount', 'keep-addresses', 'expect-gate hold', 'read-counters']);
  });

  it('keeps the addresses of a tunnel that goes down, or starts over, before that', () => {
    const up = transition(tunnelIn(states['dialing/opening']), events.opened, context).tunnel;
    expect(transition(up, events.down, context).effects.map(effectText)).toEqual(['hold', 'gate hold', 'catch-first on', 'release-local', 'keep-addresses', 'report closed']);
    expect(transition(up, events['link-reconnecting'], context).effects.map(effectText)).toEqual(['hold', 'gate hold', 'catch-first on', 'keep-addresses', 'expect-gate open']);
  });
});

describe('names', () => {
  const named = { ...context, policy: { ...policy, hasNames: true } };
  const lookUps = (effects: readonly Effect[]): readonly Effect[] => effects.filter((effect) => effect.do === 'look-up');

  it('are routed before what is held for them is released', () => {
    expect(transition(tunnelIn(states['dialing/connecting']), events['link-up'], named).effects.map(effectText)).toEqual(['route', 'catch-first off', 'release']);
  });

  it.each([
    ['idle', false], ['backoff', false], ['locked', false], ['paused', false],
    ['dialing/connecting', true], ['up', true], ['draining/stopping', true],
  ] as const)('are asked for in another network: %s', (state, keep) => {
    expect(lookUps(transition(tunnelIn(states[state]), events.network, named).effects)).toEqual([{ do: 'look-up', keep }]);
    expect(lookUps(transition(tunnelIn(states[state]), events.network, context).effects)).toEqual([]);
  });

  it('are asked for when the tunnel has come up, and when a record is too old, and not before', () => {
    const up = transition(tunnelIn(states['dialing/opening']), events.opened, named).tunnel;
    const settled = transition(up, events.clock, named);
    expect(lookUps(settled.effects)).toEqual([{ do: 'look-up', keep: true }]);
    const watched = transition(settled.tunnel, events.traffic, named).tunnel;
    const found = transition(watched, { type: 'names-found', againAfterMs: 2500 }, named).tunnel;
    expect(lookUps(transition(found, events.clock, { ...named, now: now + 2499 }).effects)).toEqual([]);
    const again = transition(found, events.clock, { ...named, now: now + 2500 });
    expect(lookUps(again.effects)).toEqual([{ do: 'look-up', keep: true }]);
    expect(lookUps(transition(again.tunnel, events.clock, { ...named, now: now + 2501 }).effects)).toEqual([]);
  });

  it('wake the machine at the end of their time also where nobody watches the traffic', () => {
    const never = { ...named, policy: { ...named.policy, idleMs: Infinity } };
    const settled = transition(transition(tunnelIn(states['dialing/opening']), events.opened, never).tunnel, events.clock, never).tunnel;
    expect(deadlineOf(settled.state, never.policy)).toBeUndefined();
    expect(deadlineOf(transition(settled, { type: 'names-found', againAfterMs: 2500 }, never).tunnel.state, never.policy)).toBe(now + 2500);
    expect(deadlineOf(transition(settled, { type: 'names-found' }, never).tunnel.state, never.policy)).toBeUndefined();
  });

  it('make no timer while idle', () => {
    const idle = transition(tunnelIn(states.idle), { type: 'names-found', againAfterMs: 1 }, named);
    expect({ state: idle.tunnel.state, effects: idle.effects, deadline: deadlineOf(idle.tunnel.state, named.policy) }).toEqual({ state: states.idle, effects: [], deadline: undefined });
  });
});
