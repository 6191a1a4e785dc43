import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { LogPort } from '../../../src/core/ports.js';
import { createLogger } from '../../../src/host/log.js';
import { prettyLine } from '../../../src/host/pretty-line.js';

let folder: string;
let descriptor: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ood-log-'));
  descriptor = openSync(join(folder, 'log'), 'w');
});
afterEach(() => {
  closeSync(descriptor);
  rmSync(folder, { recursive: true });
});
const written = (): string[] => readFileSync(join(folder, 'log'), 'utf8').split('\n').slice(0, -1);

function sayAll(log: LogPort): void {
  log.debug({ event: 'openvpn.log' }, 'one');
  log.info({ event: 'tunnel.up', tunnel: 'office', dialMs: 7.5 }, 'two');
  log.warn({ event: 'queue.overflow' }, 'three');
  log.error({ event: 'effect.failed' }, 'four');
}

describe('the log', () => {
  it('is JSON, a line each', () => {
    sayAll(createLogger('info', { descriptor, environment: {} }));
    const lines = written().map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([{ level: 'info', event: 'tunnel.up', tunnel: 'office', dialMs: 7.5, msg: 'two' }, { level: 'warn', msg: 'three' }, { level: 'error', msg: 'four' }]);
    expect(Object.keys(lines[0] ?? {})).toEqual(['level', 'time', 'event', 'tunnel', 'dialMs', 'msg']);
    expect(lines[0]?.['time']).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  it('has priorities where the journal reads, and only there', () => {
    const { dev, ino } = fstatSync(descriptor);
    sayAll(createLogger('debug', { descriptor, environment: { JOURNAL_STREAM: `${dev}:${ino}` } }));
    sayAll(createLogger('debug', { descriptor, environment: { JOURNAL_STREAM: `${dev}:${ino + 1}` } }));
    expect(written().map((line) => line.slice(0, line.indexOf('{')))).toEqual(['<7>', '<6>', '<4>', '<3>', '', '', '', '']);
    expect(JSON.parse(written()[1]?.slice(3) ?? '')).toMatchObject({ event: 'tunnel.up' });
  });
});

describe('a line for a person', () => {
  const line = (fields: object): string => JSON.stringify({ level: 'info', time: new Date(2026, 0, 2, 3, 4, 5, 6).toISOString(), event: 'tunnel.up', msg: 'office: up', ...fields });

  it('has time of day, sentence, event and fields', () => {
    expect(prettyLine(line({ tunnel: 'office', dialMs: 7.5, packet: { protocol: 'tcp' } }), false)).toBe('03:04:05.006 office: up  tunnel.up tunnel=office dialMs=7.5 packet={"protocol":"tcp"}');
  });

  it.each([['warn', '\x1b[33mwarning: office: up\x1b[0m'], ['error', '\x1b[31merror: office: up\x1b[0m'], ['info', ' office: up  ']])('%s has its colour', (level, text) => {
    expect(prettyLine(line({ level }), true)).toContain(text);
  });

  it('never steers the terminal', () => {
    expect(prettyLine(line({ msg: 'a\x1b[2Jb\nc\x9b', process: '\x1b]0;x\x07', tunnel: 'two words' }), false)).toBe('03:04:05.006 a\\x1b[2Jb\\x0ac\\x9b  tunnel.up tunnel="two words" process="\\u001b]0;x\\u0007"');
  });
});
