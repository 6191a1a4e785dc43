import { loadConfiguration, type Settings } from '../../../config/load.js';
import { DaemonError } from '../../../core/errors.js';
import { readClientConfig } from '../../../link/client-config.js';
import { error, ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

/** Reads the configuration, and every OpenVPN configuration that it names. */
export async function checkConfiguration(machine: Machine, file: string): Promise<{ settings?: Settings; findings: Finding[] }> {
  try {
    const settings = await loadConfiguration(file);
    const clients = await Promise.all(settings.tunnels.map(({ name, link }) => (link.kind === 'openvpn' ? checkClient(machine, name, link.config) : Promise.resolve([]))));
    return { settings, findings: [ok('CONFIG', `${file}: ${settings.tunnels.length === 1 ? '1 tunnel' : `${settings.tunnels.length} tunnels`}`), ...clients.flat()] };
  } catch (cause) {
    if (!(cause instanceof DaemonError)) throw cause;
    return { findings: [error(cause.code, `${cause.place === undefined ? '' : `${cause.place}: `}${cause.message}`, cause.hint ?? 'the examples in conf/examples show every option')] };
  }
}

async function checkClient(machine: Machine, tunnel: string, path: string): Promise<Finding[]> {
  const text = await machine.read(path);
  if (text === undefined) return [error('OVPN_UNREADABLE', `${path} of tunnel ${tunnel} can't be read`, 'name the file with `openvpn.config`, and see that the daemon may read it')];
  const { remotes, conflicts } = readClientConfig(text);
  if (remotes.length === 0) return [error('OVPN_NO_REMOTE', `${path} of tunnel ${tunnel} names no server`, 'it needs a line `remote HOST PORT`')];
  const mode = (await machine.mode(path)) ?? 0;
  const open = /<key>|<secret>|<pkcs12>|<auth-user-pass>/.test(text) && (mode & 0o004) !== 0;
  return [
    ...(conflicts.length === 0 ? [] : [warning('OVPN_OPTIONS_IGNORED', `${path} of tunnel ${tunnel}: the daemon gives its own ${conflicts.join(', ')}`, 'take these options out')]),
    ...(open ? [warning('OVPN_SECRET_READABLE', `${path} of tunnel ${tunnel} holds a secret, and everybody may read it`, `chmod 600 ${path}`)] : []),
    ...(conflicts.length === 0 && !open ? [ok('OVPN', `${path} of tunnel ${tunnel}: ${remotes.map(({ host }) => host).join(', ')}`)] : []),
  ];
}
