import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { changes, networkState } from '../lab/judge.js';
import { checkout } from '../lab/paths.js';
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

describe.each(['flush', 'keep'] as const)('the unit under a real systemd, onStop: %s', (onStop) => {
  let lab: Lab;
  let host: SystemdHost;
  let untouched: readonly string[];

  beforeAll(async () => {
    lab = await Lab.open();
    untouched = await networkState(lab.topology.router);
    const { folder } = lab;
    copyFileSync(lab.server.writeClientConfig('office'), join(folder, 'unit.ovpn'));
    writeFileSync(join(folder, 'unit.yaml'), `onStop: ${onStop}\ntunnels: {office: {openvpn: {config: office.ovpn}, protect: [10.99.0.0/16, "fd00:99::/48"]}}\n`);
    // This kernel has no nft queue: the backend is iptables, which the unit says what to do for.
    writeFileSync(join(folder, 'raw.conf'), '[Service]\nCapabilityBoundingSet=CAP_NET_RAW\n');
    host = await SystemdHost.boot(lab.topology.router, folder, [
      `mkdir -p "$1/opt/ood" "$1/etc/openvpn-ondemand" "$1/etc/systemd/system/${unit}.d"`,
      `mount --bind ${checkout} "$1/opt/ood"`,
      'ln -s /opt/ood/dist/cli/main.js "$1/usr/local/bin/openvpn-ondemand"',
      `test -e "$1/usr/bin/node" || ln -s ${process.execPath} "$1/usr/bin/node"`,
      `cp ${unitFile} "$1/etc/systemd/system/"`,
      `cp ${join(folder, 'raw.conf')} "$1/etc/systemd/system/${unit}.d/"`,
      `cp ${join(folder, 'unit.ovpn')} "$1/etc/openvpn-ondemand/office.ovpn"`,
      `cp ${join(folder, 'unit.yaml')} "$1/etc/openvpn-ondemand/config.yaml"`,
    ]);
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
  });

  it('starts when the trap is set, and a packet wakes the tunnel', async () => {
    const { exitCode } = await host.run('systemctl', 'start', unit);
    const journal = exitCode === 0 ? '' : (await host.run('journalctl', '--no-pager', '--unit', unit)).stdout;
    expect({ exitCode, journal }).toEqual({ exitCode: 0, journal: '' });
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
