import { Command } from 'commander';
import { requestStatus } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';
import { statusText } from '../render.js';

export function statusCommand(): Command {
  return new Command('status')
    .description('what every tunnel is doing')
    .addOption(socketOption())
    .option('--json', 'for programs')
    .action(async ({ socket, json = false }: SocketOption & { json?: boolean }) => {
      const status = await requestStatus(socket);
      console.log(json ? JSON.stringify(status, null, 2) : statusText(status, Date.now()));
    });
}
