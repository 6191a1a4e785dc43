import { DaemonError } from '../../../src/core/errors.js';
import type { GateTunnel, Marks } from '../../../src/core/ports.js';
import { Netns } from '../../lab/netns.js';

export const marks: Marks = { mask: 0x00c00000, transport: 0x00400000, release: 0x00800000, reject: 0x00c00000 };

/** What a program saw: `sent`, `connected`, or the name of an errno. */
export type Outcome = string;

const sender = `
import errno, json, socket, sys
o = json.loads(sys.argv[1])
s = socket.socket(socket.AF_INET6 if ':' in o['to'] else socket.AF_INET, socket.SOCK_STREAM if o.get('tcp') else socket.SOCK_DGRAM)
s.settimeout(o.get('timeout', 1))
try:
    if 'device' in o: s.setsockopt(socket.SOL_SOCKET, 25, o['device'].encode() + b'\\0')
    if 'mark' in o: s.setsockopt(socket.SOL_SOCKET, 36, o['mark'])
    if 'from' in o: s.bind((o['from'], o.get('sport', 0)))
    s.connect((o['to'], o.get('port', 9)))
    if o.get('tcp'): print('connected')
    else:
        for i in range(o.get('count', 1)): s.send(b'x')
        if o.get('answer'):
            try: s.recv(1); print('answered')
            except TimeoutError: print('sent')
        else: print('sent', s.getsockname()[0])
except TimeoutError: print('timeout')
except OSError as e: print(errno.errorcode[e.errno])
`;

export interface Packet {
  readonly to: string;
  readonly tcp?: boolean;
  readonly from?: string;
  readonly sport?: number;
  readonly port?: number;
  readonly count?: number;
  readonly device?: string;
  readonly mark?: number;
  /** Waits for an answer or an ICMP error. */
  readonly answer?: boolean;
  /** Seconds. */
  readonly timeout?: number;
}

/**
 * LAN host – router – underlay, and a far end behind a device of the router that plays the tunnel. The protected
 * hosts exist on both sides: what arrives at the underlay's has leaked.
 */
export class RouterLab {
  readonly lan: Netns;
  readonly router: Netns;
  readonly underlay: Netns;
  readonly far: Netns;

  private constructor(lan: Netns, router: Netns, underlay: Netns, far: Netns) {
    this.lan = lan;
    this.router = router;
    this.underlay = underlay;
    this.far = far;
  }

  static async create(): Promise<RouterLab> {
    const [lan, router, underlay, far] = await Promise.all(['lan', 'router', 'under', 'far'].map((label) => Netns.create(label)));
    const lab = new RouterLab(lan!, router!, underlay!, far!);
    await lab.#wire();
    return lab;
  }

