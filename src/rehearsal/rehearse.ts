import { join } from 'node:path';
import { filter, firstValueFrom, NEVER, Subject, type Subscription } from 'rxjs';
import type { TunnelEvent } from '../core/events.js';
import { joinTunnel, type Step } from '../core/join.js';
import { DEFAULT_MARK, marksOf } from '../core/marks.js';
import type { Policy } from '../core/policy.js';
import type { ClockPort, GatePort, LogPort, NamesPort } from '../core/ports.js';
import type { State } from '../core/state.js';
import { AttachLink } from '../link/attach.js';
import { logStep } from '../log-step.js';
import { HoldQueue, type ArrivedPacket } from '../nfqueue/queue.js';
import { MANY_TUNNELS } from '../v8.js';
import { playOpenvpn } from './played-openvpn.js';
import { PlayedQueue } from './played-queue.js';

/** How many wakes V8 sees: by every kind of packet one, of so many tunnels at once. */
interface Extent {
  readonly tunnels: number;
  /** Then there are new ones: the first wake of a tunnel is a little different. */
  readonly generations: number;
}

/** By then V8 has compiled what one wake needs; it takes no longer than the firewall's programs. */
const FEW: Extent = { tunnels: 1, generations: 2 };
/** By then it has optimized that, too, where it may: measured without packets, a hundred wakes take half of the processor's time. */
const MANY: Extent = { tunnels: 20, generations: 10 };

const policy: Policy = { idleMs: Infinity, holdTimeoutMs: 10_000, lingerMs: 0, backoffStartMs: 1000, backoffMaxMs: 1000, minUpMs: 0, wakesPerHour: Infinity };

const nothing = (): undefined => undefined;
const done = (): Promise<void> => Promise.resolve();
const silent: LogPort = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const names: NamesPort = { events$: NEVER, lookUp: nothing };
const gate: GatePort = { events$: NEVER, set: done, expect: nothing, catchFirst: done, keepAddresses: done, mendRoutes: done, route: done, counters: () => Promise.resolve(new Map()), install: done, routes: () => [], look: nothing, held: nothing, unlearned: () => 0, remove: () => Promise.resolve([]) };

/** What comes to a router: a SYN of TCP and a datagram of UDP over IPv4 and IPv6, and an echo request, forwarded and its own. */
const packets = [
  '4500002800004000400600000a4d01020a630001c0001f9000000000000000005002ffff00000000',
  '4500001d00004000401100000a4d01020a630001c00000350009000000',
  '4500001c00004000400100000a4d01020a6300010800f7ff00000000',
  '6000000000140640fd000000000000000000000000000002fd000000000000000000000000000001c0001f9000000000000000005002ffff00000000',
  '60000000000a1140fd000000000000000000000000000002fd000000000000000000000000000001c0000035000a00000000',
].flatMap((hex): Omit<ArrivedPacket, 'id'>[] => {
  const payload = Buffer.from(hex, 'hex');
  const packet = { payload, hwProtocol: hex.startsWith('4') ? 0x800 : 0x86dd, length: payload.length, mark: 0 };
  return [
    { ...packet, hook: 'prerouting', inDevice: 'lo', outDevice: undefined, uid: undefined },
    { ...packet, hook: 'output', inDevice: undefined, outDevice: 'lo', uid: 0 },
  ];
});

/**
 * Wakes tunnels that nobody has, and takes them down, again and again, for a daemon with so many: code that runs for the
 * first time takes V8 ten times as long, and the first packet would wait for that. The machine, the queue, the link and
 * the management connection are the real ones; the kernel and OpenVPN (at a socket in `folder`) are played, and the gate
 * does nothing. Never rejects.
 */
export async function rehearse(folder: string, clock: ClockPort, tunnels: number): Promise<void> {
  const path = join(folder, 'rehearsal');
  const extent = tunnels < MANY_TUNNELS ? FEW : MANY;
  try {
    const openvpn = await playOpenvpn(path);
    try {
      for (let generation = 0; generation < extent.generations; generation++) await rehearseWith(path, clock, extent);
    } finally {
      openvpn.close();
    }
  } catch {
    // it only would have been better
  }
}

async function rehearseWith(path: string, clock: ClockPort, { tunnels }: Extent): Promise<void> {
  const rehearsed = Array.from({ length: tunnels }, () => new RehearsedTunnel(path, clock));
  try {
    await Promise.all(rehearsed.map((tunnel) => tunnel.start()));
    for (const packet of packets) {
      await Promise.all(rehearsed.map((tunnel) => tunnel.wake(packet)));
      await Promise.all(rehearsed.map((tunnel) => tunnel.rest()));
    }
  } finally {
    await Promise.all(rehearsed.map((tunnel) => tunnel.close()));
  }
}

class RehearsedTunnel {
  readonly #kernel = new PlayedQueue();
  readonly #commands$ = new Subject<TunnelEvent>();
  readonly #steps$ = new Subject<Step>();
  readonly #queue: HoldQueue;
  readonly #link: AttachLink;
  readonly #running: Subscription;

  constructor(path: string, clock: ClockPort) {
    const [name, device] = ['rehearsal', 'lo'];
    this.#queue = new HoldQueue(this.#kernel, { tunnel: name, num: 0, packets: 1, device, marks: marksOf(DEFAULT_MARK), silent: false }, { clock, log: silent, othersFirst: done });
    this.#link = new AttachLink({ name, device, address: { path }, password: undefined, credentials: undefined, remotes: [] }, clock, silent);
    this.#steps$.subscribe((step) => { logStep(step, silent); });
    this.#running = joinTunnel({ name, policy, queue: this.#queue, link: this.#link, gate, names, clock, commands$: this.#commands$, random: Math.random }).subscribe(this.#steps$);
  }

  start(): Promise<void> {
    return this.#link.start();
  }

  /** Rejects if it fails: a machine that stood still may have let the dial time out, and nobody is to wait for what won't come. */
  async wake(packet: Omit<ArrivedPacket, 'id'>): Promise<void> {
    const up = this.#reaches('up');
    this.#kernel.arrive(packet);
    await up;
  }

  async rest(): Promise<void> {
    const idle = this.#reaches('idle');
    this.#commands$.next({ type: 'command', command: 'down' });
    await idle;
  }

  async close(): Promise<void> {
    this.#running.unsubscribe();
    await this.#link.close();
    await this.#queue.close();
  }

  async #reaches(wanted: State['at']): Promise<void> {
    const { after: { state: { at } } } = await firstValueFrom(this.#steps$.pipe(filter(({ after: { state } }) => state.at === wanted || state.at === 'backoff')));
    if (at !== wanted) throw new Error(`it is ${at}`);
  }
}
