import { compiled } from './compiled.js';
import type { Netns } from './netns.js';
import { Program } from './program.js';
import { patience } from './wait.js';

/** One request and its answer. Times in ms from the first packet. */
export interface Answer {
  readonly ok: boolean;
  /** TCP: until connected. UDP and ping: until the answer. */
  readonly ms: number;
  /** The sender's own address, as the kernel chose it. */
  readonly source?: string;
  /** TCP: until the answer to the first line. */
  readonly answerMs?: number;
  /** TCP: SYNs sent again until connected (TCP_INFO). */
  readonly retransmits?: number;
  /** What failed: the step and the errno's name. */
  readonly step?: string;
  readonly error?: string;
}

export interface Sent {
  readonly ok: boolean;
  readonly sent: number;
  readonly failed: number;
  /** The last error's name, if any. */
  readonly error: string;
  readonly ms: number;
}

export interface Received {
  readonly received: number;
  readonly missing: number;
  /** Packets that came after one with a higher number. */
  readonly outOfOrder: number;
  /** The first and the last of those. */
  readonly overtaken: readonly [number, number];
  readonly duplicates: number;
  /** From the first to the last packet. */
  readonly spanMs: number;
  readonly longestGapMs: number;
}

export interface Flow {
  readonly address: string;
  readonly port: number;
  readonly count: number;
  /** Packets per second; 0: all at once. */
  readonly rate: number;
  /** UDP payload in bytes; default 64. */
  readonly size?: number;
}

const defaultTimeoutMs = 5_000;

/** programs/probe.c in a namespace: what the lab sends, receives, and measures by itself. */
export class Probe {
  readonly #binary: string;
  readonly #netns: Netns;

  private constructor(binary: string, netns: Netns) {
    this.#binary = binary;
    this.#netns = netns;
  }

  static async in(netns: Netns): Promise<Probe> {
    return new Probe(await compiled('probe'), netns);
  }

  /** The program's path. */
  get binary(): string {
    return this.#binary;
  }

  connect(address: string, port: number, timeoutMs = defaultTimeoutMs): Promise<Answer> {
    return this.#run<Answer>('connect', address, port, timeoutMs);
  }

  ask(address: string, port: number, timeoutMs = defaultTimeoutMs): Promise<Answer> {
    return this.#run<Answer>('ask', address, port, timeoutMs);
  }

  ping(address: string, timeoutMs = defaultTimeoutMs): Promise<Answer> {
    return this.#run<Answer>('ping', address, timeoutMs);
  }

  send({ address, port, count, rate, size = 64 }: Flow): Promise<Sent> {
    return this.#run<Sent>('send', address, port, count, rate, size);
  }

  /** Starts to receive a flow; call the result to have what was received, `quietMs` after the last packet. */
  async receive(folder: string, port: number, count: number, quietMs = 1_000): Promise<() => Promise<Received>> {
    const program = await this.#start(folder, `receive-${port}`, ['receive', port, count, quietMs]);
    return async () => {
      // A flow of which nothing arrives at all would be waited for without end.
      const timer = setTimeout(() => { program.signal('SIGTERM'); }, receiveLimitMs);
      await program.exited;
      clearTimeout(timer);
      return JSON.parse(program.stdout) as Received;
    };
  }

  /** Starts the service that answers TCP lines and UDP datagrams. */
  serve(folder: string, port: number): Promise<Program> {
    return this.#start(folder, `serve-${port}`, ['serve', port]);
  }

  async #start(folder: string, label: string, args: readonly (string | number)[]): Promise<Program> {
    const program = Program.start(this.#binary, args.map(String), { netns: this.#netns, folder, label });
    await program.says('ready');
    return program;
  }

  async #run<Result>(...args: readonly (string | number)[]): Promise<Result> {
    return JSON.parse(await this.#netns.run(this.#binary, args.map(String))) as Result;
  }
}

const receiveLimitMs = 20_000 * patience;
