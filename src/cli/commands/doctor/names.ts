import type { Settings } from '../../../config/load.js';
import { ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

/** What the host names in `protect` stand for now, by getaddrinfo(3). */
export async function checkNames(machine: Machine, settings: Settings): Promise<Finding[]> {
  const names = [...new Set(settings.tunnels.flatMap((tunnel) => tunnel.names))];
  return (await Promise.all(names.map((name) => checkName(machine, name)))).flat();
}

async function checkName(machine: Machine, name: string): Promise<Finding[]> {
  const ran = await machine.run('getent', ['ahosts', name]);
  if (ran === undefined) return []; // not on every system
  const addresses = [...new Set(ran.stdout.split('\n').map((line) => line.split(/\s+/, 1)[0] ?? '').filter((address) => address !== ''))];
  if (ran.succeeded && addresses.length > 0) return [ok('NAMES', `${name} is ${addresses.join(', ')}`)];
  return [warning('NAME_UNRESOLVED', `${name} in \`protect\` has no address: packets to it are not protected until the daemon has found one`, 'see that this machine can resolve the name (/etc/resolv.conf, /etc/hosts), or protect prefixes')];
}
