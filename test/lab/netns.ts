import { randomBytes } from 'node:crypto';
import { execa } from 'execa';

export interface RunOptions {
  /** Given to the command on its standard input. */
  readonly input?: string;
  readonly env?: Record<string, string>;
  /** `false`: a failing command resolves, too. */
  readonly reject?: boolean;
}

/** A network namespace that this test made: the only place where test traffic goes. */
export class Netns {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** A name with a random part, so that runs do not meet; the namespace does not exist before `add`. */
  static reserve(label: string): Netns {
    return new Netns(`ood-${label}-${randomBytes(3).toString('hex')}`);
  }

  /** A namespace with `lo` up. */
  static async create(label: string): Promise<Netns> {
    const netns = Netns.reserve(label);
    await netns.add();
    return netns;
  }

  /** Joins two namespaces by a veth pair with the given device names; addresses are `10.0.0.1/24` or `fd00::1/64`. */
  static async join(a: { netns: Netns; device: string; addresses: readonly string[] }, b: { netns: Netns; device: string; addresses: readonly string[] }): Promise<void> {
    await a.netns.ip(`link add ${a.device} type veth peer name ${b.device} netns ${b.netns.name}`);
    await Promise.all([a, b].map(({ netns, device, addresses }) => netns.batch([
      ...addresses.map((address) => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`),
      `link set ${device} up`,
    ])));
  }

  /** Makes a reserved namespace, with `lo` up. */
  async add(): Promise<void> {
    await execa('ip', ['netns', 'add', this.name]);
    await this.batch(['link set lo up']);
  }

  /** Runs a command in the namespace and resolves with its standard output; rejects if it fails. */
  async run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<string> {
    const result = await execa('ip', ['netns', 'exec', this.name, command, ...args], options);
    return result.stdout;
  }

  /** `ip ARGS` in the namespace, the arguments separated by blanks. */
  async ip(args: string): Promise<string> {
    const result = await execa('ip', ['-n', this.name, ...args.split(' ')]);
    return result.stdout;
  }

  /** Many `ip` commands in one process. */
  async batch(commands: readonly string[]): Promise<void> {
    await execa('ip', ['-n', this.name, '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** Sets kernel parameters: `{'net.ipv4.ip_forward': 1}`. */
  async sysctl(values: Readonly<Record<string, number>>): Promise<void> {
    await this.run('sysctl', ['-q', '-w', ...Object.entries(values).map(([name, value]) => `${name}=${value}`)]);
  }

  /** Starts a command in the namespace that runs until it is killed. */
  spawn(command: string, args: readonly string[] = [], options: { input?: string; env?: Record<string, string>; cwd?: string } = {}) {
    return execa('ip', ['netns', 'exec', this.name, command, ...args], { ...options, reject: false });
  }

  /** The processes that run in the namespace. */
  async pids(): Promise<number[]> {
    const { stdout } = await execa('ip', ['netns', 'pids', this.name], { reject: false });
    return stdout.split('\n').filter(Boolean).map(Number);
  }

  /** Ends what still runs in the namespace and removes it. */
  async dispose(): Promise<void> {
    for (const pid of await this.pids()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended by itself
      }
    }
    await execa('ip', ['netns', 'del', this.name], { reject: false });
  }
}
