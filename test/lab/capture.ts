import { addresses, devices, serverPort } from './addresses.js';
import type { Netns } from './netns.js';
import { Program } from './program.js';
import type { Topology } from './topology.js';
import { sleep, until } from './wait.js';

export interface Captured {
  /** One line a packet, as tcpdump prints it. */
  readonly packets: readonly string[];
  /** Bytes of the frames, link header included; not known of the device `any`. */
  readonly bytes: number;
}

/** tcpdump on a device: an independent witness. */
export class Capture {
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  /** Resolves when tcpdump is listening. `label` must be unique in the folder. */
  static async start(netns: Netns, device: string, filter: string, { folder, label }: { folder: string; label: string }): Promise<Capture> {
    // Without --immediate-mode packets wait in the kernel for up to a second; with it each takes the whole snapshot
    // length of the buffer, so headers must do. -l: each line is written at once.
    const args = ['-i', device, '-n', '-tt', '-e', '-q', '-l', '--immediate-mode', '-s', '128', '-B', '16384', '-Z', 'root', filter];
    const program = Program.start('tcpdump', args, { netns, folder, label: `tcpdump-${label}` });
    await program.says('listening on');
    return new Capture(program);
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** What was seen so far; rejects if the kernel had to drop packets before tcpdump could look at them. */
  async seen(): Promise<Captured> {
    await this.#settle();
    const packets = this.#program.stdout.split('\n').filter(Boolean);
    return { packets, get bytes() { return packets.reduce((sum, line) => sum + frameBytes(line), 0); } };
  }

  /** The last look, and the end. */
  async stop(): Promise<Captured> {
    const captured = await this.seen();
    await this.#program.stop('SIGINT');
    return captured;
  }

  /** Waits until tcpdump has printed all that the kernel has given it: SIGUSR1 makes it tell its counts. */
  async #settle(): Promise<void> {
    await sleep(wireMs);
    await until('tcpdump has printed what it received', async () => {
      const before = counts(this.#program.stderr).length;
      this.#program.signal('SIGUSR1');
      const latest = await until('tcpdump tells its counts', () => counts(this.#program.stderr)[before]);
      if (latest.dropped > 0) throw new Error(`the kernel dropped ${latest.dropped} packets before tcpdump saw them`);
      return latest.captured === latest.received;
    });
  }
}

// From one end of a veth pair to the other's packet socket, generously.
const wireMs = 20;

/** The length of the frame that a line of `tcpdump -e` is about. */
export function frameBytes(line: string): number {
  const length = /, length (\d+):/.exec(line)?.[1];
  if (length === undefined) throw new Error(`no frame length in: ${line}`);
  return Number(length);
}

interface Counts {
  readonly captured: number;
  readonly received: number;
  readonly dropped: number;
}

/** The counts that tcpdump has told so far. */
export function counts(stderr: string): Counts[] {
  return [...stderr.matchAll(/(\d+) packets? captured[\s,]+(\d+) packets? received by filter[\s,]+(\d+) packets? dropped by kernel/g)]
    .map(([, captured, received, dropped]) => ({ captured: Number(captured), received: Number(received), dropped: Number(dropped) }));
}

const { service, underlay } = addresses;

/** What must never show on the underlay: packets from or to the protected network, in clear. */
export const clearProtected = `net ${service.prefix} or ip6 net ${service.prefix6}`;

/** For `protect: [0.0.0.0/0]`: any IPv4 that is not OpenVPN's own, and the protected IPv6. */
export const clearAnything = `(ip and not (host ${underlay.server} and port ${serverPort})) or ip6 net ${service.prefix6}`;

/** Watches the far end of the underlay: where a clear packet would show. */
export function watchUnderlay(topology: Topology, label: string, filter = clearProtected): Promise<Capture> {
  return Capture.start(topology.server, devices.server.underlay, filter, { folder: topology.folder, label });
}
