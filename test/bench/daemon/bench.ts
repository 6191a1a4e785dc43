import { cpus, release } from 'node:os';
import type { BenchOptions } from '../main.js';
import { ratios, spread, target, type Report, type Row } from '../report.js';
import { bareNodeMb, measureAlwaysOn, measureIdle } from './idle.js';
import { measureScale } from './scale.js';
import { measureTraffic, type TrafficFigures } from './traffic.js';
import { measureWakes, type WakeFigures } from './wake.js';

const DEFAULT_ROUNDS = 9;
/** In a round: one is over in a moment, and whatever the machine does in that moment is most of it. */
const WAKES = 3;
/** Tunnels, and prefixes of each. */
const SCALE = [[1, 8], [10, 8], [50, 8], [1, 1000], [1, 10_000]] as const;

/** The daemon against what there would be without it. The programs that are measured are the built ones: `npm run build`. */
export async function run({ rounds = DEFAULT_ROUNDS, progress }: BenchOptions): Promise<Report> {
  const cold = await measureWakes('cold', WAKES * rounds, progress);
  const warm = await measureWakes('warm', WAKES * rounds, progress);
  const linked = await measureTraffic('link', Math.ceil(rounds / 2), progress);
  const traffic = await measureTraffic('processor', rounds, progress);
  progress('idle: 40 s each');
  const [bareMb, idle, idleWarm, alwaysOn] = await Promise.all([bareNodeMb(), measureIdle('cold'), measureIdle('warm'), measureAlwaysOn()]);
  const scale: Row[] = [];
  for (const [tunnels, prefixes] of SCALE) {
    const name = `${tunnels} tunnels with ${prefixes} prefixes each`;
    progress(`scale: ${name}`);
    const { startMs, upMs, residentMb } = await measureScale(tunnels, prefixes);
    scale.push({ name, figures: { 'start, ms': spread([startMs]), '`up`, ms': spread([upMs]), 'resident, MB': spread([residentMb]) } });
  }
  return {
    bench: 'daemon',
    rounds,
    machine: { kernel: release(), node: process.version, cores: cpus().length },
    tables: [
      { title: 'a wake, ms', rows: [wakeRow('cold', cold.later), wakeRow('cold, the first of a daemon', [cold.first]), wakeRow('warm', warm.later), wakeRow('warm, the first of a daemon', [warm.first])] },
      { title: 'one TCP connection through the tunnel over a link of 100 Mbit/s', rows: trafficRows(linked) },
      { title: 'one TCP connection through the tunnel, bound by the processor', rows: trafficRows(traffic) },
      {
        title: 'while nobody wants the tunnel',
        rows: [
          { name: 'daemon, cold', figures: idleFigures(idle, bareMb) },
          { name: 'daemon, warm', figures: idleFigures(idleWarm, bareMb) },
          { name: 'OpenVPN always on, keepalive 10 60', figures: { 'bytes a day': spread([alwaysOn.bytesPerDay]) } },
        ],
      },
      { title: 'scale', rows: scale },
    ],
    targets: [
      target('overhead of a cold wake over OpenVPN alone', overheads(cold.later), 'at most', 2, 'ms'),
      target('overhead of a warm wake over OpenVPN alone', overheads(warm.later), 'at most', 2, 'ms'),
      target('traffic over a link of 100 Mbit/s, with : without it', trafficRatios(linked), 'at least', 0.99),
      target('traffic bound by the processor, with : without it', trafficRatios(traffic), 'at least', 0.99),
      target('resident memory over a bare Node process', [idle.residentMb - bareMb], 'at most', 25, 'MB'),
      target('bytes a day while idle', [idle.bytesPerDay], 'at most', 0, 'bytes'),
    ],
  };
}

const overheads = (figures: readonly WakeFigures[]): number[] => figures.map(({ ms, dialMs }) => ms - dialMs);

function wakeRow(name: string, figures: readonly WakeFigures[]): Row {
  return {
    name,
    figures: {
      'first packet through': spread(figures.map(({ ms }) => ms)),
      'OpenVPN alone': spread(figures.map(({ dialMs }) => dialMs)),
      overhead: spread(overheads(figures)),
      'TCP connected': spread(figures.map(({ connectMs }) => connectMs)),
    },
  };
}

function trafficRows(rounds: readonly TrafficFigures[]): Row[] {
  return [
    { name: 'with the daemon', figures: { 'Mbit/s': spread(rounds.map(({ withDaemon }) => withDaemon)) } },
    { name: 'without', figures: { 'Mbit/s': spread(rounds.map(({ without }) => without)) } },
  ];
}

const trafficRatios = (rounds: readonly TrafficFigures[]): number[] => ratios(rounds.map(({ withDaemon }) => withDaemon), rounds.map(({ without }) => without));

function idleFigures({ wakeupsPerMinute, bytesPerDay, residentMb }: { wakeupsPerMinute: number; bytesPerDay: number; residentMb: number }, bareMb: number): Row['figures'] {
  return { 'wake-ups a minute': spread([wakeupsPerMinute]), 'bytes a day': spread([bytesPerDay]), 'MB over bare Node': spread([residentMb - bareMb]) };
}
