import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { fileURLToPath } from 'node:url';
import { NfQueue, type OpenOptions, type PacketSnapshot } from 'node-nfqueue';
import { QueueLab } from './lab.js';

/** Path of a program that a test runs in a process or a Worker of its own. */
export function program(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url));
}

/** What the tests of one file share: a lab whose queue number is `num`, and queues that are closed after each test. */
export class Fixture {
  readonly num: number;
  #lab: QueueLab | undefined;
  readonly #queues: NfQueue[] = [];

  constructor(num: number) {
    this.num = num;
    beforeAll(async () => {
      this.#lab = await QueueLab.create(num);
    });
    afterEach(async () => {
      for (const queue of this.#queues.splice(0)) await queue.close();
    });
    afterAll(async () => {
      await this.#lab?.dispose();
    });
  }

  get lab(): QueueLab {
    if (this.#lab === undefined) throw new Error('the lab is made before the first test');
    return this.#lab;
  }

  async open(options: Partial<OpenOptions> = {}): Promise<NfQueue> {
    const queue = await NfQueue.open({ num: this.num, maxLength: 8192, netns: this.lab.netns, ...options });
    this.#queues.push(queue);
    return queue;
  }
}

/** Collects what the queue tells of, by value. */
export function collect(queue: NfQueue): PacketSnapshot[] {
  const packets: PacketSnapshot[] = [];
  queue.on('packets', (batch) => {
    for (const packet of batch) packets.push(packet.snapshot());
  });
  return packets;
}

/** Keeps the event loop busy. */
export function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
