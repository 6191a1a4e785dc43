import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { watchUnderlay } from '../lab/capture.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { changes, networkState } from '../lab/judge.js';
import { checkout } from '../lab/paths.js';
import { sleep, until } from '../lab/wait.js';
import { Verifier } from '../lab/verifier.js';
import { SystemdHost } from './systemd-host.js';

const unit = 'openvpn-ondemand.service';
const unitFile = join(checkout, 'conf', 'systemd', unit);

describe('the unit, as systemd-analyze sees it', () => {
  it('has no mistake', async () => {
    // It asks for the manual page that `Documentation` names, too.
    const { exitCode, stdout, stderr } = await execa('systemd-analyze', ['verify', '--man=no', unitFile], { reject: false });
    expect({ exitCode, said: stdout + stderr }).toEqual({ exitCode: 0, said: '' });
  });

  it('is exposed by 2.0 at most', async () => {
    const { stdout } = await execa('systemd-analyze', ['security', '--offline=true', '--no-pager', unitFile]);
    expect(Number(/Overall exposure level for \S+ (\d+\.\d)/.exec(stdout)?.[1])).toBeLessThanOrEqual(2);
  });
});

interface UnitOptions {
  readonly onStop: 'flush' | 'keep';
  /** The user name and the password, in a file that the unit's `LoadCredential=` names. */
  readonly login?: readonly [username: string, password: string];
  /** `WatchdogSec=` in place of the unit's own. */
  readonly watchdogS?: number;
}

/** A systemd in the lab's router that has the unit and one tunnel. */
async function bootWithUnit(lab: Lab, { onStop, login, watchdogS }: UnitOptions): Promise<SystemdHost> {
  const { folder } = lab;
  copyFileSync(lab.server.writeClientConfig('office', login ? { lines: ['auth-user-pass'] } : {}), join(folder, 'unit.ovpn'));
  writeFileSync(join(folder, 'unit.login'), `${(login ?? []).join('\n')}\n`, { mode: 0o600 });
  writeFileSync(join(folder, 'unit.yaml'), `onStop: ${onStop}\ntunnels: {office: {openvpn: {config: office.ovpn}${login ? ', credentials: {login: {systemd: office.login}}' : ''}, protect: [10.99.0.0/16, "fd00:99::/48"]}}\n`);
  // This kernel has no nft queue: the backend is iptables, which the unit says what to do for.
  writeFileSync(join(folder, 'override.conf'), ['[Service]', 'CapabilityBoundingSet=CAP_NET_RAW', ...(login ? ['LoadCredential=office.login:/etc/openvpn-ondemand/office.login'] : []), ...(watchdogS === undefined ? [] : [`WatchdogSec=${watchdogS}`]), ''].join('\n'));
  return SystemdHost.boot(lab.topology.router, folder, [
    `mkdir -p "$1/opt/ood" "$1/etc/openvpn-ondemand" "$1/etc/systemd/system/${unit}.d"`,
    `mount --bind ${checkout} "$1/opt/ood"`,
    'ln -s /opt/ood/dist/cli/main.js "$1/usr/local/bin/openvpn-ondemand"',
    `test -e "$1/usr/bin/node" || ln -s ${process.execPath} "$1/usr/bin/node"`,
    `cp ${unitFile} "$1/etc/systemd/system/"`,
    `cp ${join(folder, 'override.conf')} "$1/etc/systemd/system/${unit}.d/"`,
    `cp ${join(folder, 'unit.ovpn')} "$1/etc/openvpn-ondemand/office.ovpn"`,
    `cp ${join(folder, 'unit.yaml')} "$1/etc/openvpn-ondemand/config.yaml"`,
    `cp ${join(folder, 'unit.login')} "$1/etc/openvpn-ondemand/office.login"`,
  ]);
}

/** Starts the service; a failure is told with its journal. */
async function start(host: SystemdHost): Promise<void> {
  const { exitCode } = await host.run('systemctl', 'start', unit);
  const journal = exitCode === 0 ? '' : (await host.run('journalctl', '--no-pager', '--unit', unit)).stdout;
  expect({ exitCode, journal }).toEqual({ exitCode: 0, journal: '' });
}

