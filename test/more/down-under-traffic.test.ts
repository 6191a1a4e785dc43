import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress } from '../lab/lab.js';
import type { Received, Sent } from '../lab/probe.js';
import { Program } from '../lab/program.js';
import { sleep } from '../lab/wait.js';

const rate = 200;
const downs = 20;
/** More than can be sent in the time of the test. */
const most = rate * 60;
/** Longer than packets are held here. */
const quietMs = 4_000;

describe('`down` while packets flow', () => {
  let lab: Lab;
  let daemon: Daemon;

  beforeAll(async () => {
    // On a busy machine the server's OpenVPN reads too late what was held: its buffer is the largest that may be, twice the usual one.
    lab = await Lab.open({ server: { lines: ['rcvbuf 425984'] } });
  });

  afterAll(() => lab.close());

  beforeEach(async () => {
    daemon = await Daemon.start(lab);
  });

  afterEach(() => daemon.stop());

  /** A flow that goes on until the result is called, with what was sent and what arrived. */
  async function flow(from: 'lan' | 'router', port: number): Promise<() => Promise<{ sent: Sent; received: Received }>> {
    const receiver = await lab.probes.service.receive(lab.folder, port, most, quietMs);
    const args = ['send', serviceAddress.ipv4, port, most, rate, 64].map(String);
    const sender = Program.start(lab.probes[from].binary, args, { netns: lab.topology[from], folder: lab.folder, label: `send-${from}` });
    return async () => {
      await sender.stop('SIGTERM');
      return { sent: JSON.parse(sender.stdout) as Sent, received: await receiver() };
    };
  }

  it(`${downs} times under ${rate} packets/s, forwarded and local: none is lost, none out of order, none in clear`, async () => {
    const leaks = await watchUnderlay(lab.topology, 'leaks');
    const flows = [await flow('lan', 9100), await flow('router', 9101)];
    for (let round = 0; round < downs; round++) {
      await daemon.reaches('up');
      await sleep(50);
      await daemon.down();
    }
    await daemon.reaches('up');
    for (const end of flows) {
      const { sent, received } = await end();
      expect(sent).toMatchObject({ ok: true, failed: 0, error: '' });
      expect(sent.sent).toBeGreaterThan(downs * 0.1 * rate);
      expect({ ...received, drops: received.received < sent.sent ? await lab.drops() : '', counters: (await daemon.status()).counters }).toMatchObject({ received: sent.sent, outOfOrder: 0, duplicates: 0, drops: '', counters: { dropped: 0, rejected: 0, dialFailures: 0 } });
    }
    expect((await daemon.status()).counters).toMatchObject({ wakes: downs + 1, dropped: 0, rejected: 0, dialFailures: 0 });
    expect((await leaks.stop()).packets).toEqual([]);
  }, 60_000);

  it('of this host\'s, with an address of a tunnel that was up for a moment only', async () => {
    await daemon.up();
    const end = await flow('router', 9102);
    await sleep(30);
    await daemon.down();
    await daemon.reaches('up');
    const { sent, received } = await end();
    expect(sent).toMatchObject({ ok: true, failed: 0, error: '' });
    expect(sent.sent).toBeGreaterThan(0.1 * rate);
    expect(received).toMatchObject({ received: sent.sent, outOfOrder: 0, duplicates: 0 });
  }, 60_000);
});
