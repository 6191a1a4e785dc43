import { Command } from 'commander';
import { version } from '../../version.js';
import { configOption, type ConfigOption } from '../options.js';
import { findingsText } from '../render.js';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look at everything that the daemon needs of this machine and say what is missing; changes nothing')
    .addOption(configOption())
    .option('--json', 'for programs')
    .addHelpText('after', '\nExit status: 0 no error was found (warnings may have been); 1 an error was found.')
    .action(async ({ config, json = false }: ConfigOption & { json?: boolean }) => {
      const { examine } = await import('./doctor/examine.js');
      const findings = await examine(config);
      console.log(json ? JSON.stringify({ version, findings }, null, 2) : findingsText(findings));
      if (findings.some(({ severity }) => severity === 'error')) process.exitCode = 1;
    });
}
