/** A figure over all rounds of a bench. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Row {
  readonly name: string;
  /** Figures by the name of their column. */
  readonly figures: Readonly<Record<string, Spread>>;
}

export interface Target {
  readonly what: string;
  readonly measured: Spread;
  readonly bound: 'at most' | 'at least';
  readonly limit: number;
  /** Of the measured figure; absent for ratios. */
  readonly unit?: string;
  /** Judged by the median. */
  readonly met: boolean;
}

export interface Report {
  readonly bench: string;
  readonly rounds: number;
  readonly machine: { readonly kernel: string; readonly node: string; readonly cores: number };
  readonly tables: readonly { readonly title: string; readonly rows: readonly Row[] }[];
  readonly targets: readonly Target[];
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const at = (i: number): number => sorted[i] ?? NaN;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

/** The value that `share` (0 to 1) of them don't exceed. */
export function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? NaN;
}

export function target(what: string, values: readonly number[], bound: Target['bound'], limit: number, unit?: string): Target {
  const measured = spread(values);
  const met = bound === 'at most' ? measured.median <= limit : measured.median >= limit;
  return { what, measured, bound, limit, met, ...(unit === undefined ? {} : { unit }) };
}

/** Round by round: what one did in relation to what the other did in the same round. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((value, round) => value / (theirs[round] ?? NaN));
}

function digits(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}

function cell({ median, min, max }: Spread): string {
  return `${digits(median)} (${digits(min)}–${digits(max)})`;
}

function table(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const lines = [['', ...columns], ...rows.map(({ name, figures }) => [name, ...columns.map((column) => (figures[column] === undefined ? '–' : cell(figures[column])))])];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i + 1]!.length)));
  const first = Math.max(...lines.map((line) => line[0]!.length));
  return lines.map(([name, ...cells]) => `  ${name!.padEnd(first)}  ${cells.map((text, i) => text.padStart(widths[i]!)).join('  ')}`).join('\n');
}

/** For a person: medians, with the smallest and the largest of all rounds. */
export function render({ bench, rounds, machine, tables, targets }: Report): string {
  const head = `${bench}: ${rounds} rounds, Linux ${machine.kernel}, Node ${machine.node}, ${machine.cores} cores; median (least–most)`;
  const parts = tables.map(({ title, rows }) => `${title}\n${table(rows)}`);
  const judged = targets.map(({ what, measured, bound, limit, unit, met }) => {
    const figure = `${cell(measured)}${unit === undefined ? '' : ` ${unit}`}`;
    return `  ${met ? 'met   ' : 'MISSED'}  ${what}: ${figure}, ${bound} ${limit}`;
  });
  return [head, ...parts, ['targets', ...judged].join('\n')].join('\n\n');
}
