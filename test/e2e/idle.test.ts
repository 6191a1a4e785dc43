import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { addresses } from '../lab/addresses.js';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { contextSwitches } from '../lab/judge.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { sleep, until } from '../lab/wait.js';

const long = process.env['OOD_LONG'] !== undefined;

/** V8 collects, compiles and shrinks for about this long after the last work. */
const settleMs = long ? 60_000 : 30_000;
const watchedMs = long ? 60_000 : 10_000;
const rounds = long ? 100 : 10;

// Two labs at a time: while V8 settles in the first, the second one does its rounds.
describe('idle', () => {
  let quiet: Lab;
  let quietDaemon: Daemon;
  let wire: Promise<Capture>;
  let quietSince: number;

  beforeAll(async () => {
    quiet = await Lab.open();
    quietDaemon = await Daemon.start(quiet);
    expect(await quiet.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true });
    await quietDaemon.reaches('up');
    await quietDaemon.down();
    await quietDaemon.reaches('idle');
    quietSince = performance.now();
    // After the last packet the neighbours' kernels assure themselves of each other (ARP, for up to 8 s).
    wire = sleep(10_000).then(() => watchUnderlay(quiet.topology, 'wire', ''));
  });

  afterAll(() => quiet.close());

  it(`with \`idle: 3s\` the tunnel is gone 3 to 5 s after the last packet, and wakes again, ${rounds} times`, async () => {
    const lab = await Lab.open();
    try {
      const daemon = await Daemon.start(lab, { tunnel: { idle: '3s' } });
      const leaks = await watchUnderlay(lab.topology, 'leaks');
      for (let round = 1; round <= rounds; round++) {
        // In turn: forwarded and local, IPv4 and IPv6.
        const probe = round % 2 === 0 ? lab.probes.lan : lab.probes.router;
        const address = round % 4 < 2 ? serviceAddress.ipv4 : serviceAddress.ipv6;
        expect(await probe.ask(address, servicePort)).toMatchObject({ ok: true });
        const answered = performance.now();
        await until('the device is gone', () => !daemon.hasDevice(), { timeoutMs: 10_000, everyMs: 20 });
        const goneAfterMs = performance.now() - answered;
        expect(goneAfterMs).toBeGreaterThan(3_000);
        expect(goneAfterMs).toBeLessThan(5_000);
        await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0, { everyMs: 50 });
      }
      expect((await daemon.reaches('idle')).counters).toMatchObject({ wakes: rounds, dropped: 0, rejected: 0, dialFailures: 0 });
      expect((await leaks.stop()).packets).toEqual([]);
    } finally {
      await lab.close();
    }
  }, rounds * 7_000 + 20_000);

  it('with `standby: cold` there is no process, no byte on the underlay and no context switch', async () => {
    await sleep(Math.max(0, settleMs - (performance.now() - quietSince)));
    expect(await quietDaemon.openvpnPids()).toEqual([]);
    // On a busy machine V8's last clean-up comes late: one silent window is asked for, not the first.
    const switches = await switchesPerWindow(quietDaemon.pid);
    expect(switches.at(-1)).toBe(0);
    const witness = await wire;
    expect((await witness.seen()).packets).toEqual([]);
    // The witness does see this wire: a packet of another kind at the end.
    await quiet.probes.router.ping(addresses.underlay.server);
    expect((await witness.stop()).bytes).toBeGreaterThan(0);
    expect((await quietDaemon.status()).state).toBe('idle');
  }, settleMs + 4 * watchedMs + 20_000);
});

/** Context switches in windows of `watchedMs`, up to the first without any, or four. */
async function switchesPerWindow(pid: number): Promise<number[]> {
  const windows: number[] = [];
  while (windows.length < 4 && windows.at(-1) !== 0) {
    const before = contextSwitches(pid);
    await sleep(watchedMs);
    windows.push(contextSwitches(pid) - before);
  }
  return windows;
}
