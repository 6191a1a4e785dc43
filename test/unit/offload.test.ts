import { describe, expect, it } from '@jest/globals';
import type { Forget, TrackedConnection } from '../../src/core/established.js';
import type { GateTunnel, LogFields, LogPort } from '../../src/core/ports.js';
import { FakeGate } from '../../src/gate/fake.js';
import type { Flowtable } from '../../src/host/flowtables.js';
import { parseFlowtables } from '../../src/host/flowtables.js';
import { withoutOffload } from '../../src/offload.js';

const marks = { mask: 3, transport: 1, release: 2, reject: 3 };
const office: GateTunnel = { name: 'office', device: 'ovpn-office', queue: 1, protect: ['10.99.0.0/16'], exclude: [], remotes: [], onFailure: 'reject' };
const fast: Flowtable = { table: 'inet fw4', name: 'ft', hardware: false };
const offloaded: TrackedConnection = { family: 4, source: '10.77.1.2', destination: '10.99.3.1', replySource: '10.99.3.1', replyDestination: '10.77.1.2', offloaded: true };

/** A gate beside what the test says that the kernel has. */
function create(offload: 'refuse' | 'end') {
  const kernel = { flowtables: [] as readonly Flowtable[], connections: [] as readonly TrackedConnection[], lists: true, forgets: true };
  const told: LogFields[] = [];
  const forgotten: Forget[] = [];
  const note = (fields: LogFields): void => { told.push(fields); };
  const log: LogPort = { debug: note, info: note, warn: note, error: note };
  const conntrack = {
    list: () => (kernel.lists ? Promise.resolve(kernel.connections) : Promise.reject(new Error('no conntrack'))),
    forget: (what: Forget) => {
      if (!kernel.forgets) return Promise.reject(new Error('no conntrack'));
      forgotten.push(what);
      kernel.connections = [];
      return Promise.resolve(1);
    },
  };
  const bare = new FakeGate({ marks });
  return { kernel, told, forgotten, bare, gate: withoutOffload(bare, { offload, flowtables: () => Promise.resolve(kernel.flowtables), conntrack, log }) };
}

const events = (told: readonly LogFields[]): readonly string[] => told.map(({ event }) => event);

describe('a gate beside flowtables', () => {
  it.each([['refuse', fast], ['end', { ...fast, hardware: true }]] as const)('is not set: %s', async (offload, flowtable) => {
    const { gate, kernel, bare } = create(offload);
    kernel.flowtables = [flowtable];
    await expect(gate.install([office])).rejects.toMatchObject({ code: 'FLOWTABLE_FOUND', message: expect.stringContaining('ft (table inet fw4)') });
    expect(bare.journal).toEqual([]);
  });

  it('that come later tells them once, and sets what is wanted', async () => {
    const { gate, kernel, bare, told } = create('refuse');
    await gate.install([office]);
    kernel.flowtables = [fast];
    await gate.install([office]);
    await gate.install([office]);
    expect(events(told)).toEqual(['offload.found']);
    expect(bare.journal).toHaveLength(3);
  });

  it('ends what they forward when it is set and when it closes, not when it opens', async () => {
    const { gate, kernel, forgotten, told } = create('end');
    kernel.flowtables = [fast];
    kernel.connections = [offloaded];
    await gate.install([office]);
    expect(forgotten).toEqual([{ family: 4, destination: '10.99.0.0/16', offloaded: true }]);
    await gate.set('office', 'open');
    kernel.connections = [offloaded];
    await gate.set('office', 'open');
    expect(forgotten).toHaveLength(1);
    await gate.set('office', 'hold');
    expect(forgotten).toHaveLength(2);
    await gate.set('office', 'bypass');
    kernel.connections = [offloaded];
    await gate.set('office', 'reject');
    expect(forgotten).toHaveLength(3);
    expect(events(told)).toEqual(['offload.ended', 'offload.ended', 'offload.ended']);
  });

  it('ends what got into them while the gate was away', async () => {
    const { gate, bare, kernel, forgotten } = create('end');
    await gate.install([office]);
    kernel.connections = [offloaded];
    bare.repair();
    await new Promise((resolve) => { setImmediate(resolve); });
    expect(forgotten).toHaveLength(1);
    await gate.set('office', 'bypass');
    kernel.connections = [offloaded];
    bare.repair();
    await new Promise((resolve) => { setImmediate(resolve); });
    expect(forgotten).toHaveLength(1);
  });

  it('is not set if nobody could end what they forward', async () => {
    const { gate, kernel, bare } = create('end');
    kernel.lists = false;
    await expect(gate.install([office])).rejects.toThrow('no conntrack');
    expect(bare.journal).toEqual([]);
  });

  it('closes all the same when that fails', async () => {
    const { gate, kernel, told, bare } = create('end');
    await gate.install([office]);
    await gate.set('office', 'open');
    kernel.connections = [offloaded];
    kernel.forgets = false;
    await gate.set('office', 'hold');
    expect(bare.gateOf('office')).toBe('hold');
    expect(events(told)).toEqual(['offload.not_ended']);
  });

  it('counts what they forward while it is open as traffic', async () => {
    const { gate, kernel } = create('end');
    await gate.install([office]);
    await gate.set('office', 'open');
    const read = async (): Promise<number | undefined> => (await gate.counters()).get('office')?.out;
    expect([await read(), await read()]).toEqual([0, 0]);
    kernel.connections = [offloaded];
    expect([await read(), await read()]).toEqual([1, 2]);
    kernel.connections = [];
    expect([await read(), await read()]).toEqual([2, 2]);
  });
});

it('flowtables are read from what nft lists', () => {
  expect(parseFlowtables('table inet fw4 {\n\tflowtable ft {\n\t\thook ingress priority filter\n\t\tdevices = { eth0, br-lan }\n\t\tflags offload\n\t\tcounter\n\t}\n\tflowtable other {\n\t\thook ingress priority 0\n\t}\n}\ntable ip x {\n\tflowtable f {\n\t}\n}\n')).toEqual([{ ...fast, hardware: true }, { table: 'inet fw4', name: 'other', hardware: false }, { table: 'ip x', name: 'f', hardware: false }]);
});
