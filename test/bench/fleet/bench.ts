import { cpus, release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from '../../../src/control/client.js';
import { FleetLab } from '../../lab/fleet.js';
import { contextSwitches } from '../../lab/judge.js';
import type { BenchOptions } from '../main.js';
import { residentBytes } from '../nfqueue/machine.js';
import { quantile, spread, target, type Report, type Row } from '../report.js';

const DEFAULT_ROUNDS = 10;
const TOGETHER = 100;
const IDLE = 1000;
/** Until V8 has given back what it can. */
const SETTLE_MS = 30_000;
const WINDOW_MS = 10_000;
/** Who is asked for a status looks whether the firewall still stands, with the firewall's own programs: not while we measure. */
const LOOK_MS = 1000;

interface Round {
  /** Of each tunnel: from the packet's arrival until it is out of the tunnel's device, without OpenVPN's own dial. Milliseconds. */
  readonly overheads: readonly number[];
  readonly delivered: number;
}

/** Many tunnels in one daemon, each attached to an OpenVPN that answers at once. */
export async function run({ rounds = DEFAULT_ROUNDS, progress }: BenchOptions): Promise<Report> {
  const forwarded = await wakes('lan', rounds, progress);
  const local = await wakes('router', rounds, progress);
  progress(`${IDLE} idle tunnels: ${(SETTLE_MS + WINDOW_MS) / 1000} s`);
  const idle = await idleness();
  const all = [...forwarded, ...local];
  return {
    bench: 'fleet',
    rounds,
    machine: { kernel: release(), node: process.version, cores: cpus().length },
    tables: [
      { title: `${TOGETHER} tunnels woken at the same moment, our overhead in ms`, rows: [wakeRow('by forwarded packets', forwarded), wakeRow('by packets of the router', local)] },
      { title: `${IDLE} idle tunnels`, rows: [{ name: 'daemon', figures: { 'start, ms': spread([idle.startMs]), 'context switches in 10 s': spread([idle.switches]), 'resident, MB': spread([idle.residentMb]) } }] },
    ],
    targets: [
      target(`${TOGETHER} woken together: overhead, 99th percentile`, all.map(({ overheads }) => quantile(overheads, 0.99)), 'at most', 20, 'ms'),
      target(`${TOGETHER} woken together: first packets delivered`, all.map(({ delivered }) => delivered), 'at least', TOGETHER, 'packets'),
      target(`${IDLE} idle: context switches in 10 s`, [idle.switches], 'at most', 0),
      target(`${IDLE} idle: resident memory`, [idle.residentMb], 'at most', 150, 'MB'),
    ],
  };
}

async function wakes(from: 'lan' | 'router', rounds: number, progress: (text: string) => void): Promise<readonly Round[]> {
  const lab = await FleetLab.open(TOGETHER);
  try {
    const found: Round[] = [];
    let before = 0;
    for (let round = 1; round <= rounds; round++) {
      await lab.wakeAll({ from });
      await sleep(1000); // nobody asks for a status meanwhile
      await lab.reaches('up');
      const { wakes: woken, delivered } = await lab.judge();
      const sum = delivered.reduce((total, each) => total + each, 0);
      found.push({ overheads: woken.map(({ ms, dialMs }) => ms - dialMs), delivered: sum - before });
      before = sum;
      progress(`from the ${from}, round ${round}: the 99th of a hundred within ${quantile(found.at(-1)?.overheads ?? [], 0.99).toFixed(1)} ms`);
      for (let i = 0; i < TOGETHER; i++) await request(lab.socket, { command: 'down', tunnel: `t${i}` });
      await lab.reaches('idle');
      await sleep(LOOK_MS);
    }
    return found;
  } finally {
    await lab.close();
  }
}

async function idleness(): Promise<{ readonly startMs: number; readonly switches: number; readonly residentMb: number }> {
  const began = performance.now();
  const lab = await FleetLab.open(IDLE);
  try {
    const startMs = performance.now() - began;
    await sleep(SETTLE_MS);
    const before = contextSwitches(lab.daemon.pid);
    await sleep(WINDOW_MS);
    return { startMs, switches: contextSwitches(lab.daemon.pid) - before, residentMb: (await residentBytes(lab.daemon.pid)) / 1e6 };
  } finally {
    await lab.close();
  }
}

function wakeRow(name: string, rounds: readonly Round[]): Row {
  const at = (share: number): number[] => rounds.map(({ overheads }) => quantile(overheads, share));
  return { name, figures: { 'half of them': spread(at(0.5)), '99 of 100': spread(at(0.99)), delivered: spread(rounds.map(({ delivered }) => delivered)) } };
}
