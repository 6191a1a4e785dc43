import { execFileSync } from 'node:child_process';
import { describe, expect, it } from '@jest/globals';
import type { Extent } from '../../src/v8.js';
import { checkout } from '../lab/paths.js';

/** The size of V8's young generation in bytes, in a process of its own, after much was made that stays. */
function youngGeneration(extent: Extent): number {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { fitV8To, makeV8Small } from './src/v8.ts';
    makeV8Small();
    fitV8To(${JSON.stringify(extent)});
    const kept = Array.from({ length: 300_000 }, (_, i) => ({ i }));
    console.log(getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size, kept.length);`;
  return Number.parseInt(execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], { cwd: checkout, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } }), 10);
}

describe('V8', () => {
  it('keeps a small young generation, but for what is made of very many prefixes and for many tunnels that may be woken', () => {
    const few = { tunnels: 1, prefixes: 100, started: true };
    const small = [few, { ...few, tunnels: 1000, started: false }].map(youngGeneration);
    const large = [{ ...few, prefixes: 100_000, started: false }, { ...few, tunnels: 20 }].map(youngGeneration);
    expect(Math.max(...small)).toBeLessThanOrEqual(4 << 20);
    expect(Math.min(...large)).toBeGreaterThan(2 * Math.max(...small));
  });
});
