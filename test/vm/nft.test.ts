import { expect, it } from '@jest/globals';
import { devices } from '../lab/addresses.js';
import { watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { RouterDnsmasq } from '../lab/router-dnsmasq.js';
import { mainJob } from './main-job.js';

mainJob('nft');

it('what dnsmasq adds to sets of nft is protected at once, also while the tunnel is up', async () => {
  const other = '10.99.0.2';
  const lab = await Lab.open();
  await lab.topology.service.ip(`addr add ${other}/16 dev ${devices.service}`);
  const leaks = await watchUnderlay(lab.topology, 'leaks');
  const daemon = await Daemon.start(lab, { top: { gate: 'nft' }, tunnel: { protect: [], domains: ['lab'] } });
  const dnsmasq = await RouterDnsmasq.start(lab, daemon, { 'first.lab': [serviceAddress.ipv4, serviceAddress.ipv6], 'second.lab': [other] });
  for (const [from, name, kind] of [['lan', 'first.lab', 'A'], ['router', 'first.lab', 'AAAA'], ['router', 'second.lab', 'A']] as const) {
    const address = await dnsmasq.ask(from, name, kind);
    expect({ from, address, answer: await lab.probes[from].connect(address, servicePort, 30_000) }).toEqual({ from, address, answer: expect.objectContaining({ ok: true }) });
  }
  expect(await daemon.status()).toMatchObject({ state: 'up', counters: { wakes: 1, dropped: 0 } });
  expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  expect(await lab.topology.router.run('nft', ['list', 'set', 'inet', 'openvpn_ondemand', 'ood-office-dns4'])).toContain(other);
  expect((await leaks.stop()).packets).toEqual([]);
  await lab.close();
});
