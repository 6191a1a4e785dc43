import split2 from 'split2';
import type { Netns } from '../../lab/netns.js';

/** A packet, or a connection, that an agent is to send. */
export interface Packet {
  readonly to: string;
  /** `unreachable`: an ICMP error; `discovery`: a neighbour solicitation. */
  readonly kind?: 'udp' | 'tcp' | 'unreachable' | 'discovery';
  readonly from?: string;
  readonly sport?: number;
  readonly port?: number;
  readonly hops?: number;
  readonly count?: number;
  /** Seconds between two of them. */
  readonly pause?: number;
  readonly device?: string;
  readonly mark?: number;
  /** Waits for an answer or an error. */
  readonly answer?: boolean;
  /** Seconds. */
  readonly timeout?: number;
}

/** What the program that sent it saw: `sent`, `answered`, `connected`, `timeout` or the name of an errno. */
export interface Outcome {
  readonly outcome: string;
  readonly source?: string;
}

interface Reply extends Partial<Outcome> {
  readonly id: number;
  readonly seen?: readonly string[];
  readonly held?: number;
  readonly elsewhere?: number;
  readonly given?: number;
}

/** agent.py, running in a namespace. */
export class Agent {
  readonly #process: ReturnType<Netns['spawn']>;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #next = 1;

  constructor(netns: Netns) {
    this.#process = netns.spawn('python3', ['-u', `${import.meta.dirname}/agent.py`]);
    this.#process.stdout.pipe(split2()).on('data', (line: string) => {
      const reply = JSON.parse(line) as Reply;
      this.#waiting.get(reply.id)?.(reply);
      this.#waiting.delete(reply.id);
    });
    this.#process.stderr.pipe(process.stderr);
  }

  /** Of the program itself: `ip netns exec` becomes it. */
  get pid(): number {
    return this.#process.pid!;
  }

  async send(packet: Packet): Promise<Outcome> {
    const { outcome = '', source } = await this.#ask({ do: 'send', ...packet });
    return source === undefined ? { outcome } : { outcome, source };
  }

  /** What came in from outside since the last call, as `source > destination`. */
  async seen(): Promise<readonly string[]> {
    return (await this.#ask({ do: 'seen' })).seen ?? [];
  }

  async bind(queue: number): Promise<void> {
    await this.#ask({ do: 'bind', queue });
  }

  /** What all queues that were bound hold, as the kernel counts. */
  async held(): Promise<number> {
    return (await this.#ask({ do: 'held' })).held ?? 0;
  }

  /** What the queues of others in the namespace hold. */
  async heldElsewhere(): Promise<number> {
    return (await this.#ask({ do: 'held' })).elsewhere ?? 0;
  }

  /** Gives everything that is held its verdict; resolves with how many these were. */
  async verdict(queue: number, verdict: { accept: boolean; mark?: number }): Promise<number> {
    return (await this.#ask({ do: 'verdict', queue, ...verdict })).given ?? 0;
  }

  #ask(request: object): Promise<Reply> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#process.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#process;
  }
}
