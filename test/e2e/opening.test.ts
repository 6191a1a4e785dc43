import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress } from '../lab/lab.js';

const rounds = process.env['OOD_LONG'] === undefined ? 2 : 20;
const flow = { count: 20_000, rate: 10_000 };

describe('a flow of 10,000 packets/s through the moment of opening', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;

  beforeAll(async () => {
    // The server shares its processors with all the rest here: with the usual buffer it would lose some at its own socket.
    lab = await Lab.open({ server: { lines: ['rcvbuf 4194304'] } });
    // On a slow machine the dial takes longer than 1024 packets do.
    daemon = await Daemon.start(lab, { tunnel: { hold: { packets: 8192 } } });
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });

  afterAll(() => lab.close());

  beforeEach(async () => {
    await daemon.down();
    await daemon.reaches('idle');
  });

  it.each(Array.from({ length: rounds }, (_, i) => ({ round: i + 1 })))('none lost, none out of order, round $round', async ({ round }) => {
    const port = 9000 + round;
    const family = round % 2 === 1 ? 'ipv4' : 'ipv6';
    const receiver = await lab.probes.service.receive(lab.folder, port, flow.count);
    expect(await lab.probes.lan.send({ address: serviceAddress[family], port, ...flow })).toMatchObject({ ok: true, sent: flow.count });
    const received = await receiver();
    expect({ ...received, drops: received.missing > 0 ? await lab.drops() : '' }).toMatchObject({ received: flow.count, missing: 0, outOfOrder: 0, duplicates: 0, drops: '' });
    // Some were held, and most were not: the flow did pass the moment of opening.
    const { lastWake } = await daemon.reaches('up');
    expect(lastWake?.released).toBeGreaterThan(1);
    expect(lastWake?.released).toBeLessThan(flow.count / 2);
    expect((await leaks.seen()).packets).toEqual([]);
  });
});
