import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstValueFrom, Subject } from 'rxjs';
import { parseConfiguration, type TunnelSettings } from '../../../src/config/load.js';
import { DaemonError } from '../../../src/core/errors.js';
import { DEFAULT_MARK, marksOf } from '../../../src/core/marks.js';
import type { LogPort } from '../../../src/core/ports.js';
import type { State } from '../../../src/core/state.js';
import { FakeGate } from '../../../src/gate/fake.js';
import { systemClock } from '../../../src/host/clock.js';
import type { AskName, NameAnswer } from '../../../src/host/name-lookup.js';
import { HoldQueue } from '../../../src/nfqueue/queue.js';
import { TunnelSet, type Reloaded } from '../../../src/tunnel-set.js';
import { until } from '../../lab/wait.js';

const marks = marksOf(DEFAULT_MARK);
const quiet = (): void => undefined;
const log: LogPort = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const [host, oldAddress, newAddress] = ['10.99.3.1', '203.0.113.1', '203.0.113.2'];
const answer = (address: string): NameAnswer => ({ ipv4: [address], ipv6: [], ttlMs: undefined, problem: undefined });

const office = { command: { up: ['true'], down: ['true'] }, device: 'lo', queue: 64100, protect: ['10.99.0.0/16'], linger: '0s' };
const dialing = { ...office, command: { up: ['sleep', '60'], down: ['true'] }, protect: ['10.99.0.0/16', 'intranet.lab'] };
const lab = { ...office, device: 'ovpn-lab', queue: 64101, protect: ['10.98.0.0/16'] };

const settingsOf = (tunnels: Readonly<Record<string, object>>): readonly TunnelSettings[] => parseConfiguration(JSON.stringify({ tunnels }), '/test.yaml').tunnels;

/** Its next install fails, or stops where the test says, until that lets it go on. */
class StoppingGate extends FakeGate {
  stop: 'before' | 'after' | undefined;
  stopped = false;
  /** So many installs fail. */
  refusals = 0;
  readonly #goOn$ = new Subject<void>();

  override async install(...install: Parameters<FakeGate['install']>): Promise<void> {
    const { stop } = this;
    this.stop = undefined;
    if (stop === 'before') await this.#wait();
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new DaemonError('FIREWALL_FAILED', 'no');
    }
    await super.install(...install);
    if (stop === 'after') await this.#wait();
  }

  goOn(): void {
    this.stopped = false;
    this.#goOn$.next();
  }

  #wait(): Promise<void> {
    this.stopped = true;
    return firstValueFrom(this.#goOn$);
  }
}

let folder: string;
let gate: StoppingGate;
let ask: AskName;
let set: TunnelSet;

const file = (name: string): string => join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ood-set-'));
  mkdirSync(file('private'));
  gate = new StoppingGate({ marks });
  ask = () => Promise.resolve(answer(oldAddress));
  set = new TunnelSet({ marks, folder: file('private'), log, clock: systemClock, askName: (name) => ask(name), othersFirst: () => Promise.resolve(), routes: (tunnel) => gate.routes(tunnel), moved: () => set.exempt() }, gate);
});

afterEach(async () => {
  gate.goOn();
  await set.end();
  await set.unbind();
  rmSync(folder, { recursive: true });
});

async function start(tunnels: Readonly<Record<string, object>>): Promise<void> {
  await set.prepare(settingsOf(tunnels));
  await set.install();
  await set.start();
}

const reload = (tunnels: Readonly<Record<string, object>>): Promise<Reloaded> => set.reload(() => Promise.resolve(settingsOf(tunnels)));

/** The reload waits before the gate has the new trap, or before it says so. */
async function startReload(stop: 'before' | 'after', tunnels: Readonly<Record<string, object>>): Promise<{ readonly finish: () => Promise<Reloaded> }> {
  gate.stop = stop;
  const reloaded = reload(tunnels);
  await until('the reload waits for the gate', () => gate.stopped);
  return {
    finish: () => {
      gate.goOn();
      return reloaded;
    },
  };
}

const gateIs = (gateOfOffice: string): Promise<true> => until(`the gate is ${gateOfOffice}`, () => gate.gateOf('office') === gateOfOffice);

/** Once the gate has followed. */
async function say(command: 'up' | 'resume' | { readonly bypass: boolean }, at: State['at'], then: string): Promise<void> {
  await set.get('office').command(typeof command === 'string' ? { type: 'command', command } : { type: 'command', command: 'pause', ...command }, (state) => state.at === at);
  await gateIs(then);
}

const fateOf = (address: string): string => gate.fate('lan', address, { protocol: 'tcp' });

