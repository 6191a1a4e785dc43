import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { addresses, devices } from '../lab/addresses.js';
import { Capture, watchUnderlay } from '../lab/capture.js';
import { commandLine, Daemon } from '../lab/daemon.js';
import { changes, networkState } from '../lab/judge.js';
import { keepOn } from '../lab/keep-on.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import type { Answer, Probe } from '../lab/probe.js';
import { sleep, until } from '../lab/wait.js';

const { lan, tunnel } = addresses;
/** Emulated, a dial takes about a second, and more when the machine below has other work. */
const patienceMs = 30_000;
const families = ['ipv4', 'ipv6'] as const;
const kinds = ['tcp', 'udp', 'ping'] as const;

type Ask = (probe: Probe, address: string) => Promise<Answer>;
const asks: Readonly<Record<(typeof kinds)[number], Ask>> = {
  tcp: (probe, address) => probe.connect(address, servicePort, patienceMs),
  udp: (probe, address) => probe.ask(address, servicePort, patienceMs),
  ping: (probe, address) => probe.ping(address, patienceMs),
};

const cases = kinds.flatMap((kind) => (['lan', 'router'] as const).flatMap((from) => families.map((family) => ({ kind, from, family }))));

/** What the service sees as the source. */
const sources = { lan: { ipv4: lan.host, ipv6: lan.host6 }, router: { ipv4: tunnel.client, ipv6: tunnel.client6 } } as const;

