import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ReloadReport, Why } from '../../src/control/api.js';
import { version } from '../../src/version.js';
import { request } from '../../src/control/client.js';
import { addresses } from '../lab/addresses.js';
import { commandLine, Daemon, tunnelName } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { checkout, programPath } from '../lab/paths.js';
import { Program } from '../lab/program.js';
import { sleep, until } from '../lab/wait.js';

let lab: Lab;
beforeAll(async () => { lab = await Lab.open(); });
afterAll(() => lab.close());

/** The command line, as a user has it. */
function cli(socket: string, ...args: string[]): Promise<string> {
  const [node, main] = commandLine;
  return lab.topology.router.run(node, [main, ...args, '--socket', socket]);
}

/** Ended after each test, also one that failed. */
const running: Daemon[] = [];
afterEach(async () => {
  for (const daemon of running.splice(0)) await daemon.stop();
});
async function start(tunnel: Record<string, unknown> = {}): Promise<Daemon> {
  const daemon = Daemon.launch(lab, { tunnel });
  running.push(daemon);
  await daemon.answers();
  return daemon;
}

/** Until its last acknowledgement has gone, too: the other side would ask for it again, and that would wake the tunnel of a later test. */
const connect = async () => {
  const seen = await lab.probes.lan.connect(serviceAddress.ipv4, servicePort, 5000);
  await sleep(50);
  return seen;
};

describe('up and down', () => {
  it('at the same time: both are answered, and the last one is obeyed', async () => {
    const daemon = await start({ linger: '0s' });
    for (const pauseMs of [0, 1, 3, 10, 30]) {
      await daemon.up();
      await sleep(200); // the opening is over
      const down = daemon.down();
      if (pauseMs > 0) await sleep(pauseMs);
      await Promise.all([down, daemon.up()]);
      expect((await daemon.status()).state).toBe('up');
    }
  });

  it('a daemon that is stopped while its tunnel opens does end', async () => {
    const daemon = await start();
    const connecting = connect();
    await until('it is in haste', () => getPriority(daemon.program.pid) === -20, { everyMs: 1 });
    await daemon.stop(); // SIGTERM, and rejects if that takes ten seconds
    await connecting;
  });

  it('an `up` that somebody else ends by `down` or `pause` says so', async () => {
    const daemon = await start();
    lab.server.signal('SIGSTOP');
    for (const end of [() => daemon.down(), () => request(daemon.socket, { command: 'pause', tunnel: tunnelName })]) {
      const up = daemon.up().catch((error: unknown) => error);
      await daemon.reaches('dialing');
      await end();
      expect(await up).toMatchObject({ code: 'CONTROL_REFUSED', place: `tunnel ${tunnelName}` });
    }
    lab.server.signal('SIGCONT');
  });

  it('what an `up` script of OpenVPN has left running holds nothing back', async () => {
    const script = join(lab.folder, 'up.sh');
    writeFileSync(script, '#!/bin/sh\nsleep 60 &\n', { mode: 0o755 });
    const daemon = Daemon.launch(lab, { client: { lines: ['script-security 2', `up ${script}`] } });
    running.push(daemon);
    await daemon.answers();
    for (let round = 0; round < 2; round++) {
      expect(await connect()).toMatchObject({ ok: true, retransmits: 0 });
      await daemon.down();
      expect((await daemon.status()).state).toBe('idle');
    }
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });
});

describe('pause and resume', () => {
  let daemon: Daemon;
  const stateFile = () => join(lab.folder, 'state.json');
  const again = () => Daemon.start(lab, { top: { stateFile: stateFile() } });
  beforeEach(async () => { daemon = await again(); });
  afterEach(() => daemon.stop());

  it('refuses packets for so long, wakes nothing, and then sets the trap again', async () => {
    await cli(daemon.socket, 'pause', tunnelName, '1s');
    expect(await daemon.status()).toMatchObject({ state: 'paused', gate: 'reject' });
    expect(await connect()).toMatchObject({ ok: false });
    expect((await daemon.status()).counters.wakes).toBe(0);
    await daemon.reaches('idle');
    expect(await connect()).toMatchObject({ ok: true });
  });

  it('takes a tunnel down that is up, until resume', async () => {
    await daemon.up();
    await cli(daemon.socket, 'pause', tunnelName);
    await until('OpenVPN is gone', async () => (await daemon.openvpnPids()).length === 0);
    expect(await connect()).toMatchObject({ ok: false });
    await cli(daemon.socket, 'resume', tunnelName);
    expect(await connect()).toMatchObject({ ok: true });
  });

  it('with --bypass packets go where they went without us', async () => {
    await cli(daemon.socket, 'pause', tunnelName, '--bypass');
    expect(await daemon.status()).toMatchObject({ state: 'paused', gate: 'bypass' });
    // The lab's server routes the service's network in clear, too.
    expect(await lab.topology.router.ip(`route get ${serviceAddress.ipv4} from ${addresses.lan.host} iif lan0`)).toContain('dev wan0');
    // what an earlier test has sent again may have woken it just before
    await until('no OpenVPN is left', async () => (await daemon.openvpnPids()).length === 0);
  });

  it('with --persist stays paused across a restart, and only then', async () => {
    await cli(daemon.socket, 'pause', tunnelName);
    await daemon.stop();
    daemon = await again();
    expect((await daemon.status()).state).toBe('idle');
    expect(existsSync(stateFile())).toBe(false);

    await cli(daemon.socket, 'pause', tunnelName, '--persist');
    await daemon.stop();
    daemon = await again();
    expect((await daemon.status()).state).toBe('paused');
    // from its very start on, whatever comes meanwhile (no connections: in clear, while there is no daemon, one would begin, and ask for its end in later tests)
    const traffic = new AbortController();
    const asking = (async () => { while (!traffic.signal.aborted) await lab.probes.lan.ask(serviceAddress.ipv4, servicePort, 100); })();
    await daemon.stop();
    daemon = await again();
    await sleep(300);
    traffic.abort();
    await asking;
    expect(await daemon.status()).toMatchObject({ state: 'paused', gate: 'reject', counters: { wakes: 0 } });
    expect(daemon.log().map(({ event }) => event)).not.toContain('tunnel.dialing');
    await cli(daemon.socket, 'resume', tunnelName);
    expect(JSON.parse(readFileSync(stateFile(), 'utf8'))).toEqual({ paused: {} });
  });

  it('says what is wrong with a duration', async () => {
    await expect(cli(daemon.socket, 'pause', tunnelName, '5 mins')).rejects.toThrow(/USAGE: "5 mins" is not a duration \(try 5m\)/);
    expect((await daemon.status()).state).toBe('idle');
  });
});

