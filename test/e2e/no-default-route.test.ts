import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';

describe('a router without any default route', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;

  beforeAll(async () => {
    lab = await Lab.open({ defaultRoute: false });
    // Without the daemon there is no way there: an error at once.
    for (const address of Object.values(serviceAddress)) {
      expect(await lab.probes.router.connect(address, servicePort)).toMatchObject({ ok: false, error: 'ENETUNREACH' });
    }
    daemon = await Daemon.start(lab);
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });

  afterAll(() => lab.close());

  // Twice: the first wake has no address of the tunnel's yet, the second one has the last one.
  it.each([
    { family: 'ipv4', time: 'first' }, { family: 'ipv6', time: 'first' }, { family: 'ipv4', time: 'second' }, { family: 'ipv6', time: 'second' },
  ] as const)('a local connect over $family wakes the tunnel, the $time time', async ({ family }) => {
    expect(await lab.probes.router.connect(serviceAddress[family], servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    await daemon.reaches('up');
    await daemon.down();
    await daemon.reaches('idle');
  });

  it('a forwarded connect does, too', async () => {
    expect(await lab.probes.lan.connect(serviceAddress.ipv6, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
  });

  it('has sent nothing in clear, and leaves no route', async () => {
    expect((await leaks.stop()).packets).toEqual([]);
    await daemon.stop();
    expect(await lab.probes.router.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: false, error: 'ENETUNREACH' });
  });
});
