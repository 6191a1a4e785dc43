import { Command } from 'commander';
import { request } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';

export function readyCommand(): Command {
  return new Command('ready')
    .description('tell the daemon that a link is up: for the up command of a tunnel with `ready: signal`')
    .argument('<tunnel>', 'in that command: "$OPENVPN_ONDEMAND_TUNNEL"')
    .addOption(socketOption())
    .action(async (tunnel: string, { socket }: SocketOption) => {
      await request(socket, { command: 'ready', tunnel });
    });
}
