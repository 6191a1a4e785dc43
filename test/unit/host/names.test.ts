import { describe, expect, it } from '@jest/globals';
import { defer, Subject } from 'rxjs';
import type { NamesEvent } from '../../../src/core/events.js';
import type { ClockPort, LogFields, LogPort } from '../../../src/core/ports.js';
import type { NameAnswer } from '../../../src/host/name-lookup.js';
import { Names } from '../../../src/host/names.js';

const answer = (ipv4: readonly string[] | undefined, more: Partial<NameAnswer> = {}): NameAnswer => ({ ipv4, ipv6: [], ttlMs: undefined, problem: ipv4 === undefined ? 'ETIMEOUT' : undefined, ...more });

/** Each once. */
const prefixesOf = ({ byName }: Names): readonly string[] => [...new Set([...byName.values()].flat())];

/** Names whose answers, and how long the gate takes, the test says. */
function create(...names: readonly string[]) {
  const told: LogFields[] = [];
  const events: NamesEvent[] = [];
  const answers = new Map<string, NameAnswer>();
  const changes: (readonly string[])[] = [];
  const world = { fails: false, standing: '' };
  const note = (fields: LogFields): void => { told.push(fields); };
  const log: LogPort = { debug: note, info: note, warn: note, error: note };
  const made: { names?: Names } = {};
  const pauses = new Subject<void>();
  const waits: number[] = [];
  const clock: ClockPort = { now: () => 0, at: (time) => defer(() => { waits.push(time); return pauses; }) };
  const subject = new Names({
    tunnel: 'a',
    names,
    ask: (name) => Promise.resolve(answers.get(name) ?? answer(undefined)),
    isProtected: () => world.standing === prefixesOf(made.names!).join(),
    protect: () => {
      changes.push(prefixesOf(made.names!));
      if (world.fails) return Promise.reject(new Error('ipset: no'));
      world.standing = prefixesOf(made.names!).join();
      return Promise.resolve();
    },
  }, clock, log);
  made.names = subject;
  subject.events$.subscribe((event) => { events.push(event); });
  return { subject, told, events, answers, changes, world, waits, pass: async () => { pauses.next(); await settled(); } };
}

const settled = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

