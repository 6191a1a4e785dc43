import type { ClientConfig } from './client-config.js';

export interface OpenvpnOptions {
  readonly name: string;
  /** The client configuration (.ovpn). */
  readonly config: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly device: string;
  /** Packet mark of OpenVPN's own socket. */
  readonly mark: number;
  readonly standby: 'cold' | 'warm';
  /** How long a dial may take: OpenVPN's own timers are not longer. */
  readonly dialTimeoutMs: number;
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
  const { device, mark, args, inactiveMs, dialTimeoutMs } = options;
  const dialTimeoutS = Math.max(2, Math.ceil(dialTimeoutMs / 1000));
  return [
    '--config', 'stdin', '--dev', device, '--dev-type', client.deviceType, '--mark', String(mark),
    // OpenVPN dials us: nobody has to wait for its socket, and it ends when we die.
    '--management', socket, 'unix', '--management-client', '--management-hold',
    // Otherwise a server on UDP goes on pinging, and our ICMP errors answer it.
    ...(client.udp && !client.exitNotify ? ['--explicit-exit-notify', '1'] : []),
    ...(inactiveMs === undefined ? [] : ['--inactive', String(Math.max(1, Math.round(inactiveMs / 1000)))]),
    // Each server gets its share of the time that a packet may be held; a lost control packet is sent again after a second.
    '--server-poll-timeout', String(Math.max(2, Math.floor(dialTimeoutS / servers))), '--hand-window', String(dialTimeoutS), '--tls-timeout', '1',
    ...args,
  ];
}
