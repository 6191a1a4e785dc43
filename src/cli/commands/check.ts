import { Command } from 'commander';
import { loadConfiguration } from '../../config/load.js';
import { configOption, type ConfigOption } from '../options.js';

export function checkCommand(): Command {
  return new Command('check')
    .description('read the configuration and say what is wrong with it; changes nothing')
    .addOption(configOption())
    .action(async ({ config }: ConfigOption) => {
      const { tunnels } = await loadConfiguration(config);
      for (const { name, protect, device } of tunnels) console.log(`${name}: ${protect.join(', ')} through ${device}`);
    });
}
