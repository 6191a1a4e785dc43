import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuspendWatch } from '../../../src/host/suspend.js';
import { sleep, until } from '../../lab/wait.js';
import { FakeLogind, startBus } from './fake-logind.js';

const told: string[] = [];
const note = ({ event }: { event: string }): void => { told.push(event); };
const log = { debug: note, info: note, warn: note, error: note };

let folder: string;
let cleanUps: (() => unknown)[];
let sleptMs: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ood-bus-'));
  cleanUps = [() => { rmSync(folder, { recursive: true }); }];
  sleptMs = 0;
  told.length = 0;
});
afterEach(async () => { for (const cleanUp of cleanUps.reverse()) await cleanUp(); });

function watch(bus: string): { suspend: SuspendWatch; resumed: string[] } {
  const suspend = new SuspendWatch({ bus, sleptMs: () => sleptMs }, log);
  const resumed: string[] = [];
  suspend.resumed$.subscribe((word) => { resumed.push(word); });
  cleanUps.push(() => { suspend.close(); });
  return { suspend, resumed };
}

describe('a sleep of the machine', () => {
  it('is told by logind, over the bus, when it is over', async () => {
    const bus = await startBus(folder);
    cleanUps.push(bus.stop);
    const logind = await FakeLogind.start(bus.path);
    cleanUps.push(() => { logind.close(); });
    const { suspend, resumed } = watch(bus.path);
    expect(await suspend.listening).toBe(true);
    for (let round = 1; round <= 2; round++) {
      logind.prepareForSleep(true);
      await sleep(50);
      expect(resumed).toHaveLength(round - 1);
      sleptMs += 3_600_000;
      logind.prepareForSleep(false);
      await until('it is told', () => resumed.length === round);
    }
    suspend.look(); // known already
    expect(resumed).toEqual(['resumed', 'resumed']);
  });

  it('that did not come about is none; and only logind is believed', async () => {
    const bus = await startBus(folder);
    cleanUps.push(bus.stop);
    const logind = await FakeLogind.start(bus.path);
    cleanUps.push(() => { logind.close(); });
    const { suspend, resumed } = watch(bus.path);
    expect(await suspend.listening).toBe(true);
    logind.prepareForSleep(true);
    logind.prepareForSleep(false);
    await sleep(50);
    expect(resumed).toEqual([]);
    sleptMs = 5000;
    await execa('dbus-send', [`--bus=unix:path=${bus.path}`, '--type=signal', '/org/freedesktop/login1', 'org.freedesktop.login1.Manager.PrepareForSleep', 'boolean:false']);
    await sleep(50);
    expect(resumed).toEqual([]);
    logind.prepareForSleep(false);
    await until('it is told', () => resumed.length === 1);
  });

  it('is seen at the next look where there is no bus, or one that says nothing or nonsense', async () => {
    const silent = createServer((socket) => socket.resume()).listen(join(folder, 'silent'));
    const nonsense = createServer((socket) => { socket.on('error', () => undefined).resume().write('OK x\r\n'.repeat(9)); }).listen(join(folder, 'nonsense'));
    cleanUps.push(() => { silent.close(); }, () => { nonsense.close(); });
    for (const bus of ['none', 'silent', 'nonsense']) {
      const { suspend, resumed } = watch(join(folder, bus));
      if (bus !== 'silent') expect(await suspend.listening).toBe(false);
      suspend.look();
      expect(resumed).toEqual([]);
      sleptMs += 5000;
      suspend.look();
      suspend.look();
      expect(resumed).toEqual(['resumed']);
      suspend.close();
    }
    expect(told).toContain('host.no_bus');
  });

  it('that never was is not seen by the clocks of this machine', async () => {
    const suspend = new SuspendWatch({ bus: join(folder, 'none') }, log);
    const resumed: string[] = [];
    suspend.resumed$.subscribe((word) => { resumed.push(word); });
    await sleep(200);
    suspend.look();
    expect(resumed).toEqual([]);
    suspend.close();
  });
});
