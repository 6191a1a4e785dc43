import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { TunnelStatus } from '../../src/control/api.js';
import { request, requestStatus } from '../../src/control/client.js';
import { addresses } from './addresses.js';
import { deviceNames, processesNamed, queues, type QueueLine } from './judge.js';
import type { Lab } from './lab.js';
import type { ClientOptions } from './openvpn-server.js';
import { checkout } from './paths.js';
import { Program, type Exit } from './program.js';
import { until, type WaitOptions } from './wait.js';

export interface DaemonOptions {
  /** Keys of the tunnel's configuration, such as `idle` and `hold`; `protect` defaults to the service's networks. */
  readonly tunnel?: Readonly<Record<string, unknown>>;
  /** Keys beside `tunnels`. */
  readonly top?: Readonly<Record<string, unknown>>;
  /** For the .ovpn file that the daemon is given. */
  readonly client?: ClientOptions;
  readonly env?: Readonly<Record<string, string>>;
  /** A command that the daemon is started by, such as setpriv and its options. */
  readonly wrapper?: readonly string[];
}

/** One line of the daemon's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** The built program, as a user has it; OOD_PROGRAM names another copy of its main.js, such as an installed one. */
export const commandLine = [process.execPath, process.env['OOD_PROGRAM'] ?? join(checkout, 'dist', 'cli', 'main.js')] as const;

/** The name of the one tunnel. */
export const tunnelName = 'office';

let launched = 0;

/** The daemon in the router's namespace, with one tunnel to the lab's server. */
export class Daemon {
  readonly program: Program;
  readonly configFile: string;
  readonly socket: string;
  readonly #lab: Lab;

  private constructor(lab: Lab, program: Program, configFile: string, socket: string) {
    this.#lab = lab;
    this.program = program;
    this.configFile = configFile;
    this.socket = socket;
  }

  /** Starts the daemon and resolves when the trap is set and `status` answers. */
  static async start(lab: Lab, options: DaemonOptions = {}): Promise<Daemon> {
    const daemon = Daemon.launch(lab, options);
    await daemon.answers();
    return daemon;
  }

  /** Starts the daemon without waiting for it. */
  static launch(lab: Lab, options: DaemonOptions = {}): Daemon {
    const { configFile, socket } = writeConfiguration(lab, options);
    return Daemon.launchWith(lab, configFile, socket, options);
  }

  /** The same with a configuration file that is there already. */
  static launchWith(lab: Lab, configFile: string, socket: string, { env = {}, wrapper = [] }: DaemonOptions = {}): Daemon {
    const [command, ...args] = [...wrapper, ...commandLine, 'run', '--config', configFile];
    launched += 1;
    // What it puts into the temporary folder goes with the lab's own, even after kill -9.
    const environment = { TMPDIR: lab.folder, ...env };
    const program = Program.start(command, args, { netns: lab.topology.router, folder: lab.folder, label: `daemon-${launched}`, env: environment });
    return new Daemon(lab, program, configFile, socket);
  }

  get pid(): number {
    return this.program.pid;
  }

  get logFile(): string {
    return this.program.logFile;
  }

  /** Resolves when the trap is set and `status` answers; rejects with the log if the daemon ends before. */
  async answers(): Promise<void> {
    await this.program.says('daemon.started', { timeoutMs: 40_000 }); // one that ends is noticed at once
    await this.status();
  }

  /** What `status --json` prints of the tunnel, without the cost of a process. */
  async status(): Promise<TunnelStatus> {
    const { tunnels } = await requestStatus(this.socket);
    return tunnels.find(({ name }) => name === tunnelName)!;
  }

  /** Rejects if the dial fails. */
  async up(): Promise<void> {
    await request(this.socket, { command: 'up', tunnel: tunnelName });
  }

  async down(): Promise<void> {
    await request(this.socket, { command: 'down', tunnel: tunnelName });
  }

  /** Waits until `status` tells that state. */
  async reaches(state: TunnelStatus['state'], options: WaitOptions = {}): Promise<TunnelStatus> {
    let last: TunnelStatus | undefined;
    return until(`state ${state}`, async () => {
      last = await this.status();
      return last.state === state && last;
    }, options).catch((cause: unknown) => {
      throw new Error(`state ${state} was not reached; last: ${JSON.stringify(last)}\n${this.program.stderr}`, { cause });
    });
  }

  /** The lines that it has logged so far. */
  log(): LogLine[] {
    return this.program.stderr.split('\n').filter(Boolean).map((line) => {
      try {
        return JSON.parse(line) as LogLine;
      } catch {
        return { msg: line }; // not the logger's
      }
    });
  }

  /** SIGTERM; resolves with the exit. */
  stop(): Promise<Exit> {
    return this.program.stop('SIGTERM');
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    await this.program.stop('SIGKILL');
  }

  /** Its NFQUEUE, as the kernel tells it; the daemon must be running. */
  queue(): QueueLine {
    const [queue] = queues(this.pid);
    if (queue === undefined) throw new Error('the daemon has no NFQUEUE');
    return queue;
  }

  /** Whether the tunnel's device exists; the daemon must be running. */
  hasDevice(): boolean {
    return deviceNames(this.pid).includes(`ovpn-${tunnelName}`);
  }

  /** The OpenVPN processes of the router. */
  openvpnPids(): Promise<number[]> {
    return processesNamed(this.#lab.topology.router, 'openvpn');
  }
}

/** Writes a configuration with the lab's tunnel into the lab's folder. */
export function writeConfiguration(lab: Lab, { tunnel = {}, top = {}, client = {} }: DaemonOptions = {}): { configFile: string; socket: string } {
  const socket = join(lab.folder, 'control.sock');
  const configFile = join(lab.folder, 'daemon.yaml');
  const { prefix, prefix6 } = addresses.service;
  const settings = { openvpn: { config: lab.server.writeClientConfig(tunnelName, client) }, protect: [prefix, prefix6], ...tunnel };
  writeFileSync(configFile, stringify({ control: { socket }, ...top, tunnels: { [tunnelName]: settings } }));
  return { configFile, socket };
}
