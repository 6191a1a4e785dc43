import { Command } from 'commander';
import { request } from '../../control/client.js';
import { durationHint, durationMs } from '../../core/duration.js';
import { DaemonError } from '../../core/errors.js';
import { socketOption, type SocketOption } from '../options.js';

interface PauseOptions extends SocketOption {
  readonly bypass?: boolean;
  readonly persist?: boolean;
}

export function pauseCommand(): Command {
  return new Command('pause')
    .description('no tunnel until resume, or for so long; packets to it are refused meanwhile')
    .argument('<tunnel>')
    .argument('[duration]', 'like 10m; without it: until resume')
    .addOption(socketOption())
    .option('--bypass', 'let packets go in clear meanwhile, by whatever route there is')
    .option('--persist', 'also after a restart of the daemon')
    .action(async (tunnel: string, duration: string | undefined, { socket, bypass = false, persist = false }: PauseOptions) => {
      await request(socket, { command: 'pause', tunnel, bypass, persist, ...(duration === undefined ? {} : { forMs: milliseconds(duration) }) });
    });
}

function milliseconds(duration: string): number {
  const value = durationMs(duration);
  if (value !== undefined && value > 0) return value;
  const hint = durationHint(duration);
  throw new DaemonError('USAGE', `"${duration}" is not a duration`, { hint: hint === undefined || value === 0 ? 'like 10m or 1h' : `try ${hint}` });
}
