import { Command } from 'commander';
import { runDaemon } from '../../main.js';
import { configOption, type ConfigOption } from '../options.js';

export function runCommand(): Command {
  return new Command('run')
    .description('run the daemon in the foreground: sets the trap, and removes it on SIGTERM or SIGINT')
    .addOption(configOption())
    .action(async ({ config }: ConfigOption) => {
      await runDaemon(config);
    });
}
