import type { Credentials } from '../management/credentials.js';
import type { Prefix } from '../core/ports.js';
import type { ClientConfig } from './client-config.js';

export interface OpenvpnOptions {
  readonly name: string;
  /** The client configuration (.ovpn). */
  readonly config: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly device: string;
  /** Prefixes that are routed into the tunnel, whatever routes the server pushes; canonical text. Asked at each start. */
  readonly routes: () => readonly Prefix[];
  /** The servers have other addresses; resolves when the gate lets this host reach them. Never rejects. */
  readonly moved: () => Promise<void>;
  /** Packet mark of OpenVPN's own socket. */
  readonly mark: number;
  readonly standby: 'cold' | 'warm';
  /** Answers what OpenVPN asks for. */
  readonly credentials?: Credentials | undefined;
  /** Ways of authenticating beside the password that somebody or something here can go: `webauth`, `openurl`, `crtext`. */
  readonly signOn?: readonly string[];
  /** How long a dial may take: OpenVPN's own timers are not longer. */
  readonly dialTimeoutMs: number;
  /** How many packets may be held. */
  readonly holdPackets: number;
  /** `--inactive`; undefined: we watch ourselves. */
  readonly inactiveMs?: number;
  /** A folder of ours that nobody else can look into. */
  readonly folder: string;
}

/**
 * What OpenVPN is started with beside its configuration, which it reads from standard input. Later options win, so these
 * come behind it, and the user's own `openvpn.args` last.
 */
export function openvpnArguments(options: OpenvpnOptions, client: ClientConfig, { socket, servers }: { readonly socket: string; readonly servers: number }): string[] {
  const { device, mark, args, inactiveMs, dialTimeoutMs, holdPackets, signOn = [] } = options;
  const dialTimeoutS = Math.max(2, Math.ceil(dialTimeoutMs / 1000));
  return [
    '--config', 'stdin', '--dev', device, '--dev-type', client.deviceType, '--mark', String(mark),
    // OpenVPN dials us: nobody has to wait for its socket, and it ends when we die.
    '--management', socket, 'unix', '--management-client', '--management-hold', '--management-query-passwords',
    // Otherwise a server on UDP goes on pinging, and our ICMP errors answer it.
    ...(client.udp && !client.options.has('explicit-exit-notify') ? ['--explicit-exit-notify', '1'] : []),
    ...(inactiveMs === undefined ? [] : ['--inactive', String(Math.max(1, Math.round(inactiveMs / 1000)))]),
    // Each server gets its share of the time that a packet may be held; a lost control packet is sent again after a second.
    '--server-poll-timeout', String(Math.max(2, Math.floor(dialTimeoutS / servers))), '--hand-window', String(dialTimeoutS), '--tls-timeout', '1',
    // A server asks for what the client says that it can.
    ...(signOn.length > 0 ? ['--setenv', 'IV_SSO', signOn.join(',')] : []),
    // All that was held fits into the device's queue, though OpenVPN may not get the processor for a while.
    ...(client.options.has('txqueuelen') ? [] : ['--txqueuelen', String(Math.max(1000, 2 * holdPackets))]),
    ...args,
  ];
}

/** Worse than a route that the server pushed, better than the catch route (4000). */
const ROUTE_METRIC = 3000;

/**
 * The routes of the protected prefixes, as lines of a configuration. OpenVPN sets them before it says CONNECTED, and they
 * go with the device: without them the catch route would win over a shorter one that the server pushed. A default route
 * is left to the server: it decides between `redirect-gateway` and its absence.
 */
export function routeLines(routes: readonly Prefix[]): string[] {
  return routes.flatMap((prefix) => {
    const [network = '', length = ''] = prefix.split('/');
    if (length === '0') return [];
    // For IPv6 OpenVPN takes no metric without a gateway; the kernel's default is 1024.
    return [network.includes(':') ? `route-ipv6 ${prefix}` : `route ${network} ${netmask(Number(length))} default ${ROUTE_METRIC}`];
  });
}

function netmask(length: number): string {
  const mask = (0xffffffff << (32 - length)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.');
}
