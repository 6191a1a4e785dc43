import { Argument, Command } from 'commander';
import { completionScript, shells, type Shell } from '../completion.js';

export function completionCommand(): Command {
  return new Command('completion')
    .description('print the completion script of a shell, to be sourced')
    .addArgument(new Argument('<shell>').choices(shells))
    .action((shell: Shell, _options: unknown, command: Command) => {
      if (command.parent) process.stdout.write(completionScript(shell, command.parent));
    });
}