describe('names', () => {
  it('stand for addresses of both families, in one order', async () => {
    const { subject, answers } = create('a.example', 'b.example');
    answers.set('a.example', answer(['192.0.2.9', '192.0.2.10'], { ipv6: ['2001:DB8::0:7'] }));
    await subject.ask(false);
    expect(prefixesOf(subject)).toEqual(['192.0.2.10/32', '192.0.2.9/32', '2001:db8::7/128']);
    expect(Object.fromEntries(subject.byName)).toEqual({ 'a.example': ['192.0.2.10/32', '192.0.2.9/32', '2001:db8::7/128'], 'b.example': [] });
  });

  it('that are wanted keep what they stood for; others don\'t', async () => {
    const { subject, answers } = create('a.example');
    answers.set('a.example', answer(['192.0.2.1']));
    await subject.ask(false);
    answers.set('a.example', answer(['192.0.2.2']));
    await subject.ask(true);
    expect(prefixesOf(subject)).toEqual(['192.0.2.1/32', '192.0.2.2/32']);
    await subject.ask(false);
    expect(prefixesOf(subject)).toEqual(['192.0.2.2/32']);
  });

  it('that nobody can tell of stay as they were, and are told once', async () => {
    const { subject, answers, told } = create('a.example');
    answers.set('a.example', answer(['192.0.2.1'], { ipv6: ['2001:db8::1'] }));
    await subject.ask(false);
    answers.set('a.example', answer(['192.0.2.1'], { ipv6: undefined }));
    await subject.ask(false);
    expect(prefixesOf(subject)).toEqual(['192.0.2.1/32', '2001:db8::1/128']);
    answers.delete('a.example');
    expect(await subject.ask(false)).toBe(60_000);
    await subject.ask(false);
    expect(prefixesOf(subject)).toEqual(['192.0.2.1/32', '2001:db8::1/128']);
    expect(told.map(({ event }) => event)).toEqual(['names.changed', 'names.unresolved']);
  });

  it('lose the family that has no records any more', async () => {
    const { subject, answers } = create('a.example');
    answers.set('a.example', answer(['192.0.2.1'], { ipv6: ['2001:db8::1'] }));
    await subject.ask(false);
    answers.set('a.example', answer(['192.0.2.1'], { ipv6: [] }));
    await subject.ask(false);
    expect(prefixesOf(subject)).toEqual(['192.0.2.1/32']);
  });

  it.each([[[30_000], 30_000], [[30_000, 20_000], 20_000], [[0], 5000], [[undefined], undefined], [[undefined, 20_000], 20_000]])('are asked for again when the first of their records is too old: %j', async (ttls, expected) => {
    const { subject, answers } = create(...ttls.map((_, index) => `${index}.example`));
    for (const [index, ttlMs] of ttls.entries()) answers.set(`${index}.example`, answer([`192.0.2.${index + 1}`], ttlMs === undefined ? {} : { ttlMs }));
    expect(await subject.ask(false)).toBe(expected);
  });

  it('never protect this host, or nobody', async () => {
    const { subject, answers, told } = create('a.example');
    answers.set('a.example', answer(['0.0.0.0', '127.0.0.1'], { ipv6: ['::1'] }));
    await subject.ask(false);
    expect(prefixesOf(subject)).toEqual([]);
    expect(told).toContainEqual({ event: 'names.unusable', tunnel: 'a', name: 'a.example', addresses: ['0.0.0.0/32', '127.0.0.1/32'] });
  });

  it('come into the gate before that is told, and only if something changed', async () => {
    const { subject, answers, events, changes } = create('a.example');
    answers.set('a.example', answer(['192.0.2.1'], { ttlMs: 9000 }));
    subject.lookUp(true);
    await settled();
    subject.lookUp(true);
    await settled();
    expect(changes).toEqual([['192.0.2.1/32']]);
    expect(events).toEqual([{ type: 'names-found', againAfterMs: 9000 }, { type: 'names-found', againAfterMs: 9000 }]);
  });

  it('are asked for once more when that was wanted meanwhile', async () => {
    const { subject, answers, events } = create('a.example');
    answers.set('a.example', answer(['192.0.2.1']));
    for (let i = 0; i < 5; i++) subject.lookUp(false);
    await settled();
    expect(events).toHaveLength(2);
  });

  it('that could not be brought into the gate are told, and that is tried again', async () => {
    const { subject, answers, told, events, changes, world } = create('a.example');
    world.fails = true;
    answers.set('a.example', answer(['192.0.2.1']));
    subject.lookUp(true);
    await settled();
    expect(told.map(({ event }) => event)).toEqual(['names.changed', 'names.not_protected']);
    expect(events).toHaveLength(1);
    world.fails = false;
    subject.lookUp(true);
    await settled();
    subject.lookUp(true);
    await settled();
    expect(changes).toEqual([['192.0.2.1/32'], ['192.0.2.1/32']]);
  });

  it('that nobody can tell of are asked for some more times, and then not before something happens', async () => {
    const { subject, waits, pass, events } = create('a.example');
    subject.lookUp(false);
    await settled();
    for (let i = 0; i < 10; i++) await pass();
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000]);
    expect(events).toHaveLength(7);
    subject.lookUp(false);
    await settled();
    expect(events).toHaveLength(8);
  });

  it('that are found at last are not asked for any more', async () => {
    const { subject, answers, waits, pass, changes } = create('a.example');
    subject.lookUp(false);
    await settled();
    answers.set('a.example', answer(['192.0.2.1']));
    await pass();
    await pass();
    expect({ waits, changes }).toEqual({ waits: [1000], changes: [['192.0.2.1/32']] });
  });

  it('ask at once when something happens between two tries', async () => {
    const { subject, answers, changes } = create('a.example');
    subject.lookUp(false);
    await settled();
    answers.set('a.example', answer(['192.0.2.1']));
    subject.lookUp(false);
    await settled();
    expect(changes).toEqual([['192.0.2.1/32']]);
  });

  it('end with what waits', async () => {
    const { subject, pass, events } = create('a.example');
    subject.lookUp(false);
    await settled();
    subject.close();
    await pass();
    expect(events).toHaveLength(1);
  });

  it('ask nobody without any, nor after the end', async () => {
    const none = create();
    none.subject.lookUp(false);
    const ended = create('a.example');
    ended.subject.close();
    ended.subject.lookUp(false);
    await settled();
    expect([...none.told, ...none.events, ...ended.told, ...ended.events]).toEqual([]);
  });
});
