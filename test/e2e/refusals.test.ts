import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine, Daemon, writeConfiguration } from '../lab/daemon.js';
import { changes, networkState } from '../lab/judge.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { programPath } from '../lab/paths.js';
import { Program } from '../lab/program.js';

describe('a daemon that can not start', () => {
  let lab: Lab;
  let untouched: readonly string[];

  beforeAll(async () => {
    lab = await Lab.open();
    untouched = await networkState(lab.topology.router);
  });

  afterAll(() => lab.close());

  afterEach(async () => {
    expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
    expect(await lab.topology.router.pids()).toEqual([]);
  });

  async function refused(daemon: Daemon, said: RegExp): Promise<void> {
    const timer = setTimeout(() => { daemon.program.signal('SIGTERM'); }, 5_000); // it should not have started
    const { code } = await daemon.program.exited;
    clearTimeout(timer);
    expect(daemon.program.stderr).toMatch(said);
    expect(daemon.program.stderr).not.toMatch(/\n\s+at /); // no stack trace in place of a sentence
    expect(code).not.toBe(0);
    expect(code).not.toBeNull();
  }

  it('bad configuration: names file, line and fix', async () => {
    const { configFile, socket } = writeConfiguration(lab);
    writeFileSync(configFile, 'tunnels:\n  office:\n    openvpn: {config: office.ovpn}\n    protect: [10.99.0.0/16]\n    idle: 5 mins\n');
    await refused(Daemon.launchWith(lab, configFile, socket), /CONFIG_INVALID.*daemon\.yaml:5: .*5 mins.*try 5m/);
  });

  it('no configuration', async () => {
    const { socket } = writeConfiguration(lab);
    await refused(Daemon.launchWith(lab, join(lab.folder, 'none.yaml'), socket), /CONFIG_UNREADABLE.*none\.yaml/);
  });

  it('no OpenVPN configuration', async () => {
    await refused(Daemon.launch(lab, { tunnel: { openvpn: { config: 'none.ovpn' } } }), /CONFIG_UNREADABLE.*none\.ovpn/);
  });

  it.each(['openvpn', 'iptables-restore', 'ipset', 'ip'])('no %s', async (name) => {
    const wrapper = ['env', `PATH=${pathWithout(lab.folder, name)}`];
    await refused(Daemon.launch(lab, { wrapper }), new RegExp(`PROGRAM_MISSING.*${name}`));
  });

  it('no CAP_NET_ADMIN', async () => {
    const wrapper = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
    await refused(Daemon.launch(lab, { wrapper }), /NOT_PERMITTED.*CAP_NET_ADMIN/);
  });

  it('a queue number in use', async () => {
    const holder = Program.start(process.execPath, [programPath('hold-queue.mjs'), '7777'], { netns: lab.topology.router, folder: lab.folder, label: 'holder' });
    await holder.says('open');
    await refused(Daemon.launch(lab, { tunnel: { queue: 7777 } }), /QUEUE_IN_USE.*7777/);
    await holder.stop();
  });
});

describe('a second daemon', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.open();
  });

  afterAll(() => lab.close());

  it('is refused while the first one answers on the control socket, and harms nothing', async () => {
    const first = await Daemon.start(lab);
    const rules = await networkState(lab.topology.router);
    const second = Daemon.launch(lab);
    expect((await second.program.exited).code).not.toBe(0);
    expect(second.program.stderr).toMatch(/ADDRESS_IN_USE.*control\.sock/);
    expect(changes(rules, await networkState(lab.topology.router))).toEqual([]);
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    await first.stop();
  });

  it('takes over the socket that a killed one left', async () => {
    const first = await Daemon.start(lab);
    await first.kill();
    const second = await Daemon.start(lab);
    expect(await second.status()).toMatchObject({ state: 'idle' });
    await second.stop();
  });
});

describe('the command line', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.open();
  });

  afterAll(() => lab.close());

  async function ends(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const [node, script] = commandLine;
    const program = Program.start(node, [script, ...args], { netns: lab.topology.router, folder: lab.folder, label: `command-${args[0]!}` });
    const { code } = await program.exited;
    return { code, stdout: program.stdout, stderr: program.stderr };
  }

  it('check: says that a configuration is fine, and touches nothing', async () => {
    const untouched = await networkState(lab.topology.router);
    const { configFile } = writeConfiguration(lab);
    expect(await ends(['check', '--config', configFile])).toMatchObject({ code: 0 });
    writeFileSync(configFile, 'tunnels: {}\n');
    const bad = await ends(['check', '--config', configFile]);
    expect(bad.code).not.toBe(0);
    expect(bad.stderr).toMatch(/CONFIG_INVALID/);
    expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
  });

  it('status without a daemon: an error with the way out', async () => {
    const { code, stdout, stderr } = await ends(['status', '--socket', join(lab.folder, 'none.sock')]);
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/CONTROL_UNREACHABLE.*none\.sock/);
  });

  it('status, up, down of a tunnel; of an unknown one an error', async () => {
    const daemon = await Daemon.start(lab);
    await daemon.up();
    await daemon.reaches('up');
    const { code, stdout } = await ends(['status', '--socket', daemon.socket]);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/office.*up/s) });
    const unknown = await ends(['up', 'nowhere', '--socket', daemon.socket]);
    expect(unknown.code).not.toBe(0);
    expect(unknown.stderr).toMatch(/TUNNEL_UNKNOWN.*nowhere/);
    await daemon.stop();
  });
});

describe('a clean end', () => {
  let lab: Lab;
  let untouched: readonly string[];

  beforeAll(async () => {
    lab = await Lab.open();
    untouched = await networkState(lab.topology.router);
  });

  afterAll(() => lab.close());

  it.each([
    { signal: 'SIGTERM', state: 'idle' }, { signal: 'SIGINT', state: 'idle' }, { signal: 'SIGTERM', state: 'up' }, { signal: 'SIGTERM', state: 'dialing' },
  ] as const)('$signal while $state: exit status 0, nothing left', async ({ signal, state }) => {
    if (state === 'dialing') await lab.server.kill();
    const daemon = await Daemon.start(lab);
    expect(changes(untouched, await networkState(lab.topology.router))).not.toEqual([]);
    // While it dials, `up` is still waiting when the daemon ends.
    const up = state === 'idle' ? undefined : daemon.up().catch(() => undefined);
    await daemon.reaches(state);
    const exit = await daemon.program.stop(signal);
    expect({ exit, said: daemon.program.stderr }).toEqual({ exit: { code: 0, signal: null }, said: expect.stringContaining('daemon.stopped') });
    await up;
    expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
    expect(await daemon.openvpnPids()).toEqual([]);
    expect(readdirSync(lab.folder)).not.toContain('control.sock');
    if (state === 'dialing') await lab.server.start();
  });
});

/** A PATH of one folder, with links to everything that the system has but one program. */
function pathWithout(folder: string, missing: string): string {
  const bin = join(folder, 'bin');
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin);
  for (const directory of ['/usr/sbin', '/usr/bin']) {
    for (const name of readdirSync(directory).filter((entry) => entry !== missing)) {
      try {
        symlinkSync(join(directory, name), join(bin, name));
      } catch {
        // the same name in both folders
      }
    }
  }
  return bin;
}
