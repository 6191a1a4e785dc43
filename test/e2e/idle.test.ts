import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { addresses } from '../lab/addresses.js';
import { watchUnderlay } from '../lab/capture.js';
import { Daemon, type DaemonOptions } from '../lab/daemon.js';
import { contextSwitches } from '../lab/judge.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { sleep, until } from '../lab/wait.js';

const long = process.env['OOD_LONG'] !== undefined;
const rounds = long ? 100 : 10;
/** V8 collects, compiles and shrinks for about this long after the last work. */
const settleMs = 30_000;
const windowMs = long ? 60_000 : 10_000;
const timeLimitMs = long ? 900_000 : 150_000;

// Three labs that mostly wait: at the same time, each judged by its own test.
describe('idle', () => {
  const labs: Lab[] = [];
  let inRounds: Experiment;
  let byOpenvpn: Experiment;
  let quiet: Experiment;

  beforeAll(async () => {
    for (let i = 0; i < 3; i++) labs.push(await Lab.open());
    const [first, second, third] = labs as [Lab, Lab, Lab];
    quiet = experiment(stayQuiet(first));
    inRounds = experiment(repeat(second, rounds, { tunnel: { idle: '3s' } }));
    byOpenvpn = experiment(repeat(third, 2, { tunnel: { idle: { after: '3s', by: 'openvpn' } } }));
  });

  afterAll(async () => {
    await Promise.all(labs.map((lab) => lab.close()));
  });

  it('by OpenVPN\'s own --inactive: the tunnel ends by itself, and wakes again', async () => {
    await byOpenvpn();
  }, timeLimitMs);

  it(`with \`idle: 3s\` the tunnel is gone 3 to 5 s after the last packet, and wakes again, ${rounds} times`, async () => {
    await inRounds();
  }, timeLimitMs);

  it('with `standby: cold` there is no process, no byte on the underlay and no context switch', async () => {
    await quiet();
  }, timeLimitMs);
});

type Experiment = () => Promise<void>;

/** It runs already; what it throws is thrown where it is waited for. */
function experiment(running: Promise<void>): Experiment {
  running.catch(() => undefined);
  return () => running;
}

/** One packet, and the tunnel's end in its time, again and again. */
async function repeat(lab: Lab, times: number, options: DaemonOptions): Promise<void> {
  const daemon = await Daemon.start(lab, options);
  const leaks = await watchUnderlay(lab.topology, 'leaks');
  const took: number[] = [];
  for (let round = 1; round <= times; round++) {
    // In turn: forwarded and local, IPv4 and IPv6.
    const probe = round % 2 === 0 ? lab.probes.lan : lab.probes.router;
    const address = round % 4 < 2 ? serviceAddress.ipv4 : serviceAddress.ipv6;
    expect(await probe.ask(address, servicePort)).toMatchObject({ ok: true });
    const answered = performance.now();
    await until('the device is gone', () => !daemon.hasDevice(), { everyMs: 20 });
    const goneAfterMs = performance.now() - answered;
    expect(goneAfterMs).toBeGreaterThan(3_000);
    took.push(goneAfterMs);
    await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0, { everyMs: 50 });
    // Nobody could close the gate before OpenVPN's own end: a datagram may come before the trap is set again.
    expect(await daemon.reaches('idle')).toMatchObject({ counters: { dialFailures: 0 } });
  }
  // On a busy machine one may be late. OpenVPN's own clock counts whole seconds, and it takes one more to take leave.
  if (typeof options.tunnel?.['idle'] === 'string') expect(took.sort((a, b) => a - b)[Math.floor(times / 2)]).toBeLessThan(5_000);
  expect((await daemon.reaches('idle')).counters).toMatchObject({ wakes: times, dropped: 0, rejected: 0, dialFailures: 0 });
  expect((await leaks.stop()).packets).toEqual([]);
}

async function stayQuiet(lab: Lab): Promise<void> {
  const daemon = await Daemon.start(lab);
  expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true });
  await daemon.reaches('up');
  await daemon.down();
  await daemon.reaches('idle');
  // After the last packet the neighbours' kernels assure themselves of each other (ARP, for up to 8 s).
  await sleep(10_000);
  const wire = await watchUnderlay(lab.topology, 'wire', '');
  await sleep(settleMs - 10_000);
  expect(await daemon.openvpnPids()).toEqual([]);
  const switches = await switchesPerWindow(daemon.pid);
  expect(switches.at(-1)).toBe(0);
  expect((await wire.seen()).packets).toEqual([]);
  // The witness does see this wire: a packet of another kind at the end.
  await lab.probes.router.ping(addresses.underlay.server);
  expect((await wire.stop()).bytes).toBeGreaterThan(0);
  expect((await daemon.status()).state).toBe('idle');
}

/**
 * Context switches in windows of `windowMs`, up to the first without any. On a busy machine V8's last clean-up comes
 * late: one silent window is asked for, not that it is the first.
 */
async function switchesPerWindow(pid: number): Promise<number[]> {
  const windows: number[] = [];
  while (windows.length < 6 && windows.at(-1) !== 0) {
    const before = contextSwitches(pid);
    await sleep(windowMs);
    windows.push(contextSwitches(pid) - before);
  }
  return windows;
}
