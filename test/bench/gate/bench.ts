import { cpus, release } from 'node:os';
import type { GateTunnel } from '../../../src/core/ports.js';
import type { BenchOptions } from '../main.js';
import { Programs } from '../nfqueue/programs.js';
import { ratios, spread, target, type Report, type Row } from '../report.js';
import { lostWhileChanging, measureChanges, type ChangeFigures } from './changes.js';
import { GateLab, otherHost, protectedHost, withPrefixes, withTunnels } from './gate-lab.js';

const DEFAULT_ROUNDS = 5;
const FLOOD_MS = 1000;
const backends = ['iptables-nft', 'iptables-legacy'] as const;
type IptablesBackend = (typeof backends)[number];

const configurations = { '1 prefix': withPrefixes(1), '100,000 prefixes': withPrefixes(100_000), '100 tunnels': withTunnels(100) } as const;
type Configuration = keyof typeof configurations;
const names = Object.keys(configurations) as Configuration[];
const noGate = 'no gate at all';

interface Rates {
  /** Thousand packets a second. */
  readonly other: number;
  readonly own: number;
}

type Figures = ReadonlyMap<string, readonly Rates[]>;

/** What the gate costs: its changes, and the packets that pass it while it is open. */
export async function run({ rounds = DEFAULT_ROUNDS, progress }: BenchOptions): Promise<Report> {
  const programs = await Programs.build();
  try {
    const changes = new Map<IptablesBackend, ChangeFigures[]>();
    const lost: number[] = [];
    for (const backend of backends) {
      for (let round = 1; round <= rounds; round++) {
        const figures = await measureChanges(backend, programs);
        changes.set(backend, [...(changes.get(backend) ?? []), figures]);
        lost.push(await lostWhileChanging(backend, programs));
        progress(`${backend} ${round}: loaded in ${figures.loadMs.toFixed(0)} ms, worst change ${figures.worstMs.toFixed(1)} ms, bypass ${figures.bypassMs.toFixed(0)} ms, ${lost.at(-1) ?? 0} lost`);
      }
    }
    const rates = new Map<IptablesBackend, Figures>();
    for (const backend of backends) rates.set(backend, await measureRates(backend, programs, rounds, progress));
    return {
      bench: 'gate',
      rounds,
      machine: { kernel: release(), node: process.version, cores: cpus().length },
      tables: [
        { title: '100,000 prefixes', rows: backends.map((backend) => changeRow(backend, changes.get(backend) ?? [])) },
        ...backends.map((backend) => ({ title: `forwarded by the router, open gate, ${backend}: thousand packets/s`, rows: rateRows(rates.get(backend) ?? new Map()) })),
      ],
      targets: [
        ...backends.flatMap((backend) => [
          target(`${backend}: worst change of a gate with 100,000 prefixes`, (changes.get(backend) ?? []).map(({ worstMs }) => worstMs), 'at most', 25, 'ms'),
          target(`${backend}: loading 100,000 prefixes`, (changes.get(backend) ?? []).map(({ loadMs }) => loadMs), 'at most', 2000, 'ms'),
        ]),
        target('1,000 packets held while every gate changes: lost', lost, 'at most', 0, 'packets'),
        ...backends.flatMap((backend) => rateTargets(backend, rates.get(backend) ?? new Map())),
      ],
    };
  } finally {
    await programs.dispose();
  }
}

/** One after the other in every round: whatever else the machine does meets all of them. */
async function measureRates(backend: IptablesBackend, programs: Programs, rounds: number, progress: BenchOptions['progress']): Promise<Figures> {
  const labs = new Map<string, GateLab>();
  const figures = new Map<string, Rates[]>();
  try {
    for (const name of [noGate, ...names]) {
      const lab = await GateLab.create(programs);
      labs.set(name, lab);
      await prepare(lab, backend, name === noGate ? undefined : configurations[name as Configuration]);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [name, lab] of labs) {
        const measured = { other: await lab.forwarded(otherHost, FLOOD_MS), own: await lab.forwarded(protectedHost, FLOOD_MS) };
        figures.set(name, [...(figures.get(name) ?? []), measured]);
        progress(`${backend} ${round}: ${name}: ${measured.other.toFixed(0)} thousand/s of others, ${measured.own.toFixed(0)} of its own`);
      }
    }
    return figures;
  } finally {
    for (const lab of labs.values()) await lab.dispose();
  }
}

async function prepare(lab: GateLab, backend: IptablesBackend, tunnels: readonly GateTunnel[] | undefined): Promise<void> {
  if (tunnels !== undefined) {
    const gate = lab.gate(backend);
    await gate.install(tunnels);
    await gate.set('t0', 'open');
  }
  await lab.forwarded(otherHost, 200); // neighbours are known from here on
}

function changeRow(name: string, figures: readonly ChangeFigures[]): Row {
  const of = (key: keyof ChangeFigures) => spread(figures.map((measured) => measured[key]));
  return { name, figures: { 'loaded, ms': of('loadMs'), 'worst change, ms': of('worstMs'), 'bypass on or off, ms': of('bypassMs') } };
}

function rateRows(figures: Figures): Row[] {
  return [...figures].map(([name, rates]) => ({ name, figures: { 'what is nobody\'s': spread(rates.map(({ other }) => other)), 'through the tunnel\'s device': spread(rates.map(({ own }) => own)) } }));
}

function rateTargets(backend: string, figures: Figures) {
  const of = (name: Configuration, key: keyof Rates): number[] => (figures.get(name) ?? []).map((rates) => rates[key]);
  return names.slice(1).flatMap((name) => [
    target(`${backend}: forwarding what is nobody's, ${name} : 1 prefix`, ratios(of(name, 'other'), of('1 prefix', 'other')), 'at least', 0.95),
    target(`${backend}: forwarding through the tunnel's device, ${name} : 1 prefix`, ratios(of(name, 'own'), of('1 prefix', 'own')), 'at least', 0.95),
  ]);
}
