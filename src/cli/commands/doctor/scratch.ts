import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/**
 * A network namespace of its own, empty, that goes with this process: what the kernel can do is tried there, and the
 * machine's own firewall and devices are left alone. Needs CAP_SYS_ADMIN.
 */
export class ScratchNamespace {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves with the reason if it can't be made. */
  static async open(): Promise<ScratchNamespace | string> {
    const child = spawn('unshare', ['--net', '--', 'cat'], { stdio: ['pipe', 'pipe', 'pipe'] });
    const failed = new Promise<string>((resolve) => {
      let said = '';
      child.stderr.on('data', (data: Buffer) => { said += data.toString(); });
      child.once('error', ({ message }) => { resolve(message); });
      child.once('close', () => { resolve(said.trim() === '' ? 'unshare ended' : said.trim()); });
    });
    child.stdin.on('error', () => undefined); // told by `failed`
    child.stdin.write('inside\n');
    // `cat` answers when it is inside.
    return Promise.race([once(child.stdout, 'data').then(() => new ScratchNamespace(child)), failed]);
  }

  /** The namespace as a file. */
  get path(): string {
    return `/proc/${this.#child.pid ?? 0}/ns/net`;
  }

  /** The files of its network. */
  get procNet(): string {
    return `/proc/${this.#child.pid ?? 0}/net`;
  }

  /** What makes a program run inside: `[...prefix, 'ip', 'link']`. */
  get prefix(): readonly string[] {
    return ['nsenter', `--net=${this.path}`, '--'];
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.stdin?.end();
    await closed;
  }
}
