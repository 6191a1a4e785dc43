import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { statusText } from '../../../src/cli/render.js';
import { loadConfiguration, parseConfiguration, type Settings } from '../../../src/config/load.js';
import { parsePrefixFile } from '../../../src/config/prefix-file.js';
import { DaemonError } from '../../../src/core/errors.js';

describe('a file of prefixes', () => {
  it('has one a line, of both families, with comments and blank lines', () => {
    const text = '# offices\n10.1.0.0/16\r\n\n  10.2.3.4   # the printer\nFD00:99:0::/48\n#10.3.0.0/16\n10.1.0.0/16';
    expect(parsePrefixFile(text)).toEqual({ prefixes: ['10.1.0.0/16', '10.2.3.4/32', 'fd00:99::/48'] });
  });

  it('may be empty', () => {
    expect(parsePrefixFile('\n# nothing yet\n')).toEqual({ prefixes: [] });
  });

  it('is told wrong with its lines', () => {
    expect(parsePrefixFile('10.1.0.0/16\n10.1.0.1/16\n\noffice')).toEqual({
      problems: [
        { line: 2, message: '"10.1.0.1/16" has bits set behind its length (did you mean 10.1.0.0/16?)' },
        { line: 4, message: '"office" is not an IPv4 or IPv6 prefix (like 10.99.0.0/16 or fd00:99::/48)' },
      ],
    });
  });

  it('that is something else is not told line by line', () => {
    const found = parsePrefixFile('words\n'.repeat(1000));
    expect('problems' in found && [found.problems.length, found.problems.at(-1)]).toEqual([11, { message: '990 more lines are wrong' }]);
  });
});

describe('named by a configuration', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ood-prefixes-'));
    mkdirSync(join(folder, 'lists'));
  });
  afterAll(() => { rmSync(folder, { recursive: true }); });

  const file = (): string => join(folder, 'config.yaml');
  const parse = (protect: string, exclude = '[]'): Settings => parseConfiguration(`tunnels:\n  office:\n    openvpn: {config: a}\n    protect: ${protect}\n    exclude: ${exclude}\n`, file());
  const write = (name: string, text: string): void => { writeFileSync(join(folder, name), text); };
  const problem = (parsing: () => unknown): string => {
    try {
      parsing();
    } catch (error) {
      if (error instanceof DaemonError) return error.describe();
      throw error;
    }
    throw new Error('it was accepted');
  };

  it('is found from the folder of the configuration, beside prefixes, in protect and exclude', () => {
    write('lists/protect', '10.2.0.0/16\n10.1.0.0/16\n');
    write('exclude', '10.1.1.0/24\n');
    const [tunnel] = parse('[10.1.0.0/16, {file: lists/protect}]', `[{file: ${folder}/exclude}, 10.2.2.0/24]`).tunnels;
    expect(tunnel).toMatchObject({ protect: ['10.1.0.0/16', '10.2.0.0/16'], exclude: ['10.1.1.0/24', '10.2.2.0/24'] });
  });

  it('is read anew with the configuration', async () => {
    writeFileSync(file(), 'tunnels: {office: {openvpn: {config: a}, protect: [{file: again}]}}\n');
    const protect = async (): Promise<unknown> => (await loadConfiguration(file())).tunnels[0]?.protect;
    write('again', '10.1.0.0/16\n');
    const before = await protect();
    write('again', '10.2.0.0/16\n');
    expect([before, await protect()]).toEqual([['10.1.0.0/16'], ['10.2.0.0/16']]);
  });

  it('is told wrong by its own name and line, all of them at once', () => {
    write('broken', '10.1.0.0/16\n10.300.0.0/16\n10.1.1.1/8\n');
    const told = problem(() => parse('[{file: broken}]', '[{file: missing}]'));
    expect(told.split('\n')).toEqual([
      `CONFIG_INVALID: ${folder}/broken:2: tunnels.office.protect.0: "10.300.0.0/16" is not an IPv4 or IPv6 prefix (like 10.99.0.0/16 or fd00:99::/48)`,
      `${folder}/broken:3: tunnels.office.protect.0: "10.1.1.1/8" has bits set behind its length (did you mean 10.0.0.0/8?)`,
      `${folder}/config.yaml:5: tunnels.office.exclude.0: ${folder}/missing: can't be read (ENOENT)`,
    ]);
  });

  it('may not be all that is protected, and empty', () => {
    write('empty', '\n');
    expect(problem(() => parse('[{file: empty}]'))).toContain('config.yaml:4: tunnels.office.protect: names no prefix: nothing would be protected');
  });

  it('may not say the same as that of another tunnel, which is told once and not a thousand times', () => {
    write('many', Array.from({ length: 1000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).join('\n'));
    const told = problem(() => parseConfiguration('tunnels:\n  a: {openvpn: {config: a}, protect: [{file: many}]}\n  b: {openvpn: {config: a}, protect: [{file: many}]}\n', file())).split('\n');
    expect(told).toHaveLength(6);
    expect(told[0]).toContain('config.yaml:3: tunnels.b.protect: 10.0.0.0/24 is protected by tunnel a, too');
    expect(told[5]).toContain('995 more prefixes are protected by other tunnels, too');
  });

  it('does not fill the screen', () => {
    const tunnel = { name: 'office', state: 'idle' as const, gate: 'hold' as const, since: new Date(0).toISOString(), device: 'a', held: { packets: 0, oldestMs: 0 }, counters: { wakes: 0, held: 0, released: 0, dropped: 0, rejected: 0, dialFailures: 0 } };
    const text = (count: number): string => statusText({ version: '1', tunnels: [{ ...tunnel, protect: Array.from({ length: count }, (_, i) => `10.0.0.${i}/32`) }] }, 1000);
    expect(text(100)).toBe('office: idle 1s · wakes on 10.0.0.0/32, 10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, 10.0.0.4/32, 10.0.0.5/32, 10.0.0.6/32 and 93 more');
    expect(text(8)).toMatch(/10\.0\.0\.7\/32$/);
  });
});
