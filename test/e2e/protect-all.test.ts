import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { addresses } from '../lab/addresses.js';
import { clearAnything, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';

const { lan, underlay } = addresses;

/** A host somewhere on the internet: reached through the service's network. */
const elsewhere = '203.0.113.7';

describe('protect: [0.0.0.0/0]', () => {
  let lab: Lab;
  let daemon: Daemon;

  beforeAll(async () => {
    lab = await Lab.open({ server: { redirectGateway: true } });
    await lab.topology.service.ip(`addr add ${elsewhere}/32 dev lo`);
    await lab.topology.server.ip(`route add ${elsewhere} via ${serviceAddress.ipv4}`);
    daemon = await Daemon.start(lab, { tunnel: { protect: ['0.0.0.0/0'] } });
  });

  afterAll(() => lab.close());

  it('holds neither the LAN, nor the underlay\'s neighbours, nor broadcasts, nor link-local packets', async () => {
    expect(await lab.probes.lan.ping(lan.router)).toMatchObject({ ok: true });
    expect(await lab.probes.router.ping(lan.host)).toMatchObject({ ok: true });
    expect(await lab.probes.router.ping(underlay.server)).toMatchObject({ ok: true });
    expect(await lab.probes.lan.ping(lan.router6)).toMatchObject({ ok: true });
    const nobody = { port: 67, count: 1, rate: 0 };
    expect(await lab.probes.lan.send({ address: '255.255.255.255', ...nobody })).toMatchObject({ ok: true });
    expect(await lab.probes.router.send({ address: '10.77.1.255', ...nobody })).toMatchObject({ ok: true });
    expect(await lab.probes.router.send({ address: '224.0.0.251', ...nobody, port: 5353 })).toMatchObject({ ok: true });
    await lab.probes.lan.send({ address: '169.254.7.7', ...nobody });
    expect(daemon.queue()).toMatchObject({ lastId: 0, held: 0 });
    expect((await daemon.status()).state).toBe('idle');
  });

  it.each(['lan', 'router'] as const)('dials, and reaches everything through the tunnel, from the %s', async (from) => {
    const leaks = await watchUnderlay(lab.topology, `leaks-${from}`, clearAnything);
    expect(await lab.probes[from].connect(elsewhere, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    await daemon.reaches('up');
    expect(await lab.probes[from].connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true });
    expect(await lab.probes.lan.ping(lan.router)).toMatchObject({ ok: true });
    await daemon.down();
    await daemon.reaches('idle');
    expect((await leaks.stop()).packets).toEqual([]);
  });
});
