import { Command } from 'commander';
import { request } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';

export function resumeCommand(): Command {
  return new Command('resume')
    .description('end a pause: the trap is set again')
    .argument('<tunnel>')
    .addOption(socketOption())
    .action(async (tunnel: string, { socket }: SocketOption) => {
      await request(socket, { command: 'resume', tunnel });
    });
}
