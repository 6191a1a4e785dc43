import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
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
/** What `npm pack` made, by the name of its package. */
const tarballs = { daemon: '', binding: '' };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ood-pack-'));
  tarballs.daemon = await pack();
  tarballs.binding = await pack('--workspace', 'node-nfqueue');
}, 120_000);
afterAll(() => { rmSync(folder, { recursive: true }); });

async function pack(...args: readonly string[]): Promise<string> {
  const { stdout } = await execa('npm', ['pack', '--silent', '--pack-destination', folder, ...args], { cwd: checkout });
  return join(folder, stdout.trim().split('\n').at(-1)!);
}

/** A machine that has Node, npm and a shell: no compiler, no make, no Python. */
function pathWithoutCompiler(): string {
  const bin = join(folder, 'bin');
  if (!existsSync(bin)) {
    mkdirSync(bin);
    for (const [name, file] of [['node', process.execPath], ['sh', '/bin/sh'], ['env', '/usr/bin/env']] as const) symlinkSync(file, join(bin, name));
  }
  return bin;
}

/** Installs tarballs into a folder, which is empty the first time. */
async function install(name: string, ...files: readonly string[]): Promise<string> {
  const installed = join(folder, name);
  if (!existsSync(installed)) {
    mkdirSync(installed);
    writeFileSync(join(installed, 'package.json'), '{"private": true}\n');
  }
  const npm = await realpath((await execa('sh', ['-c', 'command -v npm'])).stdout);
  await execa(process.execPath, [npm, 'install', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error', ...files], { cwd: installed, env: { PATH: pathWithoutCompiler() } });
  return installed;
}

/** Starts a program in a mount namespace of its own where the repository is an empty folder. */
const withoutRepository = ['unshare', '--mount', 'sh', '-c', `mount -t tmpfs none ${checkout} && cd / && exec "$@"`, 'sh'];

describe('npm pack, installed into an empty folder, without the repository', () => {
  let lab: Lab;
  let program: string;

  beforeAll(async () => {
    const [opened, installed] = await Promise.all([Lab.open(), install('daemon', tarballs.daemon)]);
    lab = opened;
    program = join(installed, 'node_modules', '.bin', 'openvpn-ondemand');
  }, 120_000);
  afterAll(() => lab.close());

  const inRouter = (...args: readonly string[]) => execa('ip', ['netns', 'exec', lab.topology.router.name, ...withoutRepository, program, ...args], { reject: false });

  it('compiles nothing: the binary is in the package', () => {
    const binding = join(program, '..', '..', 'openvpn-ondemand', 'node_modules', 'node-nfqueue');
    expect(existsSync(join(binding, 'build'))).toBe(false);
    expect(readdirSync(join(binding, 'prebuilds'))).toContain(`linux-${process.arch}`);
  });

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

describe('as libraries', () => {
  let installed: string;
  const run = (script: string) => execa(process.execPath, ['--input-type=module', '-e', script], { cwd: installed });

  it('the binding alone installs and loads', async () => {
    installed = await install('library', tarballs.binding);
    expect((await run("import { NfQueue } from 'node-nfqueue'; console.log(typeof NfQueue.open)")).stdout).toBe('function');
  }, 120_000);

  it('with the daemon beside it, the three entries load', async () => {
    await install('library', tarballs.daemon);
    const { stdout } = await run("import { createDaemon } from 'openvpn-ondemand'; import { ManagementClient } from 'openvpn-ondemand/management'; import { NfQueue } from 'node-nfqueue'; console.log(typeof createDaemon, typeof ManagementClient.connect, typeof NfQueue.open)");
    expect(stdout).toBe('function function function');
  }, 120_000);

  it('their types are whole, for a strict program that knows only what was installed', async () => {
    writeFileSync(join(installed, 'package.json'), JSON.stringify({ ...JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as object, type: 'module' }));
    copyFileSync(join(import.meta.dirname, 'programs', 'library-user.ts.txt'), join(installed, 'user.ts'));
    const types = join(checkout, 'node_modules', '@types');
    const { exitCode, stdout } = await execa(process.execPath, [join(checkout, 'node_modules', 'typescript', 'bin', 'tsc'), '--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2023', '--typeRoots', types, '--types', 'node', 'user.ts'], { cwd: installed, reject: false });
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
  });
});
