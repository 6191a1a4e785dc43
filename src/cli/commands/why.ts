import { Command } from 'commander';
import type { Why } from '../../control/api.js';
import { request } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';
import { whyText } from '../why-text.js';

export function whyCommand(): Command {
  return new Command('why')
    .description('what woke a tunnel, how long each step took, what keeps it up, and what comes next')
    .argument('<tunnel>')
    .addOption(socketOption())
    .option('--json', 'for programs')
    .action(async (tunnel: string, { socket, json = false }: SocketOption & { json?: boolean }) => {
      const why = (await request(socket, { command: 'why', tunnel })) as Why;
      console.log(json ? JSON.stringify(why, null, 2) : whyText(why, Date.now()));
    });
}