describe('why', () => {
  it('tells packet, device, process, steps, and when the tunnel goes down', async () => {
    const daemon = await start({ idle: '1m' });
    await connect();
    await daemon.reaches('up');
    const why = async (): Promise<Why> => (await request(daemon.socket, { command: 'why', tunnel: tunnelName })) as Why;
    // Who sent a packet is looked for with what time there is: on a busy machine not the first time.
    const local = await until('a process is named', async () => {
      await daemon.down();
      await daemon.reaches('idle');
      expect(await lab.probes.router.connect(serviceAddress.ipv4, servicePort, 5000)).toMatchObject({ ok: true });
      const { wakes: [last] } = await why();
      return last?.packet?.process !== undefined && last;
    }, { timeoutMs: 20_000 });
    expect(local.packet).toMatchObject({ protocol: 'tcp', uid: 0, destinationPort: servicePort, process: expect.stringMatching(/^\S+\[\d+\]$/) });
    expect(local.packet).not.toHaveProperty('interface');
    expect(local.steps?.map(({ name }) => name)).toEqual(expect.arrayContaining(['WAIT', 'AUTH', 'ASSIGN_IP']));
    const { wakes, keptUp } = await why();
    expect(wakes.at(-1)?.packet).toMatchObject({ protocol: 'tcp', source: addresses.lan.host, destination: serviceAddress.ipv4, destinationPort: servicePort, interface: 'lan0' });
    expect(keptUp?.until).toBeDefined();
    expect(await cli(daemon.socket, 'why', tunnelName)).toMatch(/office: up since .*\n {2}last traffic .* ago; goes down in .* if there is no more\n {2}last wakes:/);
  });
});

