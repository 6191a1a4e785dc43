import { Command, CommanderError } from 'commander';
import { DaemonError, messageOf } from '../core/errors.js';
import { version } from '../version.js';
import { answerCommand } from './commands/answer.js';
import { checkCommand } from './commands/check.js';
import { completionCommand } from './commands/completion.js';
import { dnsmasqCommand } from './commands/dnsmasq.js';
import { doctorCommand } from './commands/doctor.js';
import { downCommand } from './commands/down.js';
import { flushCommand } from './commands/flush.js';
import { pauseCommand } from './commands/pause.js';
import { readyCommand } from './commands/ready.js';
import { reloadCommand } from './commands/reload.js';
import { resumeCommand } from './commands/resume.js';
import { runCommand } from './commands/run.js';
import { statusCommand } from './commands/status.js';
import { upCommand } from './commands/up.js';
import { whyCommand } from './commands/why.js';

/** 0 done; 1 failed; 2 wrong usage or configuration; 3 no daemon answers. */
function exitStatus(error: unknown): number {
  if (!(error instanceof DaemonError)) return 1;
  if (error.code === 'CONTROL_UNREACHABLE') return 3;
  return error.code === 'USAGE' || error.code.startsWith('CONFIG_') ? 2 : 1;
}

// What a command needs it imports when it is carried out: a daemon is not to have the others' modules in its memory.
const program = new Command('openvpn-ondemand')
  .description('VPN on demand for OpenVPN: no tunnel while idle; the first packet is held, never lost, never sent in clear')
  .version(version)
  .addHelpText('after', '\nExit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 no daemon answers.')
  .exitOverride()
  .showHelpAfterError();

for (const command of [runCommand, checkCommand, statusCommand, upCommand, downCommand, pauseCommand, resumeCommand, reloadCommand, readyCommand, answerCommand, whyCommand, doctorCommand, dnsmasqCommand, flushCommand, completionCommand]) program.addCommand(command().copyInheritedSettings(program));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error(error instanceof DaemonError ? error.describe() : `INTERNAL: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`);
    process.exitCode = exitStatus(error);
  }
}
