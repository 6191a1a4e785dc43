import { Command, Option } from 'commander';
import { requestStatus } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';
import { statusText } from '../render.js';
import { watch } from '../watch.js';

export function statusCommand(): Command {
  return new Command('status')
    .description('what every tunnel is doing')
    .addOption(socketOption())
    .option('--json', 'for programs')
    .addOption(new Option('--watch', 'go on showing it until Ctrl-C; not on a terminal: a line for each change of state').conflicts('json'))
    .action(async ({ socket, json = false, watch: watching = false }: SocketOption & { json?: boolean; watch?: boolean }) => {
      if (watching) {
        await watch({ read: () => requestStatus(socket), output: process.stdout, now: Date.now, signal: interrupted() });
        return;
      }
      const status = await requestStatus(socket);
      console.log(json ? JSON.stringify(status, null, 2) : statusText(status, Date.now()));
    });
}

function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { controller.abort(); });
  return controller.signal;
}
