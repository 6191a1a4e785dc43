import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { existsSync } from 'node:fs';
import { addresses, devices } from '../lab/addresses.js';
import { watchUnderlay } from '../lab/capture.js';
import { changes, deviceNames, networkState, processesNamed } from '../lab/judge.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { Program } from '../lab/program.js';
import { realTime } from '../lab/real-time.js';
import { until } from '../lab/wait.js';

// The lab judges the daemon; here it is judged itself, with a plain OpenVPN client in the daemon's place.
describe('the lab', () => {
  let lab: Lab;
  let client: Program;

  beforeAll(async () => {
    lab = await Lab.open();
  });

  afterAll(async () => {
    await lab.close();
    expect(existsSync(lab.folder)).toBe(false);
    expect(existsSync(`/run/netns/${lab.topology.router.name}`)).toBe(false);
  });

  it('sees what leaves the router in clear', async () => {
    const leaks = await watchUnderlay(lab.topology, 'control');
    // No tunnel: the default route takes it to the server in clear. IPv4 and IPv6, forwarded and local.
    await lab.probes.lan.ask(serviceAddress.ipv4, servicePort, 100);
    await lab.probes.router.ask(serviceAddress.ipv6, servicePort, 100);
    const { packets } = await leaks.stop();
    expect(packets.join('\n')).toContain(`${addresses.lan.host}.`);
    expect(packets.join('\n')).toContain(`${addresses.underlay.router6}.`);
  });

  it('has a server that a plain client connects to, and a service that answers through it', async () => {
    const { router } = lab.topology;
    const before = await networkState(router);
    const config = lab.server.writeClientConfig('plain');
    const [command, ...args] = [...(await realTime()), 'openvpn', '--config', config, '--dev', 'plain0', '--dev-type', 'tun'] as const;
    client = Program.start(command, args, { netns: router, folder: lab.folder, label: 'plain' });
    await client.says('Initialization Sequence Completed');
    expect(deviceNames(client.pid)).toContain('plain0');
    expect(await processesNamed(router, 'openvpn')).toEqual([client.pid]);
    expect(changes(before, await networkState(router)).join('\n')).toMatch(/\+ route: 10\.99\.0\.0\/16 .*plain0/);

    const leaks = await watchUnderlay(lab.topology, 'plain');
    for (const address of Object.values(serviceAddress)) {
      for (const probe of [lab.probes.lan, lab.probes.router]) {
        expect(await probe.ping(address)).toMatchObject({ ok: true });
        expect(await probe.connect(address, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
        expect(await probe.ask(address, servicePort)).toMatchObject({ ok: true });
      }
    }
    expect(await leaks.stop()).toEqual({ packets: [], bytes: 0 });
  });

  it('counts a flow: all of it, and what is missing', async () => {
    const receiver = await lab.probes.service.receive(lab.folder, 9000, 1000);
    expect(await lab.probes.lan.send({ address: serviceAddress.ipv4, port: 9000, count: 1000, rate: 2_000 })).toMatchObject({ ok: true, sent: 1000 });
    expect(await receiver()).toMatchObject({ received: 1000, missing: 0, outOfOrder: 0, duplicates: 0 });

    const short = await lab.probes.service.receive(lab.folder, 9001, 1000);
    await lab.probes.lan.send({ address: serviceAddress.ipv4, port: 9001, count: 900, rate: 2_000 });
    expect(await short()).toMatchObject({ received: 900, missing: 100 });
  });

  it('notices a SYN that had to be sent again', async () => {
    const { router } = lab.topology;
    const drop = ['-i', devices.router.lan, '-p', 'tcp', '-j', 'DROP'];
    await router.run('iptables', ['-w', '-I', 'FORWARD', ...drop]);
    const connecting = lab.probes.lan.connect(serviceAddress.ipv4, servicePort);
    await until('one was dropped', async () => /-c [1-9]/.test((await router.run('iptables', ['-w', '-v', '-S', 'FORWARD']))));
    await router.run('iptables', ['-w', '-D', 'FORWARD', ...drop]);
    const { ok, retransmits } = await connecting;
    expect({ ok, again: retransmits! >= 1 }).toEqual({ ok: true, again: true });
  });

  it('has a client that is gone after a kill, with its routes', async () => {
    await client.stop('SIGKILL');
    await until('the device is gone', async () => !(await lab.topology.router.ip('-o link')).includes('plain0'));
    expect(await processesNamed(lab.topology.router, 'openvpn')).toEqual([]);
  });
});