/** The whole of what the daemon is for, with a real OpenVPN: function, not speed. */
export function mainJob(gate: 'nft' | 'condition'): void {
  describe(`the main job, gate: ${gate}`, () => {
    const options = (keys: Readonly<Record<string, unknown>> = {}) => ({ top: { gate }, tunnel: { backoff: { start: '100ms', max: '200ms' }, ...keys } });
    let lab: Lab;
    let daemon: Daemon;
    let leaks: Capture;
    let delivered: Capture;
    let untouched: readonly string[];
    let port = 9000;

    beforeAll(async () => {
      // Emulated, the server's OpenVPN reads too late what a burst brings: its buffer is larger than usual.
      lab = await Lab.open({ server: { lines: ['rcvbuf 425984'] } });
      untouched = await networkState(lab.topology.router);
      daemon = await Daemon.start(lab, options());
      leaks = await watchUnderlay(lab.topology, 'leaks');
      delivered = await Capture.start(lab.topology.service, devices.service, `port ${servicePort} or icmp or icmp6`, { folder: lab.folder, label: 'service' });
    });

    afterAll(() => lab.close());

    const nothingInClear = async (): Promise<void> => {
      expect((await leaks.seen()).packets).toEqual([]);
    };

    const idle = async (): Promise<void> => {
      await daemon.down();
      expect(await daemon.reaches('idle')).toMatchObject({ gate: 'hold', held: { packets: 0 } });
      await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0);
    };

    it.each(cases)('the first packet is held, wakes the tunnel and is answered: $kind, $from, $family', async ({ kind, from, family }) => {
      const before = (await delivered.seen()).packets.length;
      expect(await asks[kind](lab.probes[from], serviceAddress[family])).toMatchObject({ ok: true });
      const { gate: state, counters, lastWake } = await daemon.reaches('up');
      expect(state).toBe('open');
      expect(counters).toMatchObject({ dropped: 0, rejected: 0, dialFailures: 0 });
      expect(lastWake).toMatchObject({ packet: { destination: serviceAddress[family] } });
      expect(lastWake?.released).toBeGreaterThan(0);
      const arrived = (await delivered.seen()).packets.slice(before).join('\n');
      expect(arrived).toContain(` ${sources[from][family]}${kind === 'ping' ? ' ' : '.'}`);
      await idle();
      await nothingInClear();
    });

    it('while the tunnel is up no packet passes user space', async () => {
      await daemon.up();
      await daemon.reaches('up');
      const before = daemon.queue();
      for (const { kind, from, family } of cases) expect(await asks[kind](lab.probes[from], serviceAddress[family])).toMatchObject({ ok: true });
      expect(daemon.queue()).toEqual(before);
      await idle();
    });

    it.each([
      { from: 'lan', family: 'ipv4', count: 500 }, { from: 'lan', family: 'ipv6', count: 500 }, { from: 'router', family: 'ipv4', count: 200 },
    ] as const)('$count datagrams at once from the $from, $family: all received, in order', async ({ from, family, count }) => {
      port += 1;
      const receiver = await lab.probes.service.receive(lab.folder, port, count, 5_000);
      expect(await lab.probes[from].send({ address: serviceAddress[family], port, count, rate: 0 })).toMatchObject({ ok: true, sent: count });
      const received = await receiver();
      expect({ ...received, drops: received.missing > 0 ? await lab.drops() : '' }).toMatchObject({ received: count, missing: 0, outOfOrder: 0, duplicates: 0, drops: '' });
      await idle();
      await nothingInClear();
    });

    it('goes down by itself after the idle time, and wakes again', async () => {
      await daemon.stop();
      daemon = await Daemon.start(lab, options({ idle: '3s' }));
      for (const probe of [lab.probes.lan, lab.probes.router, lab.probes.lan]) {
        const asked = performance.now();
        expect(await asks.udp(probe, serviceAddress.ipv4)).toMatchObject({ ok: true });
        await until('the device is gone', () => !daemon.hasDevice(), { timeoutMs: patienceMs });
        expect(performance.now() - asked).toBeGreaterThan(3_000);
        await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0);
      }
      expect((await daemon.reaches('idle')).counters).toMatchObject({ wakes: 3, dropped: 0, rejected: 0, dialFailures: 0 });
      await nothingInClear();
    });

    describe('kill -9 under traffic', () => {
      let endTraffic: () => Promise<void>;
      beforeAll(() => {
        endTraffic = startTraffic(lab);
      });
      afterAll(() => endTraffic());

      const answeredAgain = async (): Promise<void> => {
        await until('an answer', async () => (await asks.tcp(lab.probes.lan, serviceAddress.ipv4)).ok, { timeoutMs: 2 * patienceMs });
        await nothingInClear();
      };

      it.each(['dialing', 'up', 'draining'] as const)('of the daemon, when it is %s: nothing in clear, and the next one takes over', async (state) => {
        await daemon.reaches('up', { timeoutMs: patienceMs });
        // what the traffic sends meanwhile makes it dial again at once
        const closing = state === 'up' ? undefined : daemon.down().catch(() => undefined); // it dies before it answers
        await daemon.reaches(state, { timeoutMs: patienceMs, everyMs: 2 });
        await daemon.kill();
        await closing;
        await sleep(1_000); // of traffic without it
        await nothingInClear();
        daemon = await Daemon.start(lab, options({ idle: '1s' }));
        await answeredAgain();
      });

      it('of OpenVPN: nothing in clear, and the next packet dials again', async () => {
        await daemon.reaches('up', { timeoutMs: patienceMs });
        const [pid] = await daemon.openvpnPids();
        process.kill(pid!, 'SIGKILL');
        await until('another OpenVPN', async () => (await daemon.openvpnPids()).some((other) => other !== pid), { timeoutMs: patienceMs });
        await answeredAgain();
      });

      it('of a daemon that nobody starts again: still nothing in clear, and `flush` removes all of it', async () => {
        await daemon.kill();
        await sleep(1_000);
        await nothingInClear();
        await lab.topology.router.run(commandLine[0], [commandLine[1], 'flush', '--socket', daemon.socket]);
        // now it does go in clear: there was traffic all the while, and the witness sees it
        await until('packets in clear', async () => (await leaks.seen()).packets.length > 10);
        await endTraffic();
        await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0);
        expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
      });
    });
  });
}

/** Datagrams and connects from the LAN and from the router, until it is told to end. */
function startTraffic({ probes }: Lab): () => Promise<void> {
  return keepOn([
    () => probes.lan.send({ address: serviceAddress.ipv4, port: 9000, count: 20, rate: 100 }),
    () => probes.router.send({ address: serviceAddress.ipv6, port: 9000, count: 20, rate: 100 }),
    () => probes.lan.connect(serviceAddress.ipv6, servicePort, 500),
    () => probes.router.connect(serviceAddress.ipv4, servicePort, 500),
  ], 20);
}
