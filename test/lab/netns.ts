import { randomBytes } from 'node:crypto';
import { execa, type ResultPromise } from 'execa';

/** A network namespace that this test made: the only place where test traffic goes. */
export class Netns {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** A namespace with `lo` up. Its name carries a random part, so that runs do not meet. */
  static async create(label: string): Promise<Netns> {
    const netns = new Netns(`ood-${label}-${randomBytes(3).toString('hex')}`);
    await execa('ip', ['netns', 'add', netns.name]);
    await netns.ip('link set lo up');
    return netns;
  }

  /** Joins two namespaces by a veth pair with the given device names; addresses are `10.0.0.1/24` or `fd00::1/64`. */
  static async join(a: { netns: Netns; device: string; addresses: readonly string[] }, b: { netns: Netns; device: string; addresses: readonly string[] }): Promise<void> {
    await a.netns.ip(`link add ${a.device} type veth peer name ${b.device} netns ${b.netns.name}`);
    for (const { netns, device, addresses } of [a, b]) {
      for (const address of addresses) await netns.ip(`addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`);
      await netns.ip(`link set ${device} up`);
    }
  }

  /** Runs a command in the namespace and resolves with its standard output; rejects if it fails. */
  async run(command: string, args: readonly string[] = [], options: { input?: string; env?: Record<string, string> } = {}): Promise<string> {
    const result = await execa('ip', ['netns', 'exec', this.name, command, ...args], options);
    return result.stdout;
  }

  /** `ip ARGS` in the namespace, the arguments separated by blanks. */
  ip(args: string): Promise<string> {
    return this.run('ip', args.split(' '));
  }

  /** Starts a command in the namespace that runs until it is killed. */
  spawn(command: string, args: readonly string[] = [], options: { input?: string; env?: Record<string, string>; cwd?: string } = {}): ResultPromise<{ reject: false }> {
    return execa('ip', ['netns', 'exec', this.name, command, ...args], { ...options, reject: false });
  }

  /** Ends what still runs in the namespace and removes it. */
  async dispose(): Promise<void> {
    const pids = (await execa('ip', ['netns', 'pids', this.name], { reject: false })).stdout.split('\n').filter(Boolean);
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // it ended by itself
      }
    }
    await execa('ip', ['netns', 'del', this.name], { reject: false });
  }
}
