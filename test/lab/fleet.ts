import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { stringify } from 'yaml';
import type { TunnelStatus } from '../../src/control/api.js';
import { requestStatus } from '../../src/control/client.js';
import { Capture } from './capture.js';
import { compiled } from './compiled.js';
import { commandLine } from './daemon.js';
import { Program } from './program.js';
import { realTime } from './real-time.js';
import { Topology } from './topology.js';
import { until } from './wait.js';

/** Nobody listens there: the packets end in the devices. */
const port = 9;
const perNet = 250;

const processors = { all: `0-${cpus().length - 1}`, last: String(cpus().length - 1), others: `0-${Math.max(0, cpus().length - 2)}` } as const;

/**
 * Where there is more than one processor, the daemon's verdicts are given on one that the equipment does not use: what
 * stands for other machines, and who measures, is not to be taken for ours. What V8 does beside the daemon's main thread
 * has to share the equipment's.
 */
async function standApart(daemon: number, equipment: readonly number[]): Promise<void> {
  for (const pid of [daemon, ...equipment]) await execa('taskset', ['--all-tasks', '--cpu-list', '--pid', processors.last, String(pid)]);
  await execa('taskset', ['--cpu-list', '--pid', processors.others, String(daemon)]);
}

/** One tunnel's wake, by tcpdump and by the OpenVPN that played its part. Milliseconds. */
export interface FleetWake {
  readonly tunnel: string;
  /** From the LAN device, or from its sender on the router, to the tunnel's device. */
  readonly ms: number;
  /** From `hold release` until CONNECTED was said. */
  readonly dialMs: number;
}

/**
 * One daemon with many tunnels, each attached to an OpenVPN that answers at once (programs/fleet.c), with a tun device
 * and an IPv4 prefix of its own.
 */
export class FleetLab {
  readonly topology: Topology;
  readonly count: number;
  readonly daemon: Program;
  readonly socket: string;
  readonly #fleet: Program;
  readonly #capture: Capture;
  readonly #binary: string;
  /** When the first packet to each tunnel's prefix was sent: seconds since the epoch. */
  #sentAt: readonly number[] = [];

  private constructor(topology: Topology, count: number, binary: string, programs: { fleet: Program; capture: Capture; daemon: Program; socket: string }) {
    this.topology = topology;
    this.count = count;
    this.#binary = binary;
    this.#fleet = programs.fleet;
    this.#capture = programs.capture;
    this.daemon = programs.daemon;
    this.socket = programs.socket;
  }

  /**
   * Resolves when the trap is set and every tunnel is attached. `tunnel`: further keys of each one's configuration;
   * `wrapper`: a command that the daemon is started by.
   */
  static async open(count: number, { tunnel = {}, wrapper = [] }: { readonly tunnel?: Readonly<Record<string, unknown>>; readonly wrapper?: readonly string[] } = {}): Promise<FleetLab> {
    const binary = await compiled('fleet');
    const topology = await Topology.create();
    try {
      const { folder, router } = topology;
      const numbers = Array.from({ length: count }, (_, i) => i);
      const [command, ...before] = [...(await realTime()), binary] as unknown as [string, ...string[]];
      const fleet = Program.start(command, [...before, 'run', String(count), folder], { netns: router, folder, label: 'fleet' });
      await fleet.says('ready');
      await router.batch(numbers.flatMap((i) => [`link set fleet${i} up`, `route add ${prefixOf(i)} dev fleet${i}`]));
      const [configuration, socket] = [join(folder, 'fleet.yaml'), join(folder, 'control.sock')];
      const tunnels = Object.fromEntries(numbers.map((i) => [`t${i}`, { openvpn: { management: join(folder, `${i}.sock`) }, device: `fleet${i}`, protect: [prefixOf(i)], idle: '5m', ...tunnel }]));
      writeFileSync(configuration, stringify({ control: { socket }, stateFile: join(folder, 'state.json'), tunnels }, { aliasDuplicateObjects: false }));
      const capture = await Capture.start(router, 'any', `udp dst port ${port}`, { folder, label: 'router' });
      const [program, ...args] = [...wrapper, ...commandLine, 'run', '--config', configuration] as unknown as [string, ...string[]];
      const daemon = Program.start(program, args, { netns: router, folder, label: 'daemon', env: { TMPDIR: folder } });
      await daemon.says('daemon.started', { timeoutMs: 120_000 });
      await until('all are attached', () => daemon.stderr.split('"link.attached"').length > count, { timeoutMs: 30_000, everyMs: 50 });
      await standApart(daemon.pid, [process.pid, fleet.pid, capture.pid]);
      return new FleetLab(topology, count, binary, { fleet, capture, daemon, socket });
    } catch (error) {
      await topology.dispose();
      throw error;
    }
  }

