import { Command } from 'commander';
import { request } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';

export function downCommand(): Command {
  return new Command('down')
    .description('take a tunnel down now and set the trap again')
    .argument('<tunnel>')
    .addOption(socketOption())
    .action(async (tunnel: string, { socket }: SocketOption) => {
      await request(socket, { command: 'down', tunnel });
    });
}
