import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CommandOptions } from '../../../src/link/command.js';
import type { Netns } from '../../lab/netns.js';
import { until } from '../../lab/wait.js';
import type { HostCall } from './link-host.js';

export type HostOptions = Partial<CommandOptions> & Pick<CommandOptions, 'up' | 'down' | 'marker'>;
export type HostEvent = Readonly<Record<string, unknown>> & { readonly type: string };

const program = fileURLToPath(new URL('link-host.ts', import.meta.url));

/** link-host.ts in a namespace. */
export class LinkHost {
  readonly exited: Promise<number | undefined>;
  readonly #child: ReturnType<Netns['spawn']>;
  readonly #links: HostedLink[] = [];

  constructor(netns: Netns) {
    this.#child = netns.spawn(process.execPath, ['--import', 'tsx', program]);
    createInterface(this.#child.stdout).on('line', (line) => {
      const { link, ...event } = JSON.parse(line) as HostEvent & { link: number };
      this.#links[link]!.events.push(event);
    });
    this.exited = this.#child.then(({ exitCode }) => exitCode);
  }

  /** Resolves when the link has started; what it told before that is in `events`. */
  async open(options: HostOptions): Promise<HostedLink> {
    const number = this.#links.length;
    const send = (input: object): void => { this.#child.stdin.write(`${JSON.stringify({ link: number, ...input })}\n`); };
    const link = new HostedLink((call) => { send({ call }); });
    this.#links.push(link);
    send({ open: { name: 'lan2', device: 'eth1', ready: 'exit', remotes: [], downTimeoutMs: 10_000, ...options } });
    await link.seen({ type: 'started' });
    return link;
  }

  /** The end of its input; resolves with its exit status. */
  async end(): Promise<number | undefined> {
    this.#child.stdin.end();
    return this.exited;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

export class HostedLink {
  /** All that it told. */
  readonly events: HostEvent[] = [];
  readonly #call: (call: HostCall) => void;
  #read = 0;

  constructor(call: (call: HostCall) => void) {
    this.#call = call;
  }

  /** Calls methods, in this order. */
  say(...calls: readonly HostCall[]): void {
    for (const call of calls) this.#call(call);
  }

  /** The event after the last one that was read. */
  async next(): Promise<HostEvent> {
    const event = await until('the next event', () => this.events[this.#read]);
    this.#read += 1;
    return event;
  }

  /** Reads on until an event of that type. */
  async seen({ type }: Pick<HostEvent, 'type'>): Promise<HostEvent> {
    for (;;) {
      const event = await this.next();
      if (event.type === type) return event;
    }
  }
}