describe('while a reload waits for the gate', () => {
  it('a tunnel that did not change is resumed: nothing goes in clear after it', async () => {
    await start({ office });
    await say({ bypass: true }, 'paused', 'bypass');
    const { finish } = await startReload('before', { office, lab });
    await say('resume', 'idle', 'hold');
    expect(await finish()).toEqual({ started: ['lab'], ended: [], unchanged: ['office'] });
    expect([gate.gateOf('office'), gate.gateOf('lab')]).toEqual(['hold', 'hold']);
    expect(fateOf(host)).toBe('held');
  });

  it('a tunnel that did not change comes up, and stays open', async () => {
    await start({ office });
    const { finish } = await startReload('before', { office, lab });
    await say('up', 'up', 'open');
    await finish();
    expect([gate.gateOf('office'), set.get('office').tunnel.state.at]).toEqual(['open', 'up']);
  });

  it('a tunnel that changed comes up: its gate is closed before its link ends', async () => {
    const down = ['sh', '-c', `touch ${file('ending')}; until [ -e ${file('ended')} ]; do sleep 0.01; done`];
    await start({ office: { ...office, command: { ...office.command, down } } });
    const { finish } = await startReload('after', { office: { ...office, idle: '1h' } });
    await say('up', 'up', 'open');
    const reloaded = finish();
    await until('its link is being ended', () => existsSync(file('ending')));
    const whileEnding = [gate.gateOf('office'), gate.isCatchingFirst('office')];
    writeFileSync(file('ended'), '');
    expect(await reloaded).toEqual({ started: ['office'], ended: ['office'], unchanged: [] });
    expect(whileEnding).toEqual(['hold', true]);
    expect([gate.gateOf('office'), gate.isCatchingFirst('office'), set.get('office').tunnel.state.at]).toEqual(['hold', false, 'idle']);
    const sinceInstall = gate.journal.slice(gate.journal.lastIndexOf('install office'));
    expect(sinceInstall.filter((entry) => entry.startsWith('office: ') && !entry.includes('catch')).at(-1)).toBe('office: hold');
  });

  it.each([[false, 'reject'], [true, 'bypass']] as const)('a tunnel that changed is paused, and so is its successor (bypass: %s)', async (bypass, then) => {
    await start({ office });
    const { finish } = await startReload('after', { office: { ...office, idle: '1h' } });
    await say({ bypass }, 'paused', then);
    await finish();
    expect([gate.gateOf('office'), set.get('office').tunnel.state]).toEqual([then, expect.objectContaining({ at: 'paused', bypass })]);
  });
});

it('a tunnel can be paused as soon as the reload that changed it is over', async () => {
  await start({ office });
  await reload({ office: { ...office, idle: '1h' } });
  await say({ bypass: false }, 'paused', 'reject');
  await say('resume', 'idle', 'hold');
});

describe('what a name stands for now is protected', () => {
  const look = (): void => { set.get('office').tell({ type: 'network', what: 'changed' }); };

  it('after a reload that was refused since somebody else has a queue', async () => {
    await start({ office: dialing });
    const other = await HoldQueue.open({ tunnel: 'other', num: lab.queue, packets: 1, device: 'lo', marks, silent: true }, { clock: systemClock, log, othersFirst: () => Promise.resolve() });
    try {
      ask = () => Promise.resolve(answer(newAddress));
      await expect(reload({ office: dialing, lab })).rejects.toMatchObject({ code: 'QUEUE_IN_USE' });
    } finally {
      await other.close();
    }
    look();
    await until('the new address is protected', () => fateOf(newAddress) === 'held');
  });

  it('after a reload that the gate refused', async () => {
    await start({ office: dialing });
    ask = () => Promise.resolve(answer(newAddress));
    gate.refusals = 1;
    await expect(reload({ office: dialing, lab })).rejects.toMatchObject({ code: 'FIREWALL_FAILED' });
    expect([fateOf(newAddress), [...set].map(({ name }) => name)]).toEqual(['held', ['office']]);
  });

  it('after a reload that the gate refused, which could not be put back either', async () => {
    await start({ office: dialing });
    ask = () => Promise.resolve(answer(newAddress));
    gate.refusals = 2;
    await expect(reload({ office: dialing, lab })).rejects.toMatchObject({ code: 'FIREWALL_FAILED' });
    expect(fateOf(newAddress)).toBe('underlay');
    look();
    await until('the new address is protected', () => fateOf(newAddress) === 'held');
  });

  it('and what it stood for, too, if a reload changes the tunnel while it is wanted; until the next answer', async () => {
    await start({ office: dialing });
    await set.get('office').command({ type: 'command', command: 'up' }, ({ at }) => at === 'dialing');
    ask = () => Promise.resolve(answer(newAddress));
    await reload({ office: { ...dialing, idle: '9m' } });
    expect([fateOf(oldAddress), fateOf(newAddress)]).toEqual(['held', 'held']);
    look();
    await until('the old address is left', () => fateOf(oldAddress) === 'underlay');
    expect(fateOf(newAddress)).toBe('held');
  });

  it('and what it stood for, too, if the tunnel was wanted before the answer came', async () => {
    await start({ office: dialing });
    const answers$ = new Subject<NameAnswer>();
    ask = () => firstValueFrom(answers$);
    look();
    await until('it is asked for', () => answers$.observed);
    await set.get('office').command({ type: 'command', command: 'up' }, ({ at }) => at === 'dialing');
    answers$.next(answer(newAddress));
    await until('the new address is protected', () => fateOf(newAddress) === 'held');
    expect([fateOf(oldAddress), fateOf(host), set.get('office').tunnel.state.at]).toEqual(['held', 'held', 'dialing']);
  });
});
