import { Netns } from '../../lab/netns.js';
import { cpuNs, sleep } from './machine.js';
import { atFront, PORT, QUEUE, Running, type Programs } from './programs.js';

const WARM_UP_MS = 400;
const MEASURE_MS = 1000;
const HOST = '10.5.0.1';
const FLOODER = '10.5.0.2';
const MAX_LENGTH = '1024';

export interface Consumer {
  readonly name: string;
  /** Its command line; the queue's number and the maximal length are put behind it. */
  readonly command: readonly string[];
}

export interface FloodFigures {
  /** Packets a second, in thousands. */
  readonly accepted: number;
  /** Processor time of the consumer, in microseconds. */
  readonly cpuPerPacket: number;
}

/** A host whose incoming packets are queued, accepted by the consumer at once, then counted and dropped; and who floods it. */
export class FloodLab {
  readonly #host: Netns;
  readonly #flooder: Netns;
  readonly #programs: Programs;

  private constructor(host: Netns, flooder: Netns, programs: Programs) {
    this.#host = host;
    this.#flooder = flooder;
    this.#programs = programs;
  }

  static async create(programs: Programs): Promise<FloodLab> {
    const [host, flooder] = [await Netns.create('bench-h'), await Netns.create('bench-f')];
    await Netns.join({ netns: host, device: 'eth0', addresses: [`${HOST}/24`] }, { netns: flooder, device: 'eth0', addresses: [`${FLOODER}/24`] });
    await host.run('iptables', ['-w', '-t', 'raw', '-A', 'PREROUTING', '-p', 'udp', '--dport', String(PORT), '-j', 'NFQUEUE', '--queue-num', String(QUEUE)]);
    await host.run('iptables', ['-w', '-A', 'INPUT', '-p', 'udp', '--dport', String(PORT), '-j', 'DROP']);
    return new FloodLab(host, flooder, programs);
  }

  async #accepted(): Promise<number> {
    const list = await this.#host.run('iptables', ['-w', '-nvxL', 'INPUT']);
    return Number(/^\s*(\d+)\s+\d+\s+DROP/m.exec(list)?.[1]);
  }

  async #flood(ms: number): Promise<void> {
    await this.#flooder.run('setsid', atFront(0, [this.#programs.compiled('storm'), HOST, String(PORT), String(ms)]));
  }

  async measure({ command }: Consumer): Promise<FloodFigures> {
    const consumer = await Running.start(this.#host, 1, [...command.map((word) => (word === '%q' ? String(QUEUE) : word === '%m' ? MAX_LENGTH : word))]);
    try {
      await this.#flood(WARM_UP_MS);
      await sleep(50);
      const [cpuBefore, before] = [await cpuNs(consumer.pid), await this.#accepted()];
      await this.#flood(MEASURE_MS);
      await sleep(50); // what is still queued is accepted
      const [cpu, count] = [(await cpuNs(consumer.pid)) - cpuBefore, (await this.#accepted()) - before];
      return { accepted: count / MEASURE_MS, cpuPerPacket: cpu / 1000 / count };
    } finally {
      await consumer.stop();
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#host.dispose(), this.#flooder.dispose()]);
  }
}
