import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress } from '../lab/lab.js';
import { sleep, until } from '../lab/wait.js';
import { environmentOf, flushScript, type Flavour } from './flavour.js';
import { startTraffic } from './traffic.js';

const flavours: readonly Flavour[] = ['iptables-nft', 'iptables-legacy'];
const rounds = 10;

/** Somewhere on the internet. */
const elsewhere = '203.0.113.7';

interface Repair {
  readonly afterMs: number;
  readonly unheard: boolean;
  readonly escaped: { readonly office: number };
}

/** Here the catch route is a default route with a worse metric: without the firewall packets go by the better one. */
describe.each(flavours)('protect: [0.0.0.0/0], the firewall flushed by somebody else, %s', (flavour) => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;
  let endTraffic: () => Promise<void>;

  beforeAll(async () => {
    lab = await Lab.open({ server: { redirectGateway: true } });
    await lab.topology.service.ip(`addr add ${elsewhere}/32 dev lo`);
    await lab.topology.server.ip(`route add ${elsewhere} via ${serviceAddress.ipv4}`);
    // it is dialing all the time, with packets held
    lab.server.signal('SIGSTOP');
    daemon = await Daemon.start(lab, { top: { gate: 'iptables' }, tunnel: { protect: ['0.0.0.0/0'], hold: { timeout: '10m' } }, env: await environmentOf(flavour, lab.folder) });
    leaks = await watchUnderlay(lab.topology, 'leaks', `dst host ${elsewhere}`); // what comes back is not counted
    endTraffic = startTraffic(lab, [elsewhere]);
    await daemon.reaches('dialing');
  });

  afterAll(async () => {
    await endTraffic();
    lab.server.signal('SIGCONT');
    await lab.close();
  });

  const repairs = (): readonly Repair[] => daemon.log().filter(({ event }) => event === 'gate.repaired') as unknown as Repair[];

  it(`${rounds} times: what went in clear is counted and told, and it is repaired`, async () => {
    const told: { readonly leaked: number; readonly counted: number; readonly ms: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      await sleep(300);
      const [seen, known] = [(await leaks.seen()).packets.length, repairs().length];
      // one after the other, or all in a moment
      const script = flavour === 'iptables-nft' && round % 2 === 1 ? 'nft flush ruleset' : flushScript(flavour, ['raw', 'mangle']);
      await lab.topology.router.run('sh', ['-c', script], { reject: false });
      // where the kernel tells nothing, whoever asks for the status makes the daemon look
      await until('all of the firewall stands again', async () => (await daemon.status()).gateBroken === undefined && repairs().length > known);
      await sleep(100);
      const leaked = (await leaks.seen()).packets.length - seen;
      const done = repairs().slice(known);
      const counted = done.reduce((sum, { escaped }) => sum + escaped.office, 0);
      told.push({ leaked, counted, ms: Math.max(...done.map(({ afterMs }) => afterMs)) });
      expect((await daemon.status()).lastRepair).toMatchObject({ escaped: done.at(-1)!.escaped.office });
      expect(done.every(({ unheard }) => unheard === (flavour === 'iptables-legacy'))).toBe(true);
    }
    process.stderr.write(`${flavour}: seen by tcpdump / counted / repaired after ms: ${told.map(({ leaked, counted, ms }) => `${leaked}/${counted}/${ms}`).join(' ')}\n`);
    expect(told.filter(({ leaked, counted }) => counted < leaked)).toEqual([]);
    // the witness has seen some, and after the last repair there were no more
    expect(told.some(({ leaked }) => leaked > 0)).toBe(true);
    const last = (await leaks.seen()).packets.length;
    await sleep(500);
    expect((await leaks.seen()).packets.length).toBe(last);
  }, 120_000);
});
