import { cpus, release } from 'node:os';
import { ratios, spread, target, type Report, type Row, type Target } from '../report.js';
import type { BenchOptions } from '../main.js';
import { HELD, HoldLab, type Delivery } from './hold.js';
import { FloodLab, type Consumer, type FloodFigures } from './flood.js';
import { Programs, source } from './programs.js';

const DEFAULT_ROUNDS = 5;

const C_SINGLE = 'C, a verdict a packet';
const C_BATCH = 'C, batch verdicts';
const C_MMSG = 'C, recvmmsg and batch verdicts';
const OURS_SHORT = 'node-nfqueue';
const OURS = 'node-nfqueue, verdictUpTo a burst';
const OURS_LIST = 'node-nfqueue, verdicts of a burst';
const OURS_EACH = 'node-nfqueue, verdict each';
const NPM = 'npm nfqueue';

async function consumers(programs: Programs): Promise<Consumer[]> {
  const peer = (mode: string): string[] => [programs.compiled('peer'), '%q', mode, '%m'];
  const ours = (mode: string): string[] => [process.execPath, source('ours.mjs'), '%q', mode, '%m'];
  const npm = await programs.install('nfqueue');
  return [
    { name: C_SINGLE, command: peer('single') },
    { name: C_BATCH, command: peer('batch') },
    { name: OURS, command: ours('batch') },
    { name: C_MMSG, command: peer('mmsg') },
    { name: OURS_LIST, command: ours('list') },
    { name: OURS_EACH, command: ours('each') },
    { name: NPM, command: [process.execPath, source('npm-nfqueue.cjs'), npm, '%q'] },
  ];
}

type Figures = Map<string, FloodFigures[]>;

async function race(programs: Programs, rounds: number, progress: (text: string) => void): Promise<Figures> {
  const figures: Figures = new Map();
  const lab = await FloodLab.create(programs);
  try {
    const all = await consumers(programs);
    for (let round = 1; round <= rounds; round++) {
      for (const consumer of all) {
        const measured = await lab.measure(consumer);
        figures.set(consumer.name, [...(figures.get(consumer.name) ?? []), measured]);
        progress(`round ${round}: ${consumer.name}: ${measured.accepted.toFixed(0)} thousand/s, ${measured.cpuPerPacket.toFixed(2)} µs a packet`);
      }
    }
  } finally {
    await lab.dispose();
  }
  return figures;
}

function pick(figures: Figures, name: string, key: keyof FloodFigures): number[] {
  return (figures.get(name) ?? []).map((measured) => measured[key]);
}

function raceRows(figures: Figures): Row[] {
  return [...figures.keys()].map((name) => ({
    name,
    figures: { 'accepted, thousand/s': spread(pick(figures, name, 'accepted')), 'CPU µs/packet': spread(pick(figures, name, 'cpuPerPacket')) },
  }));
}

function raceTargets(figures: Figures): Target[] {
  const cpu = (name: string): number[] => pick(figures, name, 'cpuPerPacket');
  return [
    target(`CPU per packet, ${OURS} : ${C_SINGLE}`, ratios(cpu(OURS), cpu(C_SINGLE)), 'at most', 0.6),
    target(`CPU per packet, ${OURS} : ${C_BATCH}`, ratios(cpu(OURS), cpu(C_BATCH)), 'at most', 1.05),
    target(`accepted, ${OURS} : ${NPM}`, ratios(pick(figures, OURS, 'accepted'), pick(figures, NPM, 'accepted')), 'at least', 3),
  ];
}

interface HoldFigures {
  readonly ours: Delivery[];
  readonly peer: Delivery[];
  readonly tun: Delivery[];
  readonly lost: number[];
  readonly memory: number[];
}

async function holdAndRelease(programs: Programs, rounds: number, progress: (text: string) => void): Promise<HoldFigures> {
  const figures: HoldFigures = { ours: [], peer: [], tun: [], lost: [], memory: [] };
  const lab = await HoldLab.create(programs);
  try {
    for (let round = 1; round <= rounds; round++) {
      const peer = await lab.releaseByPeer();
      const ours = await lab.releaseByOurs();
      const tun = await lab.paceIntoTun();
      const [lost, memory] = [await lab.lostWhileBlocked(), await lab.memoryWhileHeld()];
      figures.peer.push(peer);
      figures.ours.push(ours);
      figures.tun.push(tun);
      figures.lost.push(lost);
      figures.memory.push(memory);
      progress(`round ${round}: ${HELD} released by C in ${peer.ms.toFixed(1)} ms, by node-nfqueue in ${ours.ms.toFixed(1)} ms; paced ${tun.received}; lost ${lost}; ${memory.toFixed(1)} MiB`);
    }
  } finally {
    await lab.dispose();
  }
  return figures;
}

function deliveryRow(name: string, deliveries: readonly Delivery[]): Row {
  const of = (key: keyof Delivery): number[] => deliveries.map((delivery) => delivery[key]);
  return { name, figures: { delivered: spread(of('received')), 'out of order': spread(of('disordered')), 'ms to the last': spread(of('ms')) } };
}

function holdTargets({ ours, peer, tun, lost, memory }: HoldFigures): Target[] {
  const times = (deliveries: readonly Delivery[]): number[] => deliveries.map(({ ms }) => ms);
  return [
    target(`${HELD} held and released at once: time, ${OURS_SHORT} : C`, ratios(times(ours), times(peer)), 'at most', 1.2),
    target(`${HELD} held and released at once: delivered`, ours.map(({ received }) => received), 'at least', HELD, 'packets'),
    target(`${HELD} held and released at once: out of order`, ours.map(({ disordered }) => disordered), 'at most', 0, 'packets'),
    target(`${HELD} paced into a tun device with a queue of 500: delivered`, tun.map(({ received }) => received), 'at least', HELD, 'packets'),
    target(`${HELD} paced into a tun device: out of order`, tun.map(({ disordered }) => disordered), 'at most', 0, 'packets'),
    target('reader blocked for a second under a burst of 20,000: lost', lost, 'at most', 0, 'packets'),
    target(`resident memory while ${HELD} are held`, memory, 'at most', 8, 'MiB more'),
  ];
}

export async function run({ rounds = DEFAULT_ROUNDS, progress }: BenchOptions): Promise<Report> {
  const programs = await Programs.build();
  try {
    const held = await holdAndRelease(programs, rounds, progress);
    const figures = await race(programs, rounds, progress);
    return {
      bench: 'nfqueue',
      rounds,
      machine: { kernel: release(), node: process.versions.node, cores: cpus().length },
      tables: [
        { title: 'flood of 64-byte packets, accepted at once', rows: raceRows(figures) },
        {
          title: `${HELD} packets held, then released`,
          rows: [deliveryRow('C, one batch verdict', held.peer), deliveryRow('node-nfqueue, at once', held.ours), deliveryRow('node-nfqueue, paced, into a tun device', held.tun)],
        },
      ],
      targets: [...raceTargets(figures), ...holdTargets(held)],
    };
  } finally {
    await programs.dispose();
  }
}
