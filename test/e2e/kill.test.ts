import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { commandLine, Daemon } from '../lab/daemon.js';
import { changes, networkState } from '../lab/judge.js';
import { keepOn } from '../lab/keep-on.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { sleep, until } from '../lab/wait.js';

const [node, script] = commandLine;
const long = process.env['OOD_LONG'] !== undefined;

const options = { tunnel: { idle: '1s', backoff: { start: '100ms', max: '200ms' } } };

/** How long after its start, in ms, something is killed: from before it has done anything to long after it is up. */
const moments = long ? range(0, 1200, 10) : range(30, 900, 80);
/** How long after `down`. */
const closingMoments = long ? range(0, 300, 3) : [0, 5, 20, 60, 150, 250];
const openvpnMoments = long ? range(0, 60, 1) : [0, 2, 4, 6, 8, 12, 20, 40, 200];

describe('kill -9 under traffic', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;
  let untouched: readonly string[];
  let endTraffic: () => Promise<void>;

  beforeAll(async () => {
    lab = await Lab.open();
    untouched = await networkState(lab.topology.router);
    daemon = await Daemon.start(lab, options);
    leaks = await watchUnderlay(lab.topology, 'leaks');
    endTraffic = startTraffic(lab);
  });

  afterAll(async () => {
    await endTraffic();
    await lab.close();
  });

  it('of the daemon, at any moment: nothing in clear, and the next one takes over', async () => {
    await daemon.kill();
    for (const moment of moments) {
      daemon = Daemon.launch(lab, options);
      await sleep(moment);
      await daemon.kill();
      await sleep(50);
      expect((await leaks.seen()).packets).toEqual([]);
    }
    daemon = await Daemon.start(lab, options);
    await eventuallyAnswered(lab);
    expect((await leaks.seen()).packets).toEqual([]);
  }, moments.length * 2_000 + 30_000);

  it('of the daemon while it closes the gate and ends the tunnel: nothing in clear', async () => {
    for (const moment of closingMoments) {
      await daemon.reaches('up'); // the traffic dials
      const closing = daemon.down().catch(() => undefined); // it dies before it answers
      await sleep(moment);
      await daemon.kill();
      await closing;
      await sleep(50);
      expect((await leaks.seen()).packets).toEqual([]);
      daemon = await Daemon.start(lab, options);
    }
    await eventuallyAnswered(lab);
    expect((await leaks.seen()).packets).toEqual([]);
  }, closingMoments.length * 5_000 + 30_000);

  it('of OpenVPN, at any moment: nothing in clear, and the next packet dials again', async () => {
    for (const moment of openvpnMoments) {
      const pid = await until('OpenVPN runs', async () => (await daemon.openvpnPids())[0], { everyMs: 1 });
      await sleep(moment);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        continue; // it had ended by itself
      }
      await sleep(20);
      expect((await leaks.seen()).packets).toEqual([]);
    }
    await eventuallyAnswered(lab);
    expect((await leaks.seen()).packets).toEqual([]);
  }, openvpnMoments.length * 5_000 + 30_000);

  it('of the server: nothing in clear', async () => {
    await daemon.reaches('up');
    await lab.server.kill();
    await sleep(300);
    await daemon.down();
    await sleep(300);
    await lab.server.start();
    await eventuallyAnswered(lab);
    expect((await leaks.seen()).packets).toEqual([]);
  });

  it('of a daemon that nobody starts again: still nothing in clear, and `flush` removes all of it', async () => {
    await daemon.kill();
    await sleep(300);
    expect((await leaks.seen()).packets).toEqual([]);
    await lab.topology.router.run(node, [script, 'flush', '--socket', daemon.socket]);
    // Now it does go in clear: there was traffic all the while, and the witness sees it.
    await until('packets in clear', async () => (await leaks.seen()).packets.length > 100);
    await endTraffic();
    await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0);
    expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
  });
});

/** Flows from the LAN and from the router, IPv4 and IPv6, and connects, until it is told to end. */
function startTraffic({ probes }: Lab): () => Promise<void> {
  return keepOn([probes.lan, probes.router].flatMap((probe) => Object.values(serviceAddress).flatMap((address) => [
    () => probe.send({ address, port: 9000, count: 200, rate: 400 }),
    () => probe.connect(address, servicePort, 300),
  ])), 5);
}

async function eventuallyAnswered({ probes }: Lab): Promise<void> {
  for (const probe of [probes.lan, probes.router]) {
    for (const address of Object.values(serviceAddress)) {
      await until(`an answer from ${address}`, async () => (await probe.connect(address, servicePort, 1_000)).ok, { timeoutMs: 15_000, everyMs: 50 });
    }
  }
}

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
}
