import { Command } from 'commander';
import { version } from '../../version.js';
import { configOption, type ConfigOption } from '../options.js';

export function checkCommand(): Command {
  return new Command('check')
    .description('read the configuration and say what is wrong with it, or with the flowtables of this machine; changes nothing')
    .addOption(configOption())
    .option('--json', 'for programs')
    .action(async ({ config, json = false }: ConfigOption & { json?: boolean }) => {
      const [{ loadConfiguration }, { listFlowtables }, { assertNoOffload }] = await Promise.all([import('../../config/load.js'), import('../../host/flowtables.js'), import('../../offload.js')]);
      const { tunnels, offload } = await loadConfiguration(config);
      await assertNoOffload(offload, listFlowtables);
      if (json) console.log(JSON.stringify({ version, tunnels: tunnels.map(({ name, protect, names, domains, device }) => ({ name, protect: [...protect, ...names, ...domains], device })) }, null, 2));
      else for (const { name, protect, names, domains, device } of tunnels) console.log(`${name}: ${[...protect, ...names, ...domains].join(', ')} through ${device}`);
    });
}
