import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { until } from '../lab/wait.js';

const name = 'vpn.example';
/** Nobody is there. */
const before = '192.0.2.77';
/** Inside of what is protected. */
const after = '203.0.113.9';

describe('a server whose name gets another address', () => {
  let lab: Lab;

  afterEach(() => lab.close());

  it.each(['cold', 'warm'])('is reached there after a dial that failed, though that address is protected (standby: %s)', async (standby) => {
    lab = await Lab.open({ server: { lines: ['multihome'] } });
    await lab.topology.server.ip(`addr add ${after}/32 dev wan0`);
    const hosts = join(lab.folder, 'hosts');
    const pointTo = (address: string): void => { writeFileSync(hosts, `127.0.0.1 localhost\n${address} ${name}\n`); };
    pointTo(before);
    const wrapper = ['unshare', '-m', 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hosts];
    const daemon = await Daemon.start(lab, { wrapper, client: { remote: name }, tunnel: { standby, protect: ['10.99.0.0/16', '203.0.113.0/24'], hold: { timeout: '1s' }, backoff: { start: '300ms', max: '300ms' } } });
    const leaks = await watchUnderlay(lab.topology, 'leaks');
    const connect = () => lab.probes.lan.connect(serviceAddress.ipv4, servicePort);
    expect(await connect()).toMatchObject({ ok: false, error: 'ECONNREFUSED' });
    pointTo(after);
    // The name is looked up when a dial has failed: this one, or the next.
    await until('it is reached', async () => (await connect()).ok, { timeoutMs: 10_000, everyMs: 100 });
    expect(await daemon.reaches('up')).toMatchObject({ gate: 'open' });
    // This host alone may speak to the server past the tunnel.
    expect(await lab.probes.lan.ping(after, 300)).toMatchObject({ ok: false });
    expect((await leaks.stop()).packets).toEqual([]);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  }, 30_000);
});
