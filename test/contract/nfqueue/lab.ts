import { open, type FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Netns } from '../../lab/netns.js';

/** Sends datagrams of `size` bytes that begin with their number, big endian, and prints how many were sent. */
const SENDER = `
import socket, struct, sys
host, port, count, size, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
for i in range(first, first + count):
    s.sendto(struct.pack('>I', i) + bytes(max(0, size - 4)), (host, port))
print(count)
`;

/** Prints the number of each datagram that arrives, one a line, after a line that says that it listens. */
const RECEIVER = `
import socket, struct, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
# 33: SO_RCVBUFFORCE
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
s.bind((sys.argv[1], int(sys.argv[2])))
print('listening', flush=True)
while True:
    data = s.recv(65536)
    print(struct.unpack('>I', data[:4])[0], len(data), flush=True)
`;

export const PORT = 9;
export const RECEIVER4 = '10.2.0.2';
export const RECEIVER6 = 'fd00:2::2';

/** A program that listens for numbered datagrams. */
export class Receiver {
  readonly received: number[] = [];
  readonly sizes: number[] = [];
  readonly #process: ReturnType<Netns['spawn']>;

  private constructor(process: ReturnType<Netns['spawn']>) {
    this.#process = process;
  }

  static async listen(netns: Netns, host: string): Promise<Receiver> {
    const process = netns.spawn('python3', ['-c', RECEIVER, host, String(PORT)]);
    const receiver = new Receiver(process);
    const lines = createInterface({ input: process.stdout });
    await new Promise<void>((resolve, reject) => {
      void process.then((result) => { reject(new Error(`receiver ended: ${result.stderr}`)); });
      lines.on('line', (line) => {
        if (line === 'listening') resolve();
        else receiver.#take(line);
      });
    });
    return receiver;
  }

  #take(line: string): void {
    const [number, size] = line.split(' ').map(Number);
    this.received.push(number!);
    this.sizes.push(size!);
  }

  /** Forgets what came so far. */
  clear(): void {
    this.received.length = 0;
    this.sizes.length = 0;
  }

  stop(): void {
    this.#process.kill();
  }
}

/**
 * A sender, a router and a receiver, in namespaces of their own. Packets to the receiver's networks are queued in the
 * router's raw PREROUTING; the router's own in raw OUTPUT.
 */
export class QueueLab {
  readonly sender: Netns;
  readonly router: Netns;
  readonly receiver: Netns;
  /** Descriptor of the router's namespace, for NfQueue.open. */
  readonly netns: number;
  readonly #file: FileHandle;
  readonly #receivers: Receiver[] = [];

  private constructor(sender: Netns, router: Netns, receiver: Netns, file: FileHandle) {
    this.sender = sender;
    this.router = router;
    this.receiver = receiver;
    this.#file = file;
    this.netns = file.fd;
  }

  static async create(queue: number, { catchIpv6 = true } = {}): Promise<QueueLab> {
    const [sender, router, receiver] = await Promise.all([Netns.create('nfq-s'), Netns.create('nfq-r'), Netns.create('nfq-d')]);
    await Netns.join({ netns: sender, device: 'up0', addresses: ['10.1.0.2/24', 'fd00:1::2/64'] }, { netns: router, device: 'lan0', addresses: ['10.1.0.1/24', 'fd00:1::1/64'] });
    await Netns.join({ netns: router, device: 'wan0', addresses: ['10.2.0.1/24', 'fd00:2::1/64'] }, { netns: receiver, device: 'in0', addresses: [`${RECEIVER4}/24`, `${RECEIVER6}/64`] });
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    await sender.ip('route add default via 10.1.0.1');
    await sender.ip('-6 route add default via fd00:1::1');
    await receiver.ip('route add default via 10.2.0.1');
    await receiver.ip('-6 route add default via fd00:2::1');
    const lab = new QueueLab(sender, router, receiver, await open(`/run/netns/${router.name}`, 'r'));
    for (const chain of ['PREROUTING', 'OUTPUT']) {
      await lab.iptables(`-t raw -A ${chain} -d 10.2.0.0/24 -p udp -j NFQUEUE --queue-num ${queue}`);
      if (catchIpv6) await lab.ip6tables(`-t raw -A ${chain} -d fd00:2::/64 -p udp -j NFQUEUE --queue-num ${queue}`);
    }
    return lab;
  }

  iptables(args: string): Promise<string> {
    return this.router.run('iptables', ['-w', ...args.split(' ')]);
  }

  ip6tables(args: string): Promise<string> {
    return this.router.run('ip6tables', ['-w', ...args.split(' ')]);
  }

  async listen(host = RECEIVER4): Promise<Receiver> {
    const receiver = await Receiver.listen(this.receiver, host);
    this.#receivers.push(receiver);
    return receiver;
  }

  /** Sends numbered datagrams to the receiver, from the sender's namespace unless told otherwise. */
  async send(count: number, { host = RECEIVER4, size = 64, first = 0, from = this.sender }: { host?: string; size?: number; first?: number; from?: Netns } = {}): Promise<void> {
    await from.run('python3', ['-c', SENDER, host, String(PORT), String(count), String(size), String(first)]);
  }

  async dispose(): Promise<void> {
    for (const receiver of this.#receivers) receiver.stop();
    await this.#file.close();
    await Promise.all([this.sender.dispose(), this.router.dispose(), this.receiver.dispose()]);
  }
}

/** Under valgrind all takes longer. */
const PATIENCE_MS = Number(process.env['TEST_PATIENCE_MS'] ?? 10_000);

/** Waits until a condition holds; says what it was if it never does. */
export async function until(what: string, condition: () => boolean, timeoutMs = PATIENCE_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not seen within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** 0, 1, … count - 1 */
export function sequence(count: number, first = 0): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