  /** A packet to every tunnel's prefix at the same moment, from the LAN or from the router itself; so often, a millisecond apart. */
  async wakeAll({ from = 'lan', rounds = 1 }: { readonly from?: 'lan' | 'router'; readonly rounds?: number } = {}): Promise<void> {
    const told = await this.topology[from].run(this.#binary, ['send', String(this.count), String(port), String(rounds)]);
    this.#sentAt = told.trim().split('\n').map(Number);
  }

  async status(): Promise<readonly TunnelStatus[]> {
    return (await requestStatus(this.socket)).tunnels;
  }

  /** Waits until every tunnel is in that state. */
  async reaches(state: TunnelStatus['state'], timeoutMs = 20_000): Promise<readonly TunnelStatus[]> {
    return until(`all of them ${state}`, async () => {
      const all = await this.status();
      return all.every((tunnel) => tunnel.state === state) && all;
    }, { timeoutMs, everyMs: 50 });
  }

  /** How the first packet of every tunnel came through since the last `wakeAll`, and how many came out of each device ever. */
  async judge(): Promise<{ readonly wakes: readonly FleetWake[]; readonly delivered: readonly number[] }> {
    const { packets } = await this.#capture.seen();
    const since = packets.filter((line) => Number.parseFloat(line) >= (this.#sentAt[0] ?? 0));
    const cameIn = firstTimes(since, /^(\S+) lan0\s+In .* > (10\.\d+\.\d+\.\d+)\.9:/);
    const wentOut = firstTimes(since, /^(\S+) fleet\d+\s+Out .* > (10\.\d+\.\d+\.\d+)\.9:/);
    const lives = await this.lives();
    const wakes = lives.flatMap(({ released, connected }, i) => {
      const [came, went] = [cameIn.get(hostOf(i)) ?? this.#sentAt[i], wentOut.get(hostOf(i))];
      return came === undefined || went === undefined ? [] : [{ tunnel: `t${i}`, ms: (went - came) * 1000, dialMs: (connected - released) * 1000 }];
    });
    return { wakes, delivered: lives.map(({ packets: arrived }) => arrived) };
  }

  async lives(): Promise<readonly { readonly released: number; readonly connected: number; readonly packets: number }[]> {
    const before = this.#fleet.stdout.split('\n').length;
    this.#fleet.signal('SIGUSR1');
    const told = await until('the fleet tells', () => {
      const lines = this.#fleet.stdout.split('\n').slice(before - 1);
      return lines.includes('told') && lines.slice(0, this.count);
    });
    return told.map((line) => JSON.parse(line) as { released: number; connected: number; packets: number });
  }

  async close(): Promise<void> {
    await execa('taskset', ['--all-tasks', '--cpu-list', '--pid', processors.all, String(process.pid)]);
    await this.topology.dispose();
  }
}

function netOf(i: number): string {
  return `10.${100 + Math.floor(i / perNet)}.${i % perNet}`;
}

const prefixOf = (i: number): string => `${netOf(i)}.0/24`;
const hostOf = (i: number): string => `${netOf(i)}.1`;

/** Seconds since the epoch, by destination. */
function firstTimes(lines: readonly string[], pattern: RegExp): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const line of lines) {
    const [, at = '', destination = ''] = pattern.exec(line) ?? [];
    if (destination !== '' && !times.has(destination)) times.set(destination, Number(at));
  }
  return times;
}
