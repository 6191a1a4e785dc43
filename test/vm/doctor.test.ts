import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from '@jest/globals';
import { execa } from 'execa';
import type { Finding } from '../../src/cli/commands/doctor/finding.js';
import { commandLine } from '../lab/daemon.js';

const folder = mkdtempSync(join(tmpdir(), 'ood-doctor-'));
afterAll(() => { rmSync(folder, { recursive: true }); });

/** A stock kernel with Xtables-addons has every backend. */
it.each([
  ['auto', 'iptables, which `gate: auto` prefers where it works'],
  ['nft', 'nft, as `gate: nft` says'],
  ['condition', 'condition, as `gate: condition` says'],
])('doctor finds every backend at work, and sets the gate with gate: %s', async (gate, why) => {
  const config = join(folder, 'config.yaml');
  writeFileSync(join(folder, 'office.ovpn'), 'client\nremote 192.0.2.1 1194\n');
  writeFileSync(config, `gate: ${gate}\ncontrol: {socket: ${join(folder, 'control.sock')}}\ntunnels: {office: {openvpn: {config: office.ovpn}, protect: [10.99.0.0/16, "fd00:99::/48"]}}\n`);
  const { stdout } = await execa(commandLine[0], [commandLine[1], 'doctor', '--json', '--config', config], { reject: false });
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  const told = findings.filter(({ code }) => code.startsWith('GATE')).map(({ code, message }) => `${code} ${message}`);
  expect(told).toEqual([
    'GATE_IPTABLES `gate: iptables` works here',
    'GATE_NFT `gate: nft` works here',
    'GATE_CONDITION `gate: condition` works here',
    `GATE the gate of this configuration was set in an empty namespace, and removed; backend: ${why}`,
  ]);
});
