import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { Program } from '../lab/program.js';

describe('while the tunnel is up', () => {
  let lab: Lab;
  let daemon: Daemon | undefined;

  beforeAll(async () => {
    lab = await Lab.open();
    const server = Program.start('iperf3', ['-s', '--forceflush'], { netns: lab.topology.service, folder: lab.folder, label: 'iperf3' });
    await server.says('Server listening');
  });

  afterAll(() => lab.close());

  /** Bits per second, LAN to service. */
  async function iperf(): Promise<number> {
    const output = await lab.topology.lan.run('iperf3', ['-c', serviceAddress.ipv4, '-t', '2', '-J']);
    const result = JSON.parse(output) as { end: { sum_received: { bits_per_second: number } } };
    return result.end.sum_received.bits_per_second;
  }

  it('iperf3 passes through a plain client, and through the daemon\'s tunnel', async () => {
    const config = lab.server.writeClientConfig('plain');
    const plain = Program.start('openvpn', ['--config', config, '--dev', 'plain0', '--dev-type', 'tun'], { netns: lab.topology.router, folder: lab.folder, label: 'plain' });
    await plain.says('Initialization Sequence Completed');
    const without = await iperf();
    await plain.stop();

    daemon = await Daemon.start(lab);
    const leaks = await watchUnderlay(lab.topology, 'leaks');
    await daemon.up();
    await daemon.reaches('up');
    const before = daemon.queue().lastId;
    const within = await iperf();
    // What was measured is told, not judged: the machine has other work, too.
    process.stderr.write(`iperf3 through the tunnel: ${megabits(without)} Mbit/s without the daemon, ${megabits(within)} Mbit/s with it\n`);
    expect(within).toBeGreaterThan(0);
    expect(daemon.queue().lastId).toBe(before);
    expect((await leaks.stop()).packets).toEqual([]);
  }, 30_000);

  it('no packet passes user space: forwarded, local, IPv4, IPv6, TCP, UDP, ping', async () => {
    const before = daemon!.queue();
    for (const probe of [lab.probes.lan, lab.probes.router]) {
      for (const address of Object.values(serviceAddress)) {
        expect(await probe.connect(address, servicePort)).toMatchObject({ ok: true });
        expect(await probe.ask(address, servicePort)).toMatchObject({ ok: true });
        expect(await probe.ping(address)).toMatchObject({ ok: true });
      }
    }
    expect(daemon!.queue()).toEqual(before);
    // The counter does move when one is held.
    await daemon!.down();
    await daemon!.reaches('idle');
    expect(await lab.probes.lan.ping(serviceAddress.ipv4)).toMatchObject({ ok: true });
    expect(daemon!.queue().lastId).toBe(before.lastId + 1);
  });
});

function megabits(bitsPerSecond: number): string {
  return (bitsPerSecond / 1e6).toFixed(0);
}
