import { open } from 'node:fs/promises';
import type { GatePort, GateTunnel, Marks } from '../../../src/core/ports.js';
import { createGate, type Backend } from '../../../src/gate/gate.js';
import { NfQueue } from 'node-nfqueue';
import { Netns } from '../../lab/netns.js';
import { sleep } from '../nfqueue/machine.js';
import { atFront, PORT, type Programs } from '../nfqueue/programs.js';

const marks: Marks = { mask: 0x00c00000, transport: 0x00400000, release: 0x00800000, reject: 0x00c00000 };
const [sender, ahead] = ['10.77.1.2', '10.8.0.1'];

/** The tunnel's end in the router. */
export const device = 'ovpn-t0';

/** Protected in every configuration, and behind the tunnel. */
export const protectedHost = '10.99.0.1';
/** Nobody's, by the same way out. */
export const otherHost = '172.31.0.1';

/** LAN host – router with a gate – far end of a device that plays the tunnel, where everything is counted and dropped. */
export class GateLab {
  readonly #lan: Netns;
  readonly #router: Netns;
  readonly #far: Netns;
  readonly #programs: Programs;

  private constructor(lan: Netns, router: Netns, far: Netns, programs: Programs) {
    this.#lan = lan;
    this.#router = router;
    this.#far = far;
    this.#programs = programs;
  }

  static async create(programs: Programs): Promise<GateLab> {
    const [lan, router, far] = [await Netns.create('gate-l'), await Netns.create('gate-r'), await Netns.create('gate-f')];
    await Netns.join({ netns: lan, device: 'eth0', addresses: [`${sender}/24`] }, { netns: router, device: 'lan0', addresses: ['10.77.1.1/24'] });
    await Netns.join({ netns: far, device: 'eth0', addresses: [`${ahead}/24`] }, { netns: router, device, addresses: ['10.8.0.6/24'] });
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
    await lan.ip('route add default via 10.77.1.1');
    await router.batch([`route add 10.99.0.0/16 via ${ahead}`, `route add 172.31.0.0/16 via ${ahead}`]);
    await far.run('iptables', ['-w', '-t', 'raw', '-A', 'PREROUTING', '-i', 'eth0', '-p', 'udp', '-j', 'DROP']);
    return new GateLab(lan, router, far, programs);
  }

  gate(backend: Backend): GatePort {
    return createGate({ backend, marks, exec: { prefix: ['nsenter', `--net=${this.#file}`], netns: this.#file } });
  }

  /** For what holds packets. */
  async queue(num: number, maxLength: number): Promise<NfQueue> {
    const namespace = await open(this.#file);
    try {
      const queue = await NfQueue.open({ num, copy: 'headers', maxLength, netns: namespace.fd });
      queue.on('packets', () => undefined);
      return queue;
    } finally {
      await namespace.close();
    }
  }

  /** Packets that come out of the router by the tunnel's device, thousands a second, under a flood from the LAN. */
  async forwarded(to: string, ms: number): Promise<number> {
    const before = await this.arrived();
    await this.#lan.run('setsid', atFront(0, [this.#programs.compiled('storm'), to, String(PORT), String(ms)]));
    await sleep(50);
    return ((await this.arrived()) - before) / ms;
  }

  async send(to: string, count: number): Promise<void> {
    await this.#lan.run(this.#programs.compiled('flood'), [to, String(PORT), '64', String(count)]);
  }

  /** Datagrams that have arrived at the far end, as the rule that drops them counts. */
  async arrived(): Promise<number> {
    const list = await this.#far.run('iptables', ['-w', '-t', 'raw', '-nvxL', 'PREROUTING']);
    return Number(/^\s*(\d+)\s+\d+\s+DROP/m.exec(list)?.[1]);
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#lan, this.#router, this.#far].map((netns) => netns.dispose()));
  }

  get #file(): string {
    return `/run/netns/${this.#router.name}`;
  }
}

function tunnelOf(index: number, protect: readonly string[]): GateTunnel {
  return { name: `t${index}`, device: `ovpn-t${index}`, queue: 100 + index, protect, exclude: [], remotes: ['192.0.2.1'], onFailure: 'reject' };
}

/** One tunnel with so many prefixes, the one of `protectedHost` among them. */
export function withPrefixes(count: number): readonly GateTunnel[] {
  const others = Array.from({ length: count - 1 }, (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`);
  return [tunnelOf(0, ['10.99.0.0/16', ...others])];
}

/** So many tunnels with a prefix each; the first has `protectedHost`. */
export function withTunnels(count: number): readonly GateTunnel[] {
  return Array.from({ length: count }, (_, i) => tunnelOf(i, [i === 0 ? '10.99.0.0/16' : `10.${100 + (i >> 4)}.${(i & 15) * 16}.0/20`]));
}