  async #wire(): Promise<void> {
    const { lan, router, underlay, far } = this;
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0']);
    await Netns.join({ netns: lan, device: 'eth0', addresses: ['10.77.1.2/24', 'fd00:77::2/64'] }, { netns: router, device: 'lan0', addresses: ['10.77.1.1/24', 'fd00:77::1/64'] });
    await Netns.join({ netns: underlay, device: 'eth0', addresses: ['198.51.100.2/24', '2001:db8::2/64'] }, { netns: router, device: 'wan0', addresses: ['198.51.100.1/24', '2001:db8::1/64'] });
    for (const args of ['route add default via 10.77.1.1', 'route add default via fd00:77::1']) await lan.ip(args);
    for (const args of ['route add default via 198.51.100.2', 'route add default via 2001:db8::2']) await router.ip(args);
    for (const netns of [underlay, far]) {
      // any destination is a host there, so that whatever arrives is seen and UDP is answered by ICMP
      for (const args of ['route add local 0.0.0.0/0 dev lo metric 1 table 99', 'rule add iif eth0 lookup 99 pref 10', 'route add local ::/0 dev lo metric 1 table 99', '-6 rule add iif eth0 lookup 99 pref 10']) await netns.ip(args);
      for (const command of ['iptables-legacy-restore', 'ip6tables-legacy-restore']) await netns.run(command, [], { input: '*raw\n-A PREROUTING -i eth0 -p udp --dport 9 -j DROP\n-A PREROUTING -i eth0 -p tcp --dport 9 -j DROP\nCOMMIT\n' });
    }
    await underlay.ip('route add 10.77.1.0/24 via 198.51.100.1');
  }

  /** The tunnel device comes, with its address, and, as OpenVPN would do it, a route for each prefix. */
  async linkUp(device: string, prefixes: readonly string[]): Promise<void> {
    await Netns.join({ netns: this.router, device, addresses: ['10.8.0.6/24', 'fd00:8::6/64'] }, { netns: this.far, device: 'eth0', addresses: ['10.8.0.1/24', 'fd00:8::1/64'] });
    for (const prefix of prefixes) await this.router.ip(`route add ${prefix} via ${prefix.includes(':') ? 'fd00:8::1' : '10.8.0.1'}`);
  }

  async linkDown(device: string): Promise<void> {
    await this.router.ip(`link del ${device}`);
  }

  /** Sends from a namespace; resolves with what the program saw, and with the source address that it got. */
  async send(netns: Netns, packet: Packet): Promise<{ outcome: Outcome; source: string | undefined }> {
    const [outcome = '', source] = (await netns.run('python3', ['-c', sender, JSON.stringify(packet)])).trim().split(' ');
    return { outcome, source };
  }

  /** Packets to port 9 that arrived at the underlay or at the far end of the tunnel, so far, both families. */
  async arrived(netns: Netns): Promise<number> {
    const saved = await Promise.all(['iptables-legacy-save', 'ip6tables-legacy-save'].map((command) => netns.run(command, ['-c', '-t', 'raw'])));
    return sum(saved.join('\n'), (line) => line.includes('--dport 9'));
  }

  /** Packets that the rules of the router queued, so far, both families. */
  async held(save: string): Promise<number> {
    const saved = await Promise.all([`iptables${save}-save`, `ip6tables${save}-save`].map((command) => this.router.run(command, ['-c', '-t', 'raw'])));
    return sum(saved.join('\n'), (line) => line.includes('-j NFQUEUE'));
  }

  /** Runs `action` and resolves with what it moved. */
  async watch(save: string, action: () => Promise<unknown>): Promise<{ held: number; leaked: number; tunnelled: number }> {
    const read = () => Promise.all([this.held(save), this.arrived(this.underlay), this.arrived(this.far)]);
    const before = await read();
    await action();
    const [held, leaked, tunnelled] = (await read()).map((count, index) => count - before[index]!);
    return { held: held!, leaked: leaked!, tunnelled: tunnelled! };
  }

  /** What the router has of firewall, sets, routes, rules and addresses, without counters and empty tables. */
  async state(): Promise<string> {
    const commands = ['iptables-legacy-save', 'ip6tables-legacy-save', 'iptables-nft-save', 'ip6tables-nft-save', 'ipset save', 'ip -4 route show table all', 'ip -6 route show table all', 'ip -4 rule', 'ip -6 rule', 'ip addr show dev lo'];
    const outputs = await Promise.all(
      commands.map(async (command) => {
        const [program = '', ...args] = command.split(' ');
        return (await this.router.run(program, args)).split('\n').filter((line) => !/^([#*]|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) )|fe80|ff00/.test(line) && line !== '');
      }),
    );
    return outputs.map((lines, index) => [`== ${commands[index]!}`, ...lines].join('\n')).join('\n');
  }

  async dispose(): Promise<void> {
    await Promise.all([this.lan, this.router, this.underlay, this.far].map((netns) => netns.dispose()));
  }
}

function sum(saved: string, which: (line: string) => boolean): number {
  return saved
    .split('\n')
    .filter(which)
    .reduce((total, line) => total + Number(/^\[(\d+):/.exec(line)?.[1] ?? 0), 0);
}

export function tunnelOf(overrides: Partial<GateTunnel> = {}): GateTunnel {
  return { name: 'office', device: 'ovpn-office', queue: 11, protect: ['10.99.0.0/16', 'fd00:99::/48'], exclude: [], remotes: ['198.51.100.2'], onFailure: 'reject', ...overrides };
}

/** The error that a promise rejects with, which must be a DaemonError. */
export async function failureOf(promise: Promise<unknown>): Promise<DaemonError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof DaemonError) return error;
    throw error;
  }
  throw new Error('nothing failed');
}
