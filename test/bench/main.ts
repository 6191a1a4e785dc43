// npm run bench -- NAME [--json] [--rounds N] [--chart FILE]: measures against peers, in one run, and prints ratios with their spread.
import { readdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { chart } from './chart.js';
import { render, type Report } from './report.js';

export interface BenchOptions {
  readonly rounds: number | undefined;
  /** What happens, for the person who waits. */
  readonly progress: (text: string) => void;
}

/** What each bench exports: NAME/bench.ts. */
export interface BenchModule {
  run(options: BenchOptions): Promise<Report>;
}

const here = new URL('.', import.meta.url);
const names = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, rounds: { type: 'string' }, chart: { type: 'string' } },
});
const [name] = positionals;
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);

if (name === undefined || !names.includes(name) || (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))) {
  process.stderr.write(`usage: npm run bench -- NAME [--json] [--rounds N] [--chart FILE.svg], where NAME is one of: ${names.join(', ')}\n`);
  process.exitCode = 2;
} else {
  const bench = (await import(new URL(`${name}/bench.ts`, here).href)) as BenchModule;
  const report = await bench.run({ rounds, progress: (text) => process.stderr.write(`${text}\n`) });
  if (values.chart !== undefined) writeFileSync(values.chart, chart(report));
  process.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : `${render(report)}\n`);
}
