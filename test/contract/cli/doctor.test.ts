import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import type { Finding } from '../../../src/cli/commands/doctor/finding.js';
import { commandLine } from '../../lab/daemon.js';
import { Netns } from '../../lab/netns.js';
import { programPath } from '../../lab/paths.js';
import { Program } from '../../lab/program.js';

let netns: Netns;
let folder: string;

beforeAll(async () => {
  netns = await Netns.create('doctor');
  folder = mkdtempSync(join(tmpdir(), 'ood-doctor-'));
});
afterAll(async () => {
  await netns.dispose();
  rmSync(folder, { recursive: true });
});

interface Visit {
  readonly exitCode: number | undefined;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
  readonly findings: readonly Finding[];
}

async function visit(configuration: string, wrapper: readonly string[] = []): Promise<Visit> {
  const config = join(folder, 'config.yaml');
  writeFileSync(config, configuration);
  const { stdout, exitCode } = await execa('ip', ['netns', 'exec', netns.name, ...wrapper, ...commandLine, 'doctor', '--json', '--config', config], { reject: false });
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  const codes = (severity: Finding['severity']): string[] => findings.filter((finding) => finding.severity === severity).map(({ code }) => code).sort();
  return { exitCode, errors: codes('error'), warnings: codes('warning'), findings };
}

const ovpn = 'client\nremote 192.0.2.1 1194\n<key>\n</key>\n';

function configuration(extra = ''): string {
  writeFileSync(join(folder, 'office.ovpn'), ovpn, { mode: 0o600 });
  return `control: {socket: ${join(folder, 'control.sock')}}\ntunnels:\n  office:\n    openvpn: {config: office.ovpn${extra}}\n    protect: [10.99.0.0/16, "fd00:99::/48"]\n`;
}

describe('doctor', () => {
  it('finds nothing wrong where nothing is, and leaves nothing behind', async () => {
    const { exitCode, errors, warnings, findings } = await visit(configuration());
    expect({ exitCode, errors, warnings }).toEqual({ exitCode: 0, errors: [], warnings: [] });
    expect(findings.map(({ code }) => code)).toEqual(expect.arrayContaining(['CONFIG', 'OVPN', 'CAPABILITIES', 'OPENVPN', 'NFQUEUE', 'TUN', 'GATE', 'QUEUES', 'DAEMON_NOT_RUNNING']));
    expect(await netns.run('ipset', ['list', '-name'])).toBe('');
    expect(await netns.run('iptables-save')).not.toContain('OOD-');
  });

  it('tells which backends the gate could have here, and why it has the one that it has', async () => {
    const { findings } = await visit(configuration());
    const told = findings.filter(({ code }) => /^GATE_(IPTABLES|NFT|CONDITION)/.test(code));
    // what the machine lacks is told with the reason
    expect(told.map(({ code, message }) => `${code.replace('_MISSING', '')} ${message.replace(/ does not work here: .+| works here/, '')}`)).toEqual(['GATE_IPTABLES `gate: iptables`', 'GATE_NFT `gate: nft`', 'GATE_CONDITION `gate: condition`']);
    expect(findings.find(({ code }) => code === 'GATE')?.message).toContain('backend: iptables, which `gate: auto` prefers where it works');
  });

  it('finds everything that was made wrong, each with a way out', async () => {
    await netns.sysctl({ 'net.ipv4.conf.all.rp_filter': 1, 'net.ipv4.conf.default.rp_filter': 0, 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 0 });
    await netns.run('iptables', ['-t', 'mangle', '-A', 'FORWARD', '-p', 'tcp', '-j', 'NFQUEUE', '--queue-balance', '7499:7501']);
    await netns.run('ipset', ['create', 'ood-any4', 'hash:net']);
    await netns.ip('tuntap add dev ovpn-office mode tun');
    const other = Program.start(process.execPath, [programPath('hold-queue.mjs'), '7500'], { netns, folder, label: 'other' });
    await other.says('open');
    try {
      const text = configuration(', program: openvpn-that-is-not-there');
      writeFileSync(join(folder, 'office.ovpn'), `${ovpn}daemon\n`);
      await execa('chmod', ['644', join(folder, 'office.ovpn')]);
      const { exitCode, errors, warnings, findings } = await visit(text);
      expect({ exitCode, errors, warnings }).toEqual({
        exitCode: 1,
        errors: ['OPENVPN_MISSING', 'QUEUE_IN_USE', 'QUEUE_RULE_CONFLICT'],
        warnings: ['DEVICE_EXISTS', 'FORWARDING_IPV4_ONLY', 'LEFTOVERS', 'OVPN_OPTIONS_IGNORED', 'OVPN_SECRET_READABLE', 'RP_FILTER_STRICT'],
      });
      expect(findings.filter(({ severity, fix }) => severity !== 'ok' && !fix)).toEqual([]);
    } finally {
      await other.stop('SIGKILL');
    }
  });

  it('finds a broken configuration with its line, and goes on with the rest', async () => {
    const { exitCode, findings } = await visit(configuration().replace('office.ovpn', 'office.ovpn, idle: 5m'));
    expect(exitCode).toBe(1);
    expect(findings[0]).toMatchObject({ code: 'CONFIG_INVALID', severity: 'error' });
    expect(findings[0]?.message).toContain('config.yaml:4: tunnels.office.openvpn.idle: is not an option here');
    expect(findings.map(({ code }) => code)).toEqual(expect.arrayContaining(['NFQUEUE', 'TUN']));
  });

  it('finds that it is not permitted', async () => {
    const { exitCode, errors, warnings } = await visit(configuration(), ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']);
    expect(exitCode).toBe(1);
    expect(errors).toEqual(expect.arrayContaining(['CAPABILITIES_MISSING']));
    expect(warnings).toEqual(expect.arrayContaining(['KERNEL_NOT_TRIED']));
  });
});
