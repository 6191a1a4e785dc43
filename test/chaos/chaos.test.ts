import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Capture, watchUnderlay } from '../lab/capture.js';
import { commandLine, Daemon, type DaemonOptions } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { sleep, until } from '../lab/wait.js';
import { Dice } from './dice.js';
import { faults, type Stage } from './faults.js';
import { environmentOf, type Flavour } from './flavour.js';
import { startTraffic } from './traffic.js';

/** In all: half of them with each flavour. OOD_FAULTS makes it shorter, OOD_SEED repeats what was seen. */
const count = Number(process.env['OOD_FAULTS'] ?? 300);
const seed = Number(process.env['OOD_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const flavours: readonly Flavour[] = ['iptables-nft', 'iptables-legacy'];
const round = Math.ceil(count / flavours.length);

/** OpenVPN's own time to notice a dead server is the longest part of it. */
const recoveryMs = 30_000;

const settings: DaemonOptions = { top: { gate: 'iptables' }, tunnel: { idle: '1s', hold: { timeout: '5s' }, backoff: { start: '100ms', max: '200ms' } } };

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

describe.each(flavours)('random faults under traffic, %s', (flavour) => {
  let stage: Stage;
  let leaks: Capture;
  let endTraffic: () => Promise<void>;

  beforeAll(async () => {
    tell(`chaos: ${flavour}, ${round} faults, OOD_SEED=${seed}`);
    const lab = await Lab.open({ server: { keepalive: [1, 3] } });
    const options = { ...settings, env: await environmentOf(flavour, lab.folder) };
    stage = { lab, flavour, options, daemon: await Daemon.start(lab, options) };
    leaks = await watchUnderlay(lab.topology, 'leaks');
    endTraffic = startTraffic(lab);
  });

  afterAll(async () => {
    await endTraffic();
    await stage.lab.close();
  });

  const nothingInClear = async (): Promise<void> => {
    expect((await leaks.seen()).packets).toEqual([]);
  };

  /** Every kind of traffic gets through again, and nothing stays held. */
  const recovered = async (): Promise<void> => {
    const { probes: { lan, router } } = stage.lab;
    const { ipv4, ipv6 } = serviceAddress;
    const kinds = {
      'forwarded TCP': () => lan.connect(ipv4, servicePort, 500),
      'forwarded UDP': () => lan.ask(ipv6, servicePort, 500),
      'local TCP': () => router.connect(ipv6, servicePort, 500),
      'local UDP': () => router.ask(ipv4, servicePort, 500),
    };
    for (const [kind, once] of Object.entries(kinds)) await until(`an answer to ${kind}`, async () => {
      // Somebody who asks makes the daemon look for what the kernel tells nobody of: iptables-legacy, and sets.
      await stage.daemon.status();
      return (await once()).ok;
    }, { timeoutMs: recoveryMs, everyMs: 20 });
    await until('nothing is held', () => stage.daemon.queue().held === 0, { timeoutMs: recoveryMs });
    await until('all of the firewall stands', async () => (await stage.daemon.status()).gateBroken === undefined, { timeoutMs: recoveryMs });
  };

  it(`${round} of them: nothing in clear, and after each everything flows again`, async () => {
    const dice = new Dice(seed);
    const times = new Map<string, number[]>();
    await recovered();
    for (let turn = 1; turn <= round; turn++) {
      const fault = dice.pick(faults[flavour]);
      // not only while it is up
      const closing = dice.next() < 0.4 ? stage.daemon.down().catch(() => undefined) : undefined;
      await sleep(dice.upTo(200));
      const begin = performance.now();
      try {
        await fault.happen(stage, dice);
        await closing;
        await recovered();
        await nothingInClear();
      } catch (cause) {
        throw new Error(`fault ${turn}, ${fault.name}${closing === undefined ? '' : ' while going down'} (OOD_SEED=${seed}): ${String(cause)}\nstatus: ${JSON.stringify(await stage.daemon.status().catch(String))}\n${stage.daemon.program.stderr.split('\n').slice(-60).join('\n')}`, { cause });
      }
      times.set(fault.name, [...(times.get(fault.name) ?? []), performance.now() - begin]);
    }
    for (const [name, taken] of times) tell(`  ${name}: ${taken.length} times, all kinds flow again ${taken.reduce((sum, ms) => sum + ms, 0) / taken.length | 0} ms after its beginning on average, ${Math.max(...taken) | 0} at most`);
  }, (round + 5) * 60_000);

  it('the witness would have seen it: with daemon and guard gone, the same traffic goes in clear', async () => {
    await stage.daemon.kill();
    await stage.lab.topology.router.run(commandLine[0], [commandLine[1], 'flush', '--socket', stage.daemon.socket]);
    await until('packets in clear', async () => (await leaks.seen()).packets.length > 100);
  });
});
