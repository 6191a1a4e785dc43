import { addresses } from './addresses.js';
import { kernelDrops } from './judge.js';
import { OpenvpnServer, type ServerOptions } from './openvpn-server.js';
import { Probe } from './probe.js';
import { Topology, type TopologyOptions } from './topology.js';

export interface LabOptions extends TopologyOptions {
  readonly server?: ServerOptions;
}

/** The port of the service that answers TCP lines and UDP datagrams. */
export const servicePort = 8080;

/** The four namespaces with a real OpenVPN server and a service behind it; the router is still without a tunnel. */
export class Lab {
  readonly topology: Topology;
  readonly server: OpenvpnServer;
  /** Send and receive in the namespace of that name. */
  readonly probes: { readonly lan: Probe; readonly router: Probe; readonly service: Probe };

  private constructor(topology: Topology, server: OpenvpnServer, probes: { lan: Probe; router: Probe; service: Probe }) {
    this.topology = topology;
    this.server = server;
    this.probes = probes;
  }

  static async open({ server: serverOptions = {}, ...options }: LabOptions = {}): Promise<Lab> {
    const topology = await Topology.create(options);
    try {
      const [server, lan, router, service] = await Promise.all([
        OpenvpnServer.start(topology, serverOptions),
        Probe.in(topology.lan),
        Probe.in(topology.router),
        Probe.in(topology.service),
      ]);
      await service.serve(topology.folder, servicePort);
      return new Lab(topology, server, { lan, router, service });
    } catch (error) {
      await topology.dispose();
      throw error;
    }
  }

  /** Where the kernels of the lab have thrown packets away so far, to tell whose loss it was. */
  async drops(): Promise<string> {
    const { lan, router, server, service } = this.topology;
    const parts = await Promise.all(Object.entries({ lan, router, server, service }).map(async ([place, netns]) => [...(await kernelDrops(netns))].map(([what, count]) => `${place}: ${what} ${count}`)));
    return parts.flat().join(', ');
  }

  get folder(): string {
    return this.topology.folder;
  }

  /** Removes everything: processes, namespaces, the folder. */
  async close(): Promise<void> {
    await this.topology.dispose();
  }
}

/** Where the service answers. */
export const serviceAddress = { ipv4: addresses.service.host, ipv6: addresses.service.host6 } as const;