describe('reload', () => {
  it.each(['SIGHUP', 'SIGUSR1'] as const)('%s during the start ends nothing', async (signal) => {
    const daemon = Daemon.launch(lab, { client: { lines: ['log /dev/null'] } });
    running.push(daemon);
    await daemon.program.says('link.options_ignored'); // the firewall is still to come
    daemon.program.signal(signal);
    await daemon.answers();
    expect(await connect()).toMatchObject({ ok: true, retransmits: 0 });
    expect(daemon.program.stderr).not.toContain('ebugger');
  });

  it('leaves a tunnel alone that did not change, ends and starts others, and refuses what is wrong whole', async () => {
    const daemon = await start();
    await daemon.up();
    const openvpn = await daemon.openvpnPids();
    const configuration = readFileSync(daemon.configFile, 'utf8');
    const reload = async (text: string): Promise<ReloadReport> => {
      writeFileSync(daemon.configFile, text);
      return JSON.parse(await cli(daemon.socket, 'reload', '--json')) as ReloadReport;
    };
    const other = (protect: string) => `${configuration}  other: ${JSON.stringify({ command: { up: ['true'], down: ['true'] }, device: 'wan0', protect: [protect] })}\n`;

    expect(await reload(other('198.51.100.0/24'))).toEqual({ version, started: ['other'], ended: [], unchanged: [tunnelName] });
    expect(await reload(other('198.51.100.0/25'))).toEqual({ version, started: ['other'], ended: ['other'], unchanged: [tunnelName] });
    // Nor does it matter that one comes before it in the file.
    const first = configuration.replace('tunnels:\n', `tunnels:\n  first: ${JSON.stringify({ command: { up: ['true'], down: ['true'] }, device: 'lan0', protect: ['203.0.113.0/24'] })}\n`);
    expect(first).not.toBe(configuration);
    expect(await reload(first)).toEqual({ version, started: ['first'], ended: ['other'], unchanged: [tunnelName] });
    expect(await reload(other('198.51.100.0/25'))).toEqual({ version, started: ['other'], ended: ['first'], unchanged: [tunnelName] });
    await expect(reload(`${configuration}  other: {protect: [1.2.3.4]}\n`)).rejects.toThrow(/CONFIG_INVALID.*needs either `openvpn` or `command`/);
    await expect(reload(configuration.replace('control.sock', 'elsewhere.sock'))).rejects.toThrow(/`control` can't change while the daemon runs/);
    const holder = Program.start(process.execPath, [programPath('hold-queue.mjs'), '7777'], { netns: lab.topology.router, folder: lab.folder, label: 'holder' });
    await holder.says('open');
    await expect(reload(configuration.replace(`  ${tunnelName}:\n`, `  ${tunnelName}:\n    queue: 7777\n`))).rejects.toThrow(/QUEUE_IN_USE.*7777/);
    await holder.stop();
    expect((await daemon.status()).state).toBe('up');
    expect(await reload(configuration)).toEqual({ version, started: [], ended: ['other'], unchanged: [tunnelName] });

    expect(await daemon.openvpnPids()).toEqual(openvpn);
    expect(await connect()).toMatchObject({ ok: true, retransmits: 0 });
    expect((await daemon.status()).counters.wakes).toBe(1);
  });

  it('loses nothing of a flow through a tunnel that did not change', async () => {
    const daemon = await start();
    await daemon.up();
    const flow = { port: 9000, count: 2000, size: 64, rate: 1000 };
    const receiver = await lab.probes.service.receive(lab.folder, flow.port, flow.count);
    const sending = lab.probes.lan.send({ address: serviceAddress.ipv4, ...flow });
    const configuration = readFileSync(daemon.configFile, 'utf8');
    for (const protect of ['198.51.100.0/24', '198.51.100.0/25']) {
      writeFileSync(daemon.configFile, `${configuration}  other: ${JSON.stringify({ command: { up: ['true'], down: ['true'] }, device: 'wan0', protect: [protect] })}\n`);
      await request(daemon.socket, { command: 'reload' });
    }
    await sending;
    expect(await receiver()).toMatchObject({ received: flow.count, missing: 0 });
  });

  it('holds what comes for a tunnel that changes, until it is up again', async () => {
    const daemon = await start({ hold: { packets: 4096 } });
    await daemon.up();
    await sleep(200);
    const configuration = readFileSync(daemon.configFile, 'utf8');
    const flows = [{ from: 'lan', address: serviceAddress.ipv4, port: 9000 }, { from: 'router', address: serviceAddress.ipv6, port: 9001 }] as const;
    const received = await Promise.all(flows.map(async ({ from, address, port }) => {
      const receiver = await lab.probes.service.receive(lab.folder, port, 600, 3000);
      const sending = lab.probes[from].send({ address, port, count: 600, rate: 300 });
      return async () => ({ ...(await sending), ...(await receiver()) });
    }));
    for (const idle of ['4m', '3m']) {
      await sleep(400);
      writeFileSync(daemon.configFile, configuration.replace(`  ${tunnelName}:\n`, `  ${tunnelName}:\n    idle: ${idle}\n`));
      expect(await request(daemon.socket, { command: 'reload' })).toEqual({ version, started: [tunnelName], ended: [tunnelName], unchanged: [] });
    }
    for (const flow of received) expect(await flow()).toMatchObject({ sent: 600, received: 600, outOfOrder: 0 });
    expect((await daemon.status()).counters).toMatchObject({ dropped: 0, rejected: 0, dialFailures: 0 });
  });

  it('leaves a tunnel paused that changes', async () => {
    const daemon = await start();
    await cli(daemon.socket, 'pause', tunnelName, '1h', '--bypass');
    writeFileSync(daemon.configFile, readFileSync(daemon.configFile, 'utf8').replace(`  ${tunnelName}:\n`, `  ${tunnelName}:\n    idle: 4m\n`));
    expect(await request(daemon.socket, { command: 'reload' })).toMatchObject({ started: [tunnelName] });
    expect(await daemon.reaches('paused')).toMatchObject({ gate: 'bypass' });
    expect(await request(daemon.socket, { command: 'why', tunnel: tunnelName })).toHaveProperty('until');
  });
});

describe('embedded', () => {
  it('the example runs, and tells what happens', async () => {
    const daemon = await start(); // for its configuration file
    await daemon.stop();
    const { router } = lab.topology;
    const program = Program.start(process.execPath, [join(checkout, 'conf', 'examples', 'embed.mjs'), daemon.configFile], { netns: router, folder: lab.folder, label: 'embed' });
    await program.says('ready');
    expect(await connect()).toMatchObject({ ok: true, retransmits: 0 });
    await program.says(/office: idle → dialing \(packets-held\)\noffice: dialing → up \(done\)/);
    expect(await program.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(stringify(await router.run('ipset', ['list', '-n']))).not.toContain('ood');
  });
});
