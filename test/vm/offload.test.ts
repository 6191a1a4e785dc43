import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { devices } from '../lab/addresses.js';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { commandLine, Daemon, writeConfiguration } from '../lab/daemon.js';
import { changes, networkState } from '../lab/judge.js';
import { Lab, serviceAddress } from '../lab/lab.js';
import { until } from '../lab/wait.js';

const { router } = devices;
/** What a router has for speed. */
const theirs = `table inet theirs {
  flowtable fast { hook ingress priority 0; devices = { ${router.lan}, ${router.underlay} }; }
  chain forward { type filter hook forward priority filter; policy accept; meta l4proto { tcp, udp } flow add @fast; }
}
`;
const patience = { timeoutMs: 30_000 };

describe('the daemon beside a flowtable', () => {
  let lab: Lab;
  let leaks: Capture;
  let untouched: readonly string[];

  beforeAll(async () => {
    lab = await Lab.open();
    await lab.topology.router.run('nft', ['-f', '-'], { input: theirs });
    untouched = await networkState(lab.topology.router);
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });
  afterAll(() => lab.close());

  it('does not start, says why, and leaves nothing; nor does `check` pass', async () => {
    const daemon = Daemon.launch(lab, { top: { gate: 'nft' } });
    expect((await daemon.program.exited).code).not.toBe(0);
    expect(daemon.program.stderr).toContain('FLOWTABLE_FOUND: flowtable fast (table inet theirs)');
    expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
    const { configFile } = writeConfiguration(lab, { top: { gate: 'nft' } });
    const [program, ...args] = [...commandLine, 'check', '--config', configFile];
    await expect(lab.topology.router.run(program, args)).rejects.toThrow('set `offload: end`');
  });

  it('with `offload: end` loses nothing and sends nothing in clear, when the tunnel goes down beneath a flow that is offloaded', async () => {
    const daemon = await Daemon.start(lab, { top: { gate: 'nft', offload: 'end' }, tunnel: { idle: '5m' } });
    const count = 1500;
    const receiver = await lab.probes.service.receive(lab.folder, 9000, count, 10_000);
    const sent = lab.probes.lan.send({ address: serviceAddress.ipv4, port: 9000, count, rate: 50 });
    for (let downs = 1; downs <= 3; downs++) {
      await daemon.reaches('up', patience);
      await until('the flow is offloaded', async () => (await lab.topology.router.run('conntrack', ['-L', '-d', serviceAddress.ipv4, '-u', 'OFFLOAD'])).includes('dport=9000'), patience);
      await daemon.down();
      await until('the flow wakes it again', async () => (await daemon.status()).counters.wakes === downs + 1, patience);
    }
    expect(await sent).toMatchObject({ ok: true, sent: count });
    expect(await receiver()).toMatchObject({ received: count, missing: 0, duplicates: 0 });
    expect((await daemon.reaches('up', patience)).counters).toMatchObject({ dropped: 0, rejected: 0 });
    expect((await leaks.seen()).packets).toEqual([]);
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(changes(untouched, await networkState(lab.topology.router))).toEqual([]);
  });
});
