import { Command } from 'commander';
import { configOption, type ConfigOption } from '../options.js';

export function runCommand(): Command {
  return new Command('run')
    .description('run the daemon in the foreground: sets the trap, and on SIGTERM or SIGINT removes it (or leaves it: `onStop`)')
    .addOption(configOption())
    .action(async ({ config }: ConfigOption) => {
      const { runDaemon } = await import('../../main.js');
      await runDaemon(config);
    });
}
