import { describe, expect, it } from '@jest/globals';
import { chart } from '../../bench/chart.js';
import { target } from '../../bench/report.js';

const drawn = (...targets: readonly ReturnType<typeof target>[]): string => chart({ bench: 'daemon', rounds: 3, machine: { kernel: '6.1', node: 'v20', cores: 2 }, tables: [], targets });

describe('the chart of a bench', () => {
  it('has a bar, a limit and a figure for each target', () => {
    const svg = drawn(target('wake', [1, 2, 1.5], 'at most', 2, 'ms'), target('traffic', [0.9], 'at least', 0.99));
    expect(svg).toContain('>1.5 ms (≤ 2)<');
    expect(svg).toContain('>0.9 (≥ 0.99)<');
    expect(svg.match(/<rect [^>]*fill="#(3a7|c43)"/g)).toHaveLength(2);
    expect(svg.match(/fill="#c43"/g)).toHaveLength(1);
  });

  it('can draw what is 0, with a limit of 0', () => {
    expect(drawn(target('bytes', [0], 'at most', 0, 'bytes'))).not.toMatch(/NaN|Infinity/);
  });
});
