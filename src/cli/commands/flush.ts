import { Command } from 'commander';
import { isServed } from '../../control/client.js';
import { DaemonError } from '../../core/errors.js';
import { removeEverything } from '../../daemon.js';
import { socketOption, type SocketOption } from '../options.js';

export function flushCommand(): Command {
  return new Command('flush')
    .description('remove everything of ours from firewall and routes, after a daemon was killed; protected traffic then goes in clear')
    .addOption(socketOption())
    .action(async ({ socket }: SocketOption) => {
      if (await isServed(socket)) throw new DaemonError('ADDRESS_IN_USE', 'a daemon is running and would lose its trap', { place: socket, hint: 'stop it: it removes everything itself' });
      const removed = await removeEverything();
      console.log(removed.length === 0 ? 'nothing of ours was there' : removed.join('\n'));
    });
}
