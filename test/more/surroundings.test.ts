import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { addresses, devices } from '../lab/addresses.js';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { sleep, until } from '../lab/wait.js';

const { router: { underlay: wan } } = devices;

describe('the network under the tunnel', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;

  beforeEach(async () => {
    lab = await Lab.open();
    leaks = await watchUnderlay(lab.topology, 'leaks');
  });

  afterEach(async () => {
    expect((await leaks.stop()).packets).toEqual([]);
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(await lab.topology.router.pids()).toEqual([]);
    await lab.close();
  });

  it('comes back during the back-off: the next packet dials at once', async () => {
    daemon = await Daemon.start(lab, { tunnel: { hold: { timeout: '500ms' }, backoff: { start: '10m', max: '10m' } } });
    await lab.topology.router.ip(`link set ${wan} down`);
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
    await daemon.reaches('backoff');
    await lab.topology.router.ip(`link set ${wan} up`);
    await daemon.reaches('idle');
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
  });

  it('comes back during a dial: the held packet goes without waiting for OpenVPN\'s own time-outs', async () => {
    daemon = await Daemon.start(lab, { tunnel: { hold: { timeout: '40s' } } });
    await lab.topology.router.ip(`link set ${wan} down`);
    const answer = lab.probes.lan.ask(serviceAddress.ipv4, servicePort, 30_000);
    await daemon.reaches('dialing');
    await sleep(3000);
    const { counters } = await daemon.status();
    expect(counters).toMatchObject({ held: 1, released: 0, dialFailures: 0 });
    await lab.topology.router.ip(`link set ${wan} up`);
    const since = performance.now();
    expect(await answer).toMatchObject({ ok: true });
    expect(performance.now() - since).toBeLessThan(5000);
  });

  it('is another one while the tunnel is up: dialed anew from there, and nothing that is sent meanwhile is lost', async () => {
    daemon = await Daemon.start(lab);
    await daemon.up();
    await daemon.reaches('up');
    const other = '192.0.2.7';
    await lab.topology.router.batch([`addr add ${other}/24 dev ${wan}`, `route replace ${addresses.underlay.prefix} dev ${wan} proto kernel scope link src ${other}`]);
    await daemon.reaches('dialing');
    const receiver = await lab.probes.service.receive(lab.folder, 9000, 100, 5000);
    expect(await lab.probes.lan.send({ address: serviceAddress.ipv4, port: 9000, count: 100, rate: 100 })).toMatchObject({ ok: true, sent: 100 });
    expect(await receiver()).toMatchObject({ missing: 0, outOfOrder: 0 });
    await daemon.reaches('up');
    expect(lab.server.log).toContain(`${other}:`);
  });

  it('changes that do not concern the way to the server leave the tunnel alone', async () => {
    daemon = await Daemon.start(lab);
    await daemon.up();
    const { since } = await daemon.reaches('up');
    await lab.topology.router.batch(['link add veth1 type veth peer name veth2', 'link set veth1 up', 'link set veth2 up', 'route add 172.17.0.0/16 dev veth1', 'link del veth1', 'route add default via 192.0.2.1 metric 900']);
    await sleep(1500);
    expect(await daemon.status()).toMatchObject({ state: 'up', since });
    expect(await lab.probes.lan.ask(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true });
  });

  it('brings a LAN inside of what is protected: that is not reached through the tunnel', async () => {
    daemon = await Daemon.start(lab, { tunnel: { protect: ['10.0.0.0/8'] } });
    await lab.topology.router.batch(['link add wlan0 type veth peer name wlan1', 'link set wlan1 up', 'link set wlan0 up', 'addr add 10.44.0.1/24 dev wlan0', `addr add 192.0.2.7/24 dev ${wan}`, `route replace ${addresses.underlay.prefix} dev ${wan} proto kernel scope link src 192.0.2.7`]);
    await until('a packet to the LAN wakes nothing', async () => {
      await daemon.down();
      await daemon.reaches('idle');
      await lab.probes.router.ping('10.44.0.2', 200);
      return (await daemon.status()).state === 'idle';
    });
    expect(await lab.probes.lan.connect(serviceAddress.ipv4, servicePort)).toMatchObject({ ok: true, retransmits: 0 });
    await lab.topology.router.ip('link del wlan0');
  });
});
