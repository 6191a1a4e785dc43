import { Command } from 'commander';
import { isServed } from '../../control/client.js';
import { DaemonError } from '../../core/errors.js';
import { version } from '../../version.js';
import { socketOption, type SocketOption } from '../options.js';

export function flushCommand(): Command {
  return new Command('flush')
    .description('remove everything of ours from firewall and routes, after a daemon was killed; protected traffic then goes in clear')
    .addOption(socketOption())
    .option('--json', 'for programs')
    .action(async ({ socket, json = false }: SocketOption & { json?: boolean }) => {
      if (await isServed(socket)) throw new DaemonError('ADDRESS_IN_USE', 'a daemon is running and would lose its trap', { place: socket, hint: 'stop it: it removes everything itself' });
      const { removeEverything } = await import('../../daemon.js');
      const removed = await removeEverything();
      if (json) console.log(JSON.stringify({ version, removed }, null, 2));
      else console.log(removed.length === 0 ? 'nothing of ours was there' : removed.join('\n'));
    });
}
