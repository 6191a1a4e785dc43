import { Command } from 'commander';
import { DaemonError } from '../../core/errors.js';
import { version } from '../../version.js';
import { configOption, type ConfigOption } from '../options.js';

export function dnsmasqCommand(): Command {
  return new Command('dnsmasq')
    .description('print the lines by which dnsmasq tells the gate what `domains` stand for, of all tunnels or one')
    .argument('[tunnel]', 'its name')
    .addOption(configOption())
    .option('--json', 'for programs')
    .action(async (name: string | undefined, { config, json = false }: ConfigOption & { json?: boolean }) => {
      const [{ loadConfiguration }, { dnsmasqLines, dnsmasqOption }] = await Promise.all([import('../../config/load.js'), import('../../gate/dnsmasq.js')]);
      const { tunnels, gate } = await loadConfiguration(config);
      if (name !== undefined && !tunnels.some((tunnel) => tunnel.name === name)) throw new DaemonError('TUNNEL_UNKNOWN', `there is no tunnel "${name}"`, { place: config, hint: `there are: ${tunnels.map((tunnel) => tunnel.name).join(', ')}` });
      const option = await dnsmasqOption(gate);
      if (option === undefined) throw new DaemonError('PROGRAM_MISSING', 'no firewall works here, so it is not known which sets there will be', { hint: 'run as root, where the daemon runs, or say which with `gate`; `openvpn-ondemand doctor` tells more' });
      const lines = tunnels.filter((tunnel) => name === undefined || tunnel.name === name).flatMap((tunnel) => dnsmasqLines(tunnel, option));
      if (json) console.log(JSON.stringify({ version, lines }, null, 2));
      else if (lines.length > 0) console.log(lines.join('\n'));
      else console.error('no tunnel has `domains`');
    });
}
