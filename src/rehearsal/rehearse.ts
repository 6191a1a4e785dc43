import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { filter, firstValueFrom, Subject } from 'rxjs';
import type { TunnelSettings } from '../config/load.js';
import type { Step } from '../core/join.js';
import { DEFAULT_MARK, marksOf } from '../core/marks.js';
import type { ClockPort, GatePort, LogPort } from '../core/ports.js';
import { logStep } from '../log-step.js';
import { RunningTunnel, type TunnelMeans } from '../tunnel.js';
import { MANY_TUNNELS } from '../v8.js';
import { playedGate } from './played-gate.js';
import { PlayedKernel, type PlayedPacket, type PlayedQueue } from './played-kernel.js';
import { playOpenvpn } from './played-openvpn.js';

/** How many wakes V8 sees: by every kind of packet one, of so many tunnels at once. */
interface Extent {
  readonly tunnels: number;
  /** Then there are new ones: the first wake of a tunnel is a little different. */
  readonly generations: number;
  /** In the first one they stay up once until they have done what had time until the packets were through. */
  readonly settles: boolean;
}

/** By then V8 has compiled what one wake needs; it takes no longer than the firewall's programs. */
const FEW: Extent = { tunnels: 1, generations: 1, settles: false };
/** By then it has optimized that, too, where it may: measured, a hundred wakes take half of the processor's time. */
const MANY: Extent = { tunnels: 20, generations: 8, settles: true };

const SETTLED_MS = 150;

/** Index of the loopback device. */
const LOOPBACK = 1;

const nothing = (): undefined => undefined;
const done = (): Promise<void> => Promise.resolve();
const silent: LogPort = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** What comes to a router: a SYN of TCP and a datagram of UDP over IPv4 and IPv6, and an echo request, which is its own, too: nobody looks for long who sent that. */
const packets = [
  '4500002800004000400600000a4d01020a630001c0001f9000000000000000005002ffff00000000',
  '6000000000140640fd000000000000000000000000000002fd000000000000000000000000000001c0001f9000000000000000005002ffff00000000',
  '4500001d00004000401100000a4d01020a630001c00000350009000000',
  '60000000000a1140fd000000000000000000000000000002fd000000000000000000000000000001c0000035000a00000000',
  '4500001c00004000400100000a4d01020a6300010800f7ff00000000',
].flatMap((hex, index): PlayedPacket[] => {
  const packet = { payload: Buffer.from(hex, 'hex'), device: LOOPBACK };
  const forwarded: PlayedPacket = { ...packet, from: 'device' };
  return index === 4 ? [forwarded, { ...packet, from: { uid: 0 } }] : [forwarded];
});

/** What the daemon has that its tunnels are to meet here, too. */
export interface RehearsalMeans {
  /** A folder of ours. */
  readonly folder: string;
  readonly clock: ClockPort;
  /** See TunnelMeans. */
  readonly othersFirst: () => Promise<void>;
  /** How many tunnels it has. */
  readonly tunnels: number;
}

/**
 * Wakes tunnels that nobody has, and takes them down, again and again: code that runs for the first time takes V8 ten times
 * as long, code that it has optimized for something else is thrown away, and the first packet would wait for that. All of
 * a tunnel is the real one; the kernel, the firewall and OpenVPN are played. Never rejects.
 */
export async function rehearse({ folder, clock, othersFirst, tunnels }: RehearsalMeans): Promise<void> {
  const paths = { management: join(folder, 'rehearsal'), kernel: join(folder, 'kernel') };
  const extent = tunnels < MANY_TUNNELS ? FEW : MANY;
  const means: TunnelMeans = { marks: marksOf(DEFAULT_MARK), folder, log: silent, clock, routes: () => [], moved: done, askName: () => Promise.reject(new Error('there are no names')), othersFirst, protectAnew: done, played: paths.kernel };
  const closing: (() => unknown)[] = [];
  try {
    const settings = Array.from({ length: extent.tunnels }, (_, index) => settingsOf(index, paths.management));
    const openvpn = await playOpenvpn(paths.management);
    closing.push(() => openvpn.close());
    const kernel = await PlayedKernel.listen(paths.kernel);
    closing.push(() => { kernel.close(); });
    for (let generation = 0; generation < extent.generations; generation++) {
      const gate = playedGate(othersFirst);
      await gate.install(settings.map((each) => ({ ...each, remotes: [] })));
      const rehearsed: RehearsedTunnel[] = [];
      try {
        for (const each of settings) rehearsed.push(await RehearsedTunnel.open(kernel, each, means));
        await Promise.all(rehearsed.map((tunnel) => tunnel.run(gate)));
        await rehearseWith(rehearsed, extent.settles && generation === 0);
      } finally {
        await Promise.all(rehearsed.map((tunnel) => tunnel.close()));
        await gate.remove();
      }
    }
  } catch {
    // it only would have been better
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** Not read from a text: what that takes is not to be in a daemon's memory. */
function settingsOf(index: number, management: string): TunnelSettings {
  return {
    name: `rehearsal${index}`, device: 'lo', queue: index, link: { kind: 'attach', management, remotes: [] },
    protect: [`192.0.2.${index}/32`], names: [], domains: [], exclude: [], established: 'keep', ignore: [], wake: 'both', onFailure: 'reject', standby: 'cold',
    idle: 300_000, hold: { timeout: 10_000, packets: 16 }, linger: 0, minUp: 0, backoff: { start: 1000, max: 1000 },
  };
}

async function rehearseWith(tunnels: readonly RehearsedTunnel[], settling: boolean): Promise<void> {
  for (const packet of packets) {
    await Promise.all(tunnels.map((tunnel) => tunnel.wake(packet)));
    if (settling && packet === packets[0]) await setTimeout(SETTLED_MS);
    await Promise.all(tunnels.map((tunnel) => tunnel.rest()));
  }
}

class RehearsedTunnel {
  readonly #tunnel: RunningTunnel;
  readonly #queue: PlayedQueue;
  readonly #steps$ = new Subject<Step>();

  private constructor(tunnel: RunningTunnel, queue: PlayedQueue) {
    this.#tunnel = tunnel;
    this.#queue = queue;
    this.#steps$.subscribe((step) => { logStep(step, silent); });
  }

  static async open(kernel: PlayedKernel, settings: TunnelSettings, means: TunnelMeans): Promise<RehearsedTunnel> {
    const tunnel = await RunningTunnel.create(settings, means);
    const opened = kernel.opened();
    await tunnel.bind();
    return new RehearsedTunnel(tunnel, await opened);
  }

  run(gate: GatePort): Promise<void> {
    return this.#tunnel.run(gate, this.#steps$);
  }

  /** Rejects if it fails: a machine that stood still may have let the dial time out, and nobody is to wait for what won't come. */
  async wake(packet: PlayedPacket): Promise<void> {
    const awake = firstValueFrom(this.#steps$.pipe(filter(({ after: { state: { at } } }) => at === 'up' || at === 'backoff')));
    this.#queue.arrive(packet);
    const { after: { state: { at } } } = await awake;
    if (at !== 'up') throw new Error(`it is ${at}`);
  }

  async rest(): Promise<void> {
    await this.#tunnel.command({ type: 'command', command: 'down' }, ({ at }) => at === 'idle' || at === 'backoff');
  }

  async close(): Promise<void> {
    this.#tunnel.halt('answer');
    await this.#tunnel.end();
    await this.#tunnel.unbind();
  }
}
