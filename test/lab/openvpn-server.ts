import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addresses, devices, serverPort } from './addresses.js';
import { Pki, type Credentials } from './pki.js';
import { Program } from './program.js';
import { realTime } from './real-time.js';
import type { Topology } from './topology.js';

/** `udp6` and `tcp6` speak over the underlay's IPv6 addresses. */
export type Transport = 'udp' | 'tcp' | 'udp6' | 'tcp6';

export interface ServerOptions {
  readonly transport?: Transport;
  /** Seconds between pings and seconds until the other end counts as gone; default 10 and 60. */
  readonly keepalive?: readonly [number, number];
  /** Pushes `redirect-gateway def1 ipv6` in place of the routes to the service. */
  readonly redirectGateway?: boolean;
  /** Further lines of the server's configuration. */
  readonly lines?: readonly string[];
}

export interface ClientOptions {
  /** Further lines of the client's configuration, such as `persist-tun`. */
  readonly lines?: readonly string[];
  /** Default: the server's underlay address. */
  readonly remote?: string;
}

const clientName = 'client';

const protocols = {
  udp: { server: 'udp', client: 'udp' },
  udp6: { server: 'udp6', client: 'udp6' },
  tcp: { server: 'tcp-server', client: 'tcp-client' },
  tcp6: { server: 'tcp6-server', client: 'tcp6-client' },
} as const;

/** A real OpenVPN server in the topology's server namespace, with one client that always gets the same addresses. */
export class OpenvpnServer {
  readonly #topology: Topology;
  readonly #options: ServerOptions;
  readonly #credentials: { readonly server: Credentials; readonly client: Credentials };
  #program: Program | undefined;

  private constructor(topology: Topology, options: ServerOptions, credentials: { server: Credentials; client: Credentials }) {
    this.#topology = topology;
    this.#options = options;
    this.#credentials = credentials;
  }

  /** Makes certificates and starts; resolves when the server accepts clients. */
  static async start(topology: Topology, options: ServerOptions = {}): Promise<OpenvpnServer> {
    const pki = await Pki.create(topology.folder);
    const [server, client] = await Promise.all([pki.server('server'), pki.client(clientName)]);
    const started = new OpenvpnServer(topology, options, { server, client });
    await started.start();
    return started;
  }

  get #transport(): Transport {
    return this.#options.transport ?? 'udp';
  }

  /** What the program has logged. */
  get log(): string {
    return this.#program?.stdout ?? '';
  }

  /** Starts again after `stop` or `kill`, with the same certificates. */
  async start(): Promise<void> {
    const { folder, server } = this.#topology;
    const config = join(folder, 'server.ovpn');
    const clients = join(folder, 'clients');
    mkdirSync(clients, { recursive: true });
    writeFileSync(join(clients, clientName), text(clientDirectives));
    writeFileSync(config, text([...this.#lines(clients), ...inline(this.#credentials.server)]), { mode: 0o600 });
    const [command, ...args] = [...(await realTime()), 'openvpn', '--config', config] as const;
    this.#program = Program.start(command, args, { netns: server, folder, label: 'server' });
    await this.#program.says('Initialization Sequence Completed');
  }

  /** Ends the server politely: a client on UDP is told nothing, unless the configuration says so. */
  async stop(): Promise<void> {
    await this.#program?.stop();
  }

  /** SIGSTOP and SIGCONT make a server that does not answer for a while. */
  signal(name: NodeJS.Signals): void {
    this.#program?.signal(name);
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    await this.#program?.stop('SIGKILL');
  }

  /** Writes FOLDER/NAME.ovpn for the client and resolves with its path. */
  writeClientConfig(name: string, { lines = [], remote }: ClientOptions = {}): string {
    const path = join(this.#topology.folder, `${name}.ovpn`);
    const { server, server6 } = addresses.underlay;
    const address = remote ?? (this.#transport.endsWith('6') ? server6 : server);
    const config = ['client', 'dev tun', `proto ${protocols[this.#transport].client}`, `remote ${address} ${serverPort}`, 'nobind', 'remote-cert-tls server', 'verb 3', ...lines];
    writeFileSync(path, text([...config, ...inline(this.#credentials.client)]), { mode: 0o600 });
    return path;
  }

  #lines(clients: string): string[] {
    const { lan, tunnel } = addresses;
    const { keepalive: [ping, restart] = [10, 60], redirectGateway = false, lines = [] } = this.#options;
    return [
      `dev ${devices.server.tunnel}`, 'dev-type tun', 'topology subnet', `proto ${protocols[this.#transport].server}`, `port ${serverPort}`,
      `server ${subnet(tunnel.prefix)}`, `server-ipv6 ${tunnel.prefix6}`, `client-config-dir ${clients}`, 'dh none', 'verb 3',
      `keepalive ${ping} ${restart}`, `route ${subnet(lan.prefix)}`, `route-ipv6 ${lan.prefix6}`,
      ...(redirectGateway ? ['push "redirect-gateway def1 ipv6"'] : routes),
      ...lines,
    ];
  }
}

/** `10.8.0.0 255.255.255.0` of `10.8.0.0/24`. */
function subnet(prefix: string): string {
  const [network, length] = prefix.split('/');
  const mask = (0xffffffff << (32 - Number(length))) >>> 0;
  return `${network} ${[24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.')}`;
}

const routes = [`push "route ${subnet(addresses.service.prefix)}"`, `push "route-ipv6 ${addresses.service.prefix6}"`];

// A fixed address, and the LAN behind the client.
const clientDirectives = [
  `ifconfig-push ${addresses.tunnel.client} 255.255.255.0`,
  `ifconfig-ipv6-push ${addresses.tunnel.client6}/64 ${addresses.tunnel.server6}`,
  `iroute ${subnet(addresses.lan.prefix)}`,
  `iroute-ipv6 ${addresses.lan.prefix6}`,
];

function inline({ ca, certificate, key }: Credentials): string[] {
  return [`<ca>\n${ca}</ca>`, `<cert>\n${certificate}</cert>`, `<key>\n${key}</key>`];
}

function text(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`;
}
