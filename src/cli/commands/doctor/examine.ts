import { isServed } from '../../../control/client.js';
import { checkConfiguration } from './configuration.js';
import { checkDaemon } from './daemon.js';
import type { Finding } from './finding.js';
import { checkKernel } from './kernel.js';
import { thisMachine } from './machine.js';
import { checkNames } from './names.js';
import { checkNetwork } from './network.js';
import { checkPrivileges } from './privileges.js';
import { checkPrograms } from './programs.js';
import { checkQueues } from './queues.js';

/** Looks at everything that the daemon needs of this machine; changes nothing. */
export async function examine(configFile: string): Promise<Finding[]> {
  const machine = thisMachine;
  const { settings, findings } = await checkConfiguration(machine, configFile);
  const openvpn = settings === undefined ? ['openvpn'] : [...new Set(settings.tunnels.flatMap(({ link }) => (link.kind === 'openvpn' ? [link.program] : [])))];
  const running = settings !== undefined && (await isServed(settings.control.socket));
  const rest = await Promise.all([
    checkPrivileges(machine, settings?.gate),
    checkPrograms(machine, openvpn, settings?.gate),
    checkKernel(machine, settings),
    checkNetwork(machine, settings),
    settings === undefined ? [] : checkQueues(machine, settings, running),
    settings === undefined ? [] : checkNames(machine, settings),
    settings === undefined ? [] : checkDaemon(machine, settings, running),
  ]);
  return [...findings, ...rest.flat()];
}
