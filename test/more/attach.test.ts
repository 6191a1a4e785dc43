import { writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { watchUnderlay, type Capture } from '../lab/capture.js';
import { Daemon, tunnelName, type DaemonOptions } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { Program } from '../lab/program.js';
import { sleep, until } from '../lab/wait.js';

const device = `ovpn-${tunnelName}`;
/** The state shown is true again within a second of its cause's end; this machine may be busy. */
const soon = { timeoutMs: 3_000 };
const managementPassword = 'M4nagement $ecret';
const refused = expect.stringMatching(/^(ECONNREFUSED|EHOSTUNREACH)$/);

describe('an OpenVPN that somebody else runs', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;
  let openvpn: Program;
  let started = 0;

  beforeAll(async () => {
    lab = await Lab.open();
    leaks = await watchUnderlay(lab.topology, 'leaks');
    writeFileSync(join(lab.folder, 'management-password'), `${managementPassword}\n`, { mode: 0o600 });
  });

  afterAll(async () => {
    await lab.close();
  });

  afterEach(async () => {
    expect((await leaks.seen()).packets).toEqual([]);
    expect(daemon.program.stderr).not.toContain(managementPassword);
    expect((await daemon.stop()).code).toBe(0);
    // It was not ended by that.
    expect(openvpn.running).toBe(true);
    await openvpn.stop('SIGKILL');
  });

  const socket = (): string => join(lab.folder, 'management.sock');
  const knock = (probe: 'lan' | 'router' = 'lan'): ReturnType<Lab['probes']['lan']['ask']> => lab.probes[probe].ask(serviceAddress.ipv4, servicePort);

  /** As README has it. */
  function configuration(lines: readonly string[] = []): string {
    const password = join(lab.folder, 'management-password');
    return lab.server.writeClientConfig('by-hand', { lines: [`dev ${device}`, 'dev-type tun', 'mark 4194304', `management ${socket()} unix ${password}`, 'management-hold', ...lines] });
  }

  async function startOpenvpn(lines: readonly string[] = []): Promise<void> {
    const config = configuration(lines);
    started += 1;
    openvpn = Program.start('openvpn', ['--config', config], { netns: lab.topology.router, folder: lab.folder, label: `by-hand-${started}` });
    await openvpn.says('MANAGEMENT: unix domain socket listening');
  }

  async function startDaemon(tunnel: DaemonOptions['tunnel'] = {}): Promise<void> {
    daemon = await Daemon.start(lab, { top: { log: 'debug' }, tunnel: { openvpn: { management: socket(), passwordFile: join(lab.folder, 'management-password') }, device, ...tunnel } });
  }

  const attached = (times = 1): Promise<unknown> => until('attached', () => daemon.log().filter(({ event }) => event === 'link.attached').length >= times, soon);

  it('wakes, goes back into hold when idle, wakes again; a stopped daemon leaves it in hold and running', async () => {
    await startOpenvpn();
    await startDaemon({ idle: '1s' });
    expect(await knock()).toMatchObject({ ok: true });
    expect((await daemon.reaches('up')).lastWake).toMatchObject({ released: 1 });
    await daemon.reaches('idle');
    expect(daemon.hasDevice()).toBe(false);
    expect(await knock('router')).toMatchObject({ ok: true });
    expect((await daemon.reaches('up')).lastWake).toMatchObject({ released: 1 });
    expect((await daemon.stop()).code).toBe(0);
    expect(openvpn.running).toBe(true);
    const hand = await byHand();
    await until('it says that it holds', () => hand.said().includes('>HOLD:Waiting for hold release'), soon);
    hand.end();
    // The next daemon finds it as it should be.
    await startDaemon();
    await attached();
    expect((await daemon.status()).state).toBe('idle');
    expect(await knock()).toMatchObject({ ok: true });
    expect((await daemon.reaches('up')).counters).toMatchObject({ wakes: 1, dropped: 0, rejected: 0, dialFailures: 0 });
  });

  it('is adopted by a daemon that was killed and is back, and when it connects unasked', async () => {
    await startOpenvpn();
    await startDaemon();
    await daemon.up();
    await daemon.kill();
    await startDaemon();
    await daemon.reaches('up', soon);
    expect(await knock()).toMatchObject({ ok: true });
    await daemon.stop();
    // In the middle of connecting: nobody answers on the server's side until the daemon is there.
    lab.server.signal('SIGSTOP');
    const hand = await byHand();
    await until('it says that it holds', () => hand.said().includes('>HOLD'), soon);
    hand.write('hold release\n');
    await until('it connects', () => hand.said().includes('SUCCESS: hold release'), soon);
    hand.end();
    await startDaemon();
    await attached();
    expect((await daemon.status()).state).toBe('idle');
    const packet = knock();
    await daemon.reaches('dialing');
    lab.server.signal('SIGCONT');
    expect(await packet).toMatchObject({ ok: true });
    expect((await daemon.reaches('up')).lastWake).toMatchObject({ released: 1 });
  });

  it('killed, stopped for five seconds, restarted by hand: the state shown is true, held packets go or are answered', async () => {
    await startDaemon({ hold: { timeout: '2s' }, backoff: { start: '500ms', max: '500ms' } });
    // Not running at all.
    expect(await knock()).toMatchObject({ ok: false, error: refused });
    expect((await daemon.status()).lastFailure).toMatchObject({ code: 'timeout', detail: expect.stringMatching(/ENOENT|ECONNREFUSED/) });
    await daemon.reaches('idle');
    await startOpenvpn();
    await attached();
    await daemon.up();
    await openvpn.stop('SIGKILL');
    await daemon.reaches('idle', soon);
    const packet = knock();
    await daemon.reaches('dialing');
    await startOpenvpn();
    expect(await packet).toMatchObject({ ok: true });
    // Stopped while it is up: what is told to it is done when it goes on.
    openvpn.signal('SIGSTOP');
    await daemon.down();
    const during = knock();
    expect(await during).toMatchObject({ ok: false, error: refused });
    await sleep(5_000 - 2_000 - 2_000);
    openvpn.signal('SIGCONT');
    await until('the device is gone', () => !daemon.hasDevice(), soon);
    await daemon.reaches('idle', soon);
    // Stopped in hold.
    openvpn.signal('SIGSTOP');
    const held = knock();
    await daemon.reaches('dialing');
    await sleep(500);
    openvpn.signal('SIGCONT');
    expect(await held).toMatchObject({ ok: true });
    await daemon.reaches('up', soon);
  });

  it('its management port is taken by a second client, and given back', async () => {
    await startOpenvpn();
    await startDaemon({ hold: { timeout: '20s' } });
    await daemon.up();
    await openvpn.stop('SIGKILL');
    await daemon.reaches('idle', soon);
    daemon.program.signal('SIGSTOP'); // or it would be the first
    await startOpenvpn();
    const second = await byHand();
    daemon.program.signal('SIGCONT');
    const packet = knock();
    await daemon.reaches('dialing');
    await until('the daemon is not greeted', () => daemon.log().some(({ event, msg }) => event === 'link.detached' && String(msg).includes('does not greet')), { timeoutMs: 5_000 });
    second.end();
    expect(await packet).toMatchObject({ ok: true });
    await daemon.reaches('up', soon);
  });

  // The last: the loop ends with the lab.
  it('ends by its own --inactive, is started again by a loop, and comes back in hold', async () => {
    const config = configuration(['inactive 1']);
    openvpn = Program.start('sh', ['-c', 'while :; do openvpn --config "$1"; sleep 0.2; done', 'loop', config], { netns: lab.topology.router, folder: lab.folder, label: 'loop' });
    await startDaemon({ idle: 'never' });
    await attached();
    expect(await knock()).toMatchObject({ ok: true });
    await daemon.reaches('idle');
    await attached(2);
    expect(await daemon.openvpnPids()).toHaveLength(1);
    expect(daemon.hasDevice()).toBe(false);
    expect(await knock()).toMatchObject({ ok: true });
    expect((await daemon.status()).counters).toMatchObject({ wakes: 2, dialFailures: 0, rejected: 0, dropped: 0 });
  });

  interface Hand {
    said(): string;
    write(line: string): void;
    end(): void;
  }

  /** A management client beside the daemon's; resolves when OpenVPN asks it for the password, and gives it. */
  async function byHand(): Promise<Hand> {
    let said = '';
    const client = createConnection(socket());
    client.on('error', (error) => { said += error.message; });
    client.on('data', (chunk: Buffer) => { said += chunk.toString(); });
    await until('OpenVPN asks for the password', () => said.includes('PASSWORD'), soon);
    client.write(`${managementPassword}\n`);
    return { said: () => said, write: (line) => { client.write(line); }, end: () => { client.end(); } };
  }
});
