import { addresses, devices } from './addresses.js';
import { Janitor } from './janitor.js';
import { Netns } from './netns.js';

export interface TopologyOptions {
  /**
   * Whether the router has a default route to the far end of the underlay, so that what leaks is seen there; without
   * it a program on the router has no way to the protected network until the tunnel is up. Default true.
   */
  readonly defaultRoute?: boolean;
}

/**
 * Four namespaces in a row: a LAN host, the router that the daemon runs on, the OpenVPN server, and a service behind
 * it. The server's underlay device is the far end: everything that leaves the router shows there.
 *
 *     lan ──10.77.1.0/24── router ──192.0.2.0/24── server ──10.99.0.0/16── service
 */
export class Topology {
  readonly lan = Netns.reserve('lan');
  readonly router = Netns.reserve('router');
  readonly server = Netns.reserve('server');
  readonly service = Netns.reserve('service');
  readonly #janitor: Janitor;

  private constructor() {
    this.#janitor = Janitor.hire([this.lan, this.router, this.server, this.service]);
  }

  /** Where everything of this lab is kept that is not a namespace; goes with it. */
  get folder(): string {
    return this.#janitor.folder;
  }

  static async create(options: TopologyOptions = {}): Promise<Topology> {
    const topology = new Topology();
    try {
      await topology.#build(options);
      return topology;
    } catch (error) {
      await topology.dispose();
      throw error;
    }
  }

  /** Ends all processes in the namespaces and removes them and the folder. */
  async dispose(): Promise<void> {
    await this.#janitor.clean();
  }

  /** Leaves all of it behind when this process ends; resolves with the shell command that removes it. */
  async keep(): Promise<string> {
    await this.#janitor.keep();
    return this.#janitor.command;
  }

  async #build({ defaultRoute = true }: TopologyOptions): Promise<void> {
    const all = [this.lan, this.router, this.server, this.service];
    await Promise.all(all.map((netns) => netns.add()));
    await Promise.all(all.map((netns) => netns.sysctl(quiet)));
    await Promise.all([this.router, this.server].map((netns) => netns.sysctl(forwarding)));

    const { lan, underlay, service } = addresses;
    await Netns.join(
      { netns: this.lan, device: devices.lan, addresses: [`${lan.host}/24`, `${lan.host6}/64`] },
      { netns: this.router, device: devices.router.lan, addresses: [`${lan.router}/24`, `${lan.router6}/64`] },
    );
    await Netns.join(
      { netns: this.router, device: devices.router.underlay, addresses: [`${underlay.router}/24`, `${underlay.router6}/64`] },
      { netns: this.server, device: devices.server.underlay, addresses: [`${underlay.server}/24`, `${underlay.server6}/64`] },
    );
    await Netns.join(
      { netns: this.server, device: devices.server.service, addresses: [`${service.server}/16`, `${service.server6}/48`] },
      { netns: this.service, device: devices.service, addresses: [`${service.host}/16`, `${service.host6}/48`] },
    );
    const via = (four: string, six: string): string[] => [`route add default via ${four}`, `route add ::/0 via ${six}`];
    await Promise.all([
      this.lan.batch(via(lan.router, lan.router6)),
      this.service.batch(via(service.server, service.server6)),
      defaultRoute ? this.router.batch(via(underlay.server, underlay.server6)) : undefined,
    ]);
  }
}

// Nothing of the kernel's own making on the wires: no duplicate address detection, no router solicitations; and the
// reports of multicast groups are over within milliseconds, not seconds.
const quiet = Object.fromEntries(['default', 'all'].flatMap((scope) => [
  [`net.ipv6.conf.${scope}.accept_dad`, 0],
  [`net.ipv6.conf.${scope}.dad_transmits`, 0],
  [`net.ipv6.conf.${scope}.accept_ra`, 0],
  [`net.ipv6.conf.${scope}.router_solicitations`, 0],
  [`net.ipv6.conf.${scope}.mldv2_unsolicited_report_interval`, 5],
]));

// Loose reverse path filtering is what Debian's systemd sets.
const forwarding = {
  'net.ipv4.ip_forward': 1,
  'net.ipv6.conf.all.forwarding': 1,
  'net.ipv6.conf.default.forwarding': 1,
  'net.ipv4.conf.all.rp_filter': 2,
  'net.ipv4.conf.default.rp_filter': 2,
};
