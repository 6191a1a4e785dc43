import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addresses, devices } from '../lab/addresses.js';
import { commandLine, Daemon, tunnelName, writeConfiguration } from '../lab/daemon.js';
import { networkState } from '../lab/judge.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';

const { prefix } = addresses.service;
const wan = devices.router.underlay;
/** A route to the service by the underlay: a link of the simplest kind. */
const route = `${prefix} via ${addresses.underlay.server} dev ${wan}`;
const down = ['ip', 'route', 'del', ...route.split(' ')];

describe('a tunnel of two commands', () => {
  let lab: Lab;
  let daemon: Daemon;
  let untouched: readonly string[];

  beforeEach(async () => {
    lab = await Lab.open();
    untouched = await networkState(lab.topology.router);
  });

  afterEach(async () => {
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(await networkState(lab.topology.router)).toEqual(untouched);
    expect(await lab.topology.router.pids()).toEqual([]);
    await lab.close();
  });

  async function start(tunnel: Readonly<Record<string, unknown>>): Promise<void> {
    daemon = await Daemon.start(lab, { tunnel: { openvpn: undefined, protect: [prefix], idle: 'never', ...tunnel } });
  }

  it('ready by SIGUSR1 from a script', async () => {
    await start({ device: wan, command: { up: ['sh', '-c', `ip route add ${route} && kill -USR1 $PPID`], down, ready: 'signal' } });
    // from the router: the server has its way to the LAN through OpenVPN
    expect(await lab.probes.router.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect(await daemon.reaches('up')).toMatchObject({ counters: { wakes: 1, dialFailures: 0 } });
  });

  it('ready by name from a program in the foreground that is the link; when that is killed the next packet wakes it again', async () => {
    const config = lab.server.writeClientConfig('foreground');
    const { socket } = writeConfiguration(lab);
    // OpenVPN gives its scripts an environment of its own.
    const script = join(lab.folder, 'ready.sh');
    writeFileSync(script, `#!/bin/sh\nexec ${commandLine.join(' ')} ready ${tunnelName} --socket ${socket}\n`, { mode: 0o755 });
    const up = ['openvpn', '--config', config, '--dev', 'vpn9', '--dev-type', 'tun', '--script-security', '2', '--route-up', script];
    await start({ device: 'vpn9', command: { up, down: ['true'], ready: 'signal' } });
    for (let round = 0; round < 2; round++) {
      expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true }); // the script takes its time
      await daemon.reaches('up');
      const [pid] = await daemon.openvpnPids();
      process.kill(pid!, 'SIGKILL');
      await daemon.reaches('idle');
    }
    expect(await daemon.status()).toMatchObject({ counters: { wakes: 2, dropped: 0, rejected: 0 } });
  });

  it('a command that fails, that is not there, and that hangs: each a failed dial, answered', async () => {
    const failing: readonly (readonly [readonly string[], RegExp, string])[] = [
      [['sh', '-c', 'echo no modem >&2; exit 7'], /sh ended with status 7: no modem/, 'exit'],
      [['no-such-program'], /no-such-program is not there/, 'exit'],
      [['sleep', '1000'], /not connected after 500 ms/, 'timeout'],
    ];
    for (const [up, detail, code] of failing) {
      await start({ device: wan, command: { up, down: ['true'] }, hold: { timeout: '500ms' } });
      expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
      expect(await daemon.status()).toMatchObject({ state: 'backoff', lastFailure: { code, detail: expect.stringMatching(detail) } });
      if (up !== failing.at(-1)?.[0]) await daemon.stop();
    }
  });
});
