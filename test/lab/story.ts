import { isDeepStrictEqual } from 'node:util';
import type { TunnelStatus } from '../../src/control/api.js';
import { addresses } from './addresses.js';
import { type Capture, watchUnderlay } from './capture.js';
import { Daemon } from './daemon.js';
import { changes, networkState } from './judge.js';
import { type Lab, serviceAddress, servicePort } from './lab.js';
import { sleep } from './wait.js';

/** What the steps of the story act on and look at. */
export interface Stage {
  readonly lab: Lab;
  readonly daemon: Daemon;
  /** Sees every frame on the underlay. */
  readonly wire: Capture;
  /** Sees what is in clear on the underlay, from or to the protected network. */
  readonly leaks: Capture;
  /** The router's firewall and routes before the daemon came. */
  readonly untouched: readonly string[];
}

/** One step: what is done, and what must be seen then. `check` resolves with what a person reads; it throws otherwise. */
export interface Step {
  readonly title: string;
  readonly play: (stage: Stage) => Promise<string>;
  /** Left out with --keep: it ends what is to be kept. */
  readonly last?: boolean;
}

/** A step with the result of its action given to its check. */
function step<Outcome>(title: string, action: (stage: Stage) => Promise<Outcome>, check: (outcome: Outcome, stage: Stage) => string | Promise<string>, last = false): Step {
  return { title, last, play: async (stage) => check(await action(stage), stage) };
}

const idle = '3s';
const quietMs = 2_000;
const burst = 500;
const { ipv4, ipv6 } = serviceAddress;

/** The daemon with an idle time that a person can wait for, and the witnesses, ready before anything is sent. */
export async function setStage(lab: Lab): Promise<Stage> {
  const untouched = await networkState(lab.topology.router);
  const [wire, leaks] = await Promise.all([watchUnderlay(lab.topology, 'wire', ''), watchUnderlay(lab.topology, 'leaks')]);
  const daemon = await Daemon.start(lab, { tunnel: { idle } });
  return { lab, daemon, wire, leaks, untouched };
}

export const story: readonly Step[] = [
  step(
    'idle: nothing runs, nothing is on the wire',
    (stage) => bytesIn(stage, quietMs),
    async (bytes, { daemon }) => {
      must('0 bytes on the underlay', bytes, 0);
      must('no openvpn process', await daemon.openvpnPids(), []);
      must('the gate', (await daemon.status()).gate, 'hold');
      return `0 bytes on the underlay in ${quietMs / 1000} s, no openvpn process`;
    },
  ),
  step(
    `the LAN host connects to ${ipv4} port ${servicePort}`,
    ({ lab }) => lab.probes.lan.connect(ipv4, servicePort),
    async ({ ok, ms, retransmits, error }, { daemon }) => {
      must('connected', ok || error, true);
      must('SYNs sent again', retransmits, 0);
      return `connected after ${tenth(ms)} ms by the first SYN; ${told(await daemon.reaches('up'))}`;
    },
  ),
  step(
    `it pings ${ipv6}: no packet passes user space now`,
    async ({ lab, daemon }) => {
      const before = daemon.queue().lastId;
      const { ok, ms } = await lab.probes.lan.ping(ipv6);
      return { ok, ms, queued: daemon.queue().lastId - before };
    },
    ({ ok, ms, queued }) => {
      must('answered', ok, true);
      must('packets that passed user space', queued, 0);
      return `answered after ${tenth(ms)} ms, 0 packets in the queue`;
    },
  ),
  step('idle again', becomesIdle, (seconds) => `the tunnel was gone ${tenth(seconds)} s after the last packet (idle: ${idle})`),
  step(
    `${burst} UDP datagrams of one flow from the LAN host, all at once`,
    async ({ lab }) => {
      const receiver = await lab.probes.service.receive(lab.folder, 9000, burst);
      await lab.probes.lan.send({ address: ipv4, port: 9000, count: burst, rate: 0 });
      return receiver();
    },
    async ({ received, outOfOrder, duplicates }, { daemon }) => {
      must('received', received, burst);
      must('out of order or twice', outOfOrder + duplicates, 0);
      return `${received} received, in order; ${told(await daemon.reaches('up'))}`;
    },
  ),
  step('idle again', becomesIdle, (seconds) => `gone ${tenth(seconds)} s after the last packet`),
  step(
    `a program on the router itself connects to ${ipv6} port ${servicePort}`,
    ({ lab }) => lab.probes.router.connect(ipv6, servicePort),
    async ({ ok, ms, retransmits, source, error }, { daemon }) => {
      must('connected', ok || error, true);
      must('SYNs sent again', retransmits, 0);
      return `connected from ${source ?? '?'} after ${tenth(ms)} ms by the first SYN; ${told(await daemon.reaches('up'))}`;
    },
  ),
  step(
    'all the while, tcpdump at the far end of the underlay',
    async ({ leaks, wire }) => ({ leaked: await leaks.seen(), all: await wire.seen() }),
    ({ leaked, all }) => {
      must('packets in clear', leaked.packets, []);
      // The witness must have seen something, or it proves nothing.
      must('OpenVPN\'s own packets seen', all.packets.length > burst, true);
      return `0 of ${all.packets.length} packets were from or to ${addresses.service.prefix} or ${addresses.service.prefix6}`;
    },
  ),
  step(
    'the daemon ends: the router is as it was',
    ({ daemon }) => daemon.stop(),
    async (exit, { daemon, lab, untouched }) => {
      must('exit status', exit.code, 0);
      must('openvpn processes', await daemon.openvpnPids(), []);
      must('changes of firewall, sets, routes', changes(untouched, await networkState(lab.topology.router)), []);
      return 'exit status 0, no rule, set, route or process left';
    },
    true,
  ),
];

/** Frames on the underlay within a time, in bytes. */
async function bytesIn({ wire }: Stage, ms: number): Promise<number> {
  const before = (await wire.seen()).bytes;
  await sleep(ms);
  return (await wire.seen()).bytes - before;
}

/** Resolves with the seconds until OpenVPN was gone and the trap was set again. */
async function becomesIdle({ daemon }: Stage): Promise<number> {
  const start = performance.now();
  await daemon.reaches('idle', { timeoutMs: 15_000, everyMs: 100 });
  const seconds = (performance.now() - start) / 1000;
  must('openvpn processes', await daemon.openvpnPids(), []);
  return seconds;
}

function told({ lastWake }: TunnelStatus): string {
  if (lastWake?.released === undefined) throw new Error(`no wake was told: ${JSON.stringify(lastWake)}`);
  return `held ${lastWake.released}, dialled in ${lastWake.dialMs ?? '?'} ms, released within ${lastWake.releaseMs ?? '?'} ms`;
}

function tenth(value: number): string {
  return value.toFixed(1);
}

function must(what: string, seen: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(seen, wanted)) throw new Error(`${what}: ${show(seen)} in place of ${show(wanted)}`);
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
