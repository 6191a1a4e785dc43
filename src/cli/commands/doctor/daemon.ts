import type { Settings } from '../../../config/load.js';
import { isDomainSet, setPrefix } from '../../../gate/names.js';
import { nftTable } from '../../../gate/nft.js';
import { ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

/** What is there already: the daemon, what a killed one left, devices that have a tunnel's name. */
export async function checkDaemon(machine: Machine, settings: Settings, running: boolean): Promise<Finding[]> {
  if (running) return [ok('DAEMON', `a daemon answers on ${settings.control.socket}`)];
  const devices = await machine.list('/sys/class/net');
  const taken = settings.tunnels.filter(({ device }) => devices.includes(device)).map(({ name, device }) => warning('DEVICE_EXISTS', `the device ${device} of tunnel ${name} is there already`, 'stop the OpenVPN that has it, or name another with `device`'));
  const remains = (await isGuarded(machine)) ? [warning('LEFTOVERS', 'a daemon that no longer runs left its guard behind: packets to protected prefixes are dropped', 'start the daemon, which takes it over, or remove it: openvpn-ondemand flush')] : [];
  return [ok('DAEMON_NOT_RUNNING', `no daemon answers on ${settings.control.socket}`), ...taken, ...remains];
}

/** Whether rules of ours may be there, in one of the backends. Sets that dnsmasq fills alone are what a stopped daemon leaves, too. */
async function isGuarded(machine: Machine): Promise<boolean> {
  const [sets, table] = await Promise.all([machine.run('ipset', ['list', '-name']), machine.run('nft', ['--terse', 'list', 'table', ...nftTable.split(' ')])]);
  const ours = (sets?.stdout ?? '').split('\n').filter((name) => name.startsWith(setPrefix));
  return ours.some((name) => !isDomainSet(name)) || /^\s*chain /m.test(table?.stdout ?? '');
}
