import { cpus, release } from 'node:os';
import { measureAlwaysOn, measureIdle, measureWakeBytes } from '../daemon/idle.js';
import type { BenchOptions } from '../main.js';
import { spread, target, type Report } from '../report.js';

/** Sixty pings each way: what a day is extrapolated from. An hourly change of keys is not in it. */
const WINDOW_S = 600;
const DEFAULT_ROUNDS = 1;

/** What nobody's use of a tunnel costs: OpenVPN always on, with the usual keepalive, against the daemon; ten minutes a round. */
export async function run({ rounds = DEFAULT_ROUNDS, progress }: BenchOptions): Promise<Report> {
  const alwaysOn: number[] = [];
  const ours: number[] = [];
  const wakes: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    progress(`round ${round}: ${WINDOW_S / 60} minutes`);
    const [plain, idle, wake] = await Promise.all([measureAlwaysOn(WINDOW_S), measureIdle('cold', WINDOW_S), measureWakeBytes()]);
    alwaysOn.push(plain.bytesPerDay);
    ours.push(idle.bytesPerDay);
    wakes.push(wake);
  }
  return {
    bench: 'savings',
    rounds,
    machine: { kernel: release(), node: process.version, cores: cpus().length },
    tables: [{
      title: 'bytes on the underlay, both ways, as its device counts them',
      rows: [
        { name: 'OpenVPN always on, keepalive 10 60', figures: { 'a day': spread(alwaysOn) } },
        { name: 'daemon, cold', figures: { 'a day': spread(ours), 'a wake and its end': spread(wakes) } },
      ],
    }],
    targets: [target('bytes a day while idle', ours, 'at most', 0, 'bytes')],
  };
}
