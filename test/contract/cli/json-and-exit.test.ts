import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import type { Handlers } from '../../../src/control/api.js';
import { ControlServer } from '../../../src/control/server.js';
import { DaemonError } from '../../../src/core/errors.js';
import { version } from '../../../src/version.js';
import { commandLine } from '../../lab/daemon.js';
import { Netns } from '../../lab/netns.js';

/** Of a daemon that is older than the program. */
const older = '0.0.9';
const handlers = {
  status: () => Promise.resolve({ version: older, tunnels: [] }),
  why: () => Promise.resolve({ version: older, name: 'office', state: 'idle', since: '', wakes: [] }),
  reload: () => Promise.resolve({ version: older, started: [], ended: [], unchanged: [] }),
  up: () => Promise.resolve(),
  down: (tunnel: string) => Promise.reject(new DaemonError('TUNNEL_UNKNOWN', `there is no tunnel "${tunnel}"`)),
} as unknown as Handlers;

let netns: Netns;
let folder: string;
let server: ControlServer;
const inFolder = (name: string): string => join(folder, name);

beforeAll(async () => {
  netns = await Netns.create('cli');
  folder = mkdtempSync(join(tmpdir(), 'ood-cli-'));
  server = await ControlServer.listen(inFolder('control.sock'));
  server.serve(handlers);
  writeFileSync(inFolder('well.yaml'), 'tunnels: {office: {command: {up: ["true"], down: ["true"]}, device: lan0, protect: [10.99.0.0/16]}}\n');
  writeFileSync(inFolder('ill.yaml'), 'tunnels:\n  office: {idle: 5 mins}\n');
});
afterAll(async () => {
  await server.close();
  await netns.dispose();
  rmSync(folder, { recursive: true });
});

const run = (...args: readonly string[]) => execa('ip', ['netns', 'exec', netns.name, ...commandLine, ...args], { reject: false });

/** How each verb that knows `--json` is called, and whose version it tells. */
const printing: Readonly<Record<string, { readonly args: () => readonly string[]; readonly tells: string }>> = {
  status: { args: () => ['--socket', inFolder('control.sock')], tells: older },
  why: { args: () => ['office', '--socket', inFolder('control.sock')], tells: older },
  reload: { args: () => ['--socket', inFolder('control.sock')], tells: older },
  check: { args: () => ['--config', inFolder('well.yaml')], tells: version },
  doctor: { args: () => ['--config', inFolder('well.yaml')], tells: version },
  dnsmasq: { args: () => ['--config', inFolder('well.yaml')], tells: version },
  flush: { args: () => ['--socket', inFolder('nobody.sock')], tells: version },
};

describe('--json', () => {
  it('is known by these verbs, and no others', async () => {
    const { stdout } = await run('completion', 'bash');
    const verbs = [...stdout.matchAll(/^ {4}([a-z]+)\) words="[^"]*--json/gm)].map(([, verb]) => verb);
    expect(verbs.sort()).toEqual(Object.keys(printing).sort());
  });

  it.each(Object.entries(printing))('%s tells a version, and nothing else goes to standard output', async (verb, { args, tells }) => {
    const { stdout } = await run(verb, ...args(), '--json');
    expect(JSON.parse(stdout)).toMatchObject({ version: tells });
  });
});

describe('the exit status', () => {
  it.each<[number, string, () => readonly string[], RegExp]>([
    [0, 'done', () => ['up', 'office', '--socket', inFolder('control.sock')], /^$/],
    [0, 'help', () => ['--help'], /^$/],
    [1, 'failed', () => ['down', 'site', '--socket', inFolder('control.sock')], /TUNNEL_UNKNOWN: there is no tunnel "site"/],
    [2, 'wrong usage', () => ['dance'], /unknown command 'dance'/],
    [2, 'wrong usage of a verb', () => ['up'], /missing required argument 'tunnel'/],
    [2, 'wrong configuration', () => ['check', '--config', inFolder('ill.yaml')], /ill\.yaml:2: /],
    [2, 'no configuration', () => ['run', '--config', inFolder('none.yaml')], /CONFIG_UNREADABLE/],
    [3, 'no daemon answers', () => ['status', '--socket', inFolder('nobody.sock')], /CONTROL_UNREACHABLE/],
  ])('is %d: %s', async (status, _, args, says) => {
    const { exitCode, stderr } = await run(...args());
    expect(exitCode).toBe(status);
    expect(stderr).toMatch(says);
  });
});
