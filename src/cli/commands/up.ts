import { Command } from 'commander';
import { request } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';

export function upCommand(): Command {
  return new Command('up')
    .description('bring a tunnel up without waiting for a packet; returns when it is up')
    .argument('<tunnel>')
    .addOption(socketOption())
    .action(async (tunnel: string, { socket }: SocketOption) => {
      await request(socket, { command: 'up', tunnel });
    });
}