describe.each(['flush', 'keep'] as const)('the unit under a real systemd, onStop: %s', (onStop) => {
  let lab: Lab;
  let host: SystemdHost;
  let untouched: readonly string[];

  beforeAll(async () => {
    lab = await Lab.open();
    untouched = await networkState(lab.topology.router);
    host = await bootWithUnit(lab, { onStop });
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
  });

  it('starts when the trap is set, and a packet wakes the tunnel', async () => {
    await start(host);
    expect(await host.show(unit, 'ActiveState', 'Type', 'StatusText')).toEqual({ ActiveState: 'active', Type: 'notify', StatusText: 'the trap is set' });
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect(await lab.probes.router.ask(serviceAddress.ipv6, servicePort)).toMatchObject({ ok: true });
  });

  it('reloads', async () => {
    const { exitCode } = await host.run('systemctl', 'reload', unit);
    expect(exitCode).toBe(0);
  });

  it(`stops cleanly and leaves ${onStop === 'flush' ? 'nothing' : 'the guard'}`, async () => {
    await host.run('systemctl', 'stop', unit);
    expect(await host.show(unit, 'ActiveState', 'Result', 'ExecMainStatus')).toEqual({ ActiveState: 'inactive', Result: 'success', ExecMainStatus: '0' });
    const left = changes(untouched, await networkState(lab.topology.router));
    const answer = await lab.probes.lan.connect(serviceAddress.ipv4, servicePort, 500);
    expect(answer).toMatchObject({ ok: false });
    if (onStop === 'flush') expect(left).toEqual([]);
    else expect(left.join('\n')).toContain('OOD-guard');
  });
});

describe('the unit with a watchdog and LoadCredential=, under a real systemd', () => {
  const intervalMs = 2000;
  const login = ['joe', 'R1ght "pa\\ss'] as const;
  const verifier = new Verifier([{ username: login[0], password: login[1], answer: 'yes' }]);
  let lab: Lab;
  let host: SystemdHost;

  beforeAll(async () => {
    lab = await Lab.open({ server: { lines: verifier.lines } });
    host = await bootWithUnit(lab, { onStop: 'flush', login, watchdogS: intervalMs / 1000 });
    await start(host);
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
    verifier.remove();
  });

  const signal = async (name: 'STOP' | 'CONT'): Promise<void> => {
    const { MainPID = '' } = await host.show(unit, 'MainPID');
    await host.run('kill', `-${name}`, MainPID);
  };

  it('has the watchdog off while the tunnel is idle: a daemon that hangs then is left alone', async () => {
    await until('the watchdog is off', async () => (await host.show(unit, 'WatchdogUSec'))['WatchdogUSec'] === '0');
    await signal('STOP');
    await sleep(2 * intervalMs);
    await signal('CONT');
    expect(await host.show(unit, 'ActiveState', 'NRestarts')).toEqual({ ActiveState: 'active', NRestarts: '0' });
  });

  it('wakes with what LoadCredential= brought, and the watchdog is on and gets its signs of life', async () => {
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect(verifier.attempts).toEqual([login]);
    await until('the watchdog is on', async () => (await host.show(unit, 'WatchdogUSec'))['WatchdogUSec'] === `${intervalMs / 1000}s`);
    await sleep(2 * intervalMs);
    expect(await host.show(unit, 'ActiveState', 'NRestarts')).toEqual({ ActiveState: 'active', NRestarts: '0' });
  });

  it('has it off again when a reload ends that tunnel', async () => {
    await host.run('sed', '-i', 's/ protect:/ minUp: 1s,&/', '/etc/openvpn-ondemand/config.yaml');
    expect((await host.run('systemctl', 'reload', unit)).exitCode).toBe(0);
    await until('the watchdog is off', async () => (await host.show(unit, 'WatchdogUSec'))['WatchdogUSec'] === '0');
  });

  it('has a daemon killed that hangs while the tunnel is up, and it comes back: nothing went in clear', async () => {
    const leaks = await watchUnderlay(lab.topology, 'leaks');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    await until('the watchdog is on', async () => (await host.show(unit, 'WatchdogUSec'))['WatchdogUSec'] !== '0');
    await signal('STOP');
    await until('it was started again', async () => {
      const { ActiveState, NRestarts } = await host.show(unit, 'ActiveState', 'NRestarts');
      return ActiveState === 'active' && NRestarts === '1';
    }, { timeoutMs: 20_000, everyMs: 200 });
    expect((await host.run('journalctl', '--no-pager', '--unit', unit)).stdout).toContain('Watchdog timeout');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    expect((await leaks.stop()).packets).toEqual([]);
  });
});
