import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import type { Finding } from '../../src/cli/commands/doctor/finding.js';
import { requestStatus } from '../../src/control/client.js';
import { writeConfiguration } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { checkout } from '../lab/paths.js';
import { Program } from '../lab/program.js';

let folder: string;
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'ood-pack-')); });
afterAll(() => { rmSync(folder, { recursive: true }); });

/** Packs a package of this repository and installs the one tarball into an empty folder. */
async function packAndInstall(name: string, packArgs: readonly string[]): Promise<string> {
  const [tarballs, installed] = [join(folder, `${name}-tarball`), join(folder, name)];
  mkdirSync(tarballs);
  mkdirSync(installed);
  await execa('npm', ['pack', '--silent', '--pack-destination', tarballs, ...packArgs], { cwd: checkout });
  const [tarball = ''] = readdirSync(tarballs);
  writeFileSync(join(installed, 'package.json'), '{"private": true}\n');
  await execa('npm', ['install', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error', join(tarballs, tarball)], { cwd: installed });
  return installed;
}

/** Starts a program in a mount namespace of its own where the repository is an empty folder. */
const withoutRepository = ['unshare', '--mount', 'sh', '-c', `mount -t tmpfs none ${checkout} && cd / && exec "$@"`, 'sh'];

describe('npm pack, installed into an empty folder, without the repository', () => {
  let lab: Lab;
  let program: string;

  beforeAll(async () => {
    const [opened, installed] = await Promise.all([Lab.open(), packAndInstall('openvpn-ondemand', [])]);
    lab = opened;
    program = join(installed, 'node_modules', '.bin', 'openvpn-ondemand');
  }, 120_000);
  afterAll(() => lab.close());

  const inRouter = (...args: readonly string[]) => execa('ip', ['netns', 'exec', lab.topology.router.name, ...withoutRepository, program, ...args], { reject: false });

  it('doctor finds nothing missing', async () => {
    const { configFile } = writeConfiguration(lab);
    const { stdout, exitCode } = await inRouter('doctor', '--json', '--config', configFile);
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(findings.map(({ code }) => code)).toContain('NFQUEUE');
    expect(exitCode).toBe(0);
  });

  it('run, and the first packet wakes the tunnel', async () => {
    const { configFile, socket } = writeConfiguration(lab);
    const daemon = Program.start(withoutRepository[0]!, [...withoutRepository.slice(1), program, 'run', '--config', configFile], { netns: lab.topology.router, folder: lab.folder, label: 'installed' });
    await daemon.says('daemon.started');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect((await requestStatus(socket)).tunnels).toMatchObject([{ name: 'office', counters: { wakes: 1, dropped: 0 } }]);
    const { stdout } = await inRouter('status', '--socket', socket);
    expect(stdout).toMatch(/^office: up .* · last wake 10\.77\.1\.2 → 10\.99\.0\.1 tcp\/8080/);
    expect((await daemon.stop()).code).toBe(0);
  });

  it('brings the schema, the examples, the unit and the init script', () => {
    const conf = join(program, '..', '..', 'openvpn-ondemand', 'conf');
    expect(readdirSync(conf).sort()).toEqual(['examples', 'openvpn-ondemand.schema.json', 'openwrt', 'systemd']);
  });
});

describe('npm pack of the binding alone', () => {
  it('installs and loads', async () => {
    const installed = await packAndInstall('node-nfqueue', ['-w', 'node-nfqueue']);
    const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', "import { NfQueue } from 'node-nfqueue'; console.log(typeof NfQueue.open)"], { cwd: installed });
    expect(stdout).toBe('function');
  }, 120_000);
});
