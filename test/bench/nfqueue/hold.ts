import { Netns } from '../../lab/netns.js';
import { residentBytes, sleep } from './machine.js';
import { atFront, PORT, QUEUE, Running, source, type Programs } from './programs.js';

export const HELD = 10_000;
const BURST = 20_000;
const MAX_LENGTH = 32_768;
const PAYLOAD_BYTES = 22;
const RECEIVER = '10.6.2.2';
const BEHIND_TUN = '10.6.3.9';
/** What a packet costs the reader of the tun device: about 66,000 packets a second. */
const TUN_PAUSE_US = 15;

export interface Delivery {
  readonly received: number;
  readonly disordered: number;
  /** From the release to the last packet's arrival. */
  readonly ms: number;
}

interface Stats {
  readonly packets: number;
  readonly held: number;
  readonly overflows: number;
  readonly kernel: { readonly held: number; readonly queueDropped: number; readonly userDropped: number };
}

/** A router that holds what is bound for a receiver, and for a tun device of its own. */
export class HoldLab {
  readonly #sender: Netns;
  readonly #router: Netns;
  readonly #receiver: Netns;
  readonly #programs: Programs;

  private constructor(sender: Netns, router: Netns, receiver: Netns, programs: Programs) {
    this.#sender = sender;
    this.#router = router;
    this.#receiver = receiver;
    this.#programs = programs;
  }

  static async create(programs: Programs): Promise<HoldLab> {
    const [sender, router, receiver] = [await Netns.create('bench-s'), await Netns.create('bench-r'), await Netns.create('bench-d')];
    await Netns.join({ netns: sender, device: 'eth0', addresses: ['10.6.1.2/24'] }, { netns: router, device: 'lan0', addresses: ['10.6.1.1/24'] });
    await Netns.join({ netns: router, device: 'wan0', addresses: ['10.6.2.1/24'] }, { netns: receiver, device: 'eth0', addresses: [`${RECEIVER}/24`] });
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
    await sender.ip('route add default via 10.6.1.1');
    await receiver.ip('route add default via 10.6.2.1');
    await router.run('iptables', ['-w', '-t', 'raw', '-A', 'PREROUTING', '-i', 'lan0', '-p', 'udp', '-j', 'NFQUEUE', '--queue-num', String(QUEUE)]);
    return new HoldLab(sender, router, receiver, programs);
  }

  async #send(address: string, count: number): Promise<void> {
    await this.#sender.run('setsid', atFront(0, [this.#programs.compiled('flood'), address, String(PORT), String(PAYLOAD_BYTES), String(count)]));
  }

  /** Packets that the kernel holds in the queue now. */
  async #heldNow(): Promise<number> {
    const text = await this.#router.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
    return Number(text.trim().split(/\s+/)[2] ?? 0);
  }

  async #hold(address: string, count: number): Promise<void> {
    await this.#send(address, count);
    await sleep(100);
    const held = await this.#heldNow();
    if (held !== count) throw new Error(`${held} packets held instead of ${count}`);
  }

  #startOurs(): Promise<Running> {
    return Running.start(this.#router, 1, [process.execPath, source('ours-hold.mjs'), String(QUEUE), String(MAX_LENGTH)]);
  }

  #startSink(): Promise<Running> {
    return Running.start(this.#receiver, 0, [this.#programs.compiled('sink'), 'udp', RECEIVER, String(PORT), String(HELD), '0']);
  }

  async #deliver(consumer: Running, sink: Running, release: () => Promise<bigint>): Promise<Delivery> {
    try {
      const started = await release();
      return await delivery(sink, started);
    } finally {
      await Promise.all([consumer.stop(), sink.stop()]);
    }
  }

  /** Holds, then releases all at once: our batch verdict. */
  async releaseByOurs(): Promise<Delivery> {
    const [consumer, sink] = [await this.#startOurs(), await this.#startSink()];
    await this.#hold(RECEIVER, HELD);
    return this.#deliver(consumer, sink, async () => startOf(await consumer.ask('release')));
  }

  /** The same by the C peer's batch verdict. */
  async releaseByPeer(): Promise<Delivery> {
    const consumer = await Running.start(this.#router, 1, [this.#programs.compiled('peer'), String(QUEUE), 'hold', String(MAX_LENGTH)]);
    const sink = await this.#startSink();
    await this.#hold(RECEIVER, HELD);
    return this.#deliver(consumer, sink, async () => {
      consumer.signal('SIGUSR1');
      return BigInt(await consumer.line());
    });
  }

  /** Holds, then releases at the default pace into a tun device with its default queue, whose reader takes its time. */
  async paceIntoTun(): Promise<Delivery> {
    const sink = await Running.start(this.#router, 0, [this.#programs.compiled('sink'), 'tun', 'tun0', '-', String(HELD), String(TUN_PAUSE_US)]);
    await this.#router.ip('link set tun0 up');
    await this.#router.ip(`route add ${BEHIND_TUN}/32 dev tun0`);
    const consumer = await this.#startOurs();
    await this.#hold(BEHIND_TUN, HELD);
    return this.#deliver(consumer, sink, async () => startOf(await consumer.ask('pace')));
  }

  /** Packets lost of a burst that comes while the reader's event loop is blocked for a second. */
  async lostWhileBlocked(): Promise<number> {
    const consumer = await this.#startOurs();
    try {
      await consumer.ask('block');
      await this.#send(RECEIVER, BURST);
      await consumer.line();
      await sleep(100);
      const { held, kernel } = JSON.parse(await consumer.ask('stats')) as Stats;
      if (kernel.held !== held) throw new Error(`own count ${held}, the kernel's ${kernel.held}`);
      return BURST - held;
    } finally {
      await consumer.stop();
    }
  }

  /** MiB by which the resident memory has grown while packets are held. */
  async memoryWhileHeld(): Promise<number> {
    const consumer = await this.#startOurs();
    try {
      await this.#hold(RECEIVER, 100);
      await consumer.ask('release');
      const before = await residentBytes(consumer.pid);
      await this.#hold(RECEIVER, HELD);
      return ((await residentBytes(consumer.pid)) - before) / 2 ** 20;
    } finally {
      await consumer.stop();
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#sender.dispose(), this.#router.dispose(), this.#receiver.dispose()]);
  }
}

function startOf(answer: string): bigint {
  return BigInt((JSON.parse(answer) as { startedNs: string }).startedNs);
}

async function delivery(sink: Running, started: bigint): Promise<Delivery> {
  const [received = '', disordered = '', , last = ''] = (await sink.line()).split(' ');
  return { received: Number(received), disordered: Number(disordered), ms: Number(BigInt(last) - started) / 1e6 };
}
