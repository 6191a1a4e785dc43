import { Command } from 'commander';
import type { ReloadReport } from '../../control/api.js';
import { request } from '../../control/client.js';
import { socketOption, type SocketOption } from '../options.js';

export function reloadCommand(): Command {
  return new Command('reload')
    .description('read the configuration again; tunnels that did not change are left alone')
    .addOption(socketOption())
    .option('--json', 'for programs')
    .action(async ({ socket, json = false }: SocketOption & { json?: boolean }) => {
      const report = (await request(socket, { command: 'reload' })) as ReloadReport;
      const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '));
      console.log(json ? JSON.stringify(report, null, 2) : `started: ${list(report.started)}\nended: ${list(report.ended)}\nunchanged: ${list(report.unchanged)}`);
    });
}
