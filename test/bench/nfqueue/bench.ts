import { cpus, release } from 'node:os';
import { ratios, spread, target, type Report, type Row, type Target } from '../report.js';
import type { BenchOptions } from '../main.js';
import { FloodLab, type Consumer, type FloodFigures } from './flood.js';
import { Programs, source } from './programs.js';

const DEFAULT_ROUNDS = 5;

const C_SINGLE = 'C, a verdict a packet';
const C_BATCH = 'C, batch verdicts';
const C_MMSG = 'C, recvmmsg and batch verdicts';
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

export async function run({ rounds = DEFAULT_ROUNDS, progress }: BenchOptions): Promise<Report> {
  const programs = await Programs.build();
  try {
    const figures = await race(programs, rounds, progress);
    return {
      bench: 'nfqueue',
      rounds,
      machine: { kernel: release(), node: process.versions.node, cores: cpus().length },
      tables: [{ title: 'flood of 64-byte packets, accepted at once', rows: raceRows(figures) }],
      targets: raceTargets(figures),
    };
  } finally {
    await programs.dispose();
  }
}
