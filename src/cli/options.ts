import { Option } from 'commander';

/** Where the daemon is reached. */
export function socketOption(): Option {
  return new Option('--socket <path>', "the daemon's control socket").default('/run/openvpn-ondemand/control.sock');
}

export function configOption(): Option {
  return new Option('--config <file>', 'the configuration').default('/etc/openvpn-ondemand/config.yaml');
}

export interface SocketOption {
  readonly socket: string;
}

export interface ConfigOption {
  readonly config: string;
}
