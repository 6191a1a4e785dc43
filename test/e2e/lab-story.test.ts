import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkout } from '../lab/paths.js';
import { sleep, until } from '../lab/wait.js';

/** `npm run lab` without its set-up, with a temporary folder of its own, by which all that it makes is found. */
function startLab(temporary: string): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/lab/main.ts'], { cwd: checkout, env: { ...process.env, TMPDIR: temporary }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { child, output: () => output };
}

describe('npm run lab', () => {
  let temporary: string;

  beforeAll(() => {
    temporary = mkdtempSync(join(tmpdir(), 'ood-story-'));
  });

  afterAll(() => {
    rmSync(temporary, { recursive: true });
  });

  it('plays the whole story, exits 0, leaves nothing behind', async () => {
    const { child, output } = startLab(temporary);
    const [code] = (await once(child, 'exit')) as [number];
    process.stderr.write(output());
    expect({ code, output: output() }).toMatchObject({ code: 0, output: expect.stringContaining('Every step was seen.') });
    expect(output()).not.toContain('✗');
    expect(output()).not.toContain('\u001b'); // not a terminal
    expect(labFolders(temporary)).toEqual([]);
    expect(processesOf(temporary)).toEqual([]);
  }, 60_000);

  it.each([
    { signal: 'SIGINT', afterMs: 150 }, { signal: 'SIGINT', afterMs: 350 }, { signal: 'SIGINT', afterMs: 500 }, { signal: 'SIGINT', afterMs: 700 },
    { signal: 'SIGTERM', afterMs: 1_000 }, { signal: 'SIGINT', afterMs: 3_500 }, { signal: 'SIGKILL', afterMs: 600 },
  ] as const)('$signal after $afterMs ms leaves nothing behind', async ({ signal, afterMs }) => {
    const { child, output } = startLab(temporary);
    await sleep(afterMs);
    const namespaces = namespacesOf(temporary);
    child.kill(signal);
    await once(child, 'exit');
    expect(output()).not.toContain('✗');
    // The janitor outlives one that was killed without a chance to wait for it.
    await until('everything is gone', () => labFolders(temporary).length === 0, { everyMs: 20 });
    expect(processesOf(temporary)).toEqual([]);
    expect(namespaces.filter((name) => existsSync(`/run/netns/${name}`))).toEqual([]);
  });
});

/** The namespaces that the janitor of a lab in that folder was told to remove. */
function namespacesOf(temporary: string): string[] {
  return pids().map(commandLineOf).filter((words) => words[1]?.endsWith('janitor.sh') && words[2]?.startsWith(`${temporary}/`)).flatMap((words) => words.slice(3).filter(Boolean));
}

/** tsx keeps its cache there, too. */
function labFolders(temporary: string): string[] {
  return readdirSync(temporary).filter((name) => name.startsWith('ood-'));
}

/** Processes that write into the folder, or are told about it. */
function processesOf(temporary: string): string[] {
  return pids().filter((pid) => commandLineOf(pid).some((word) => word.includes(temporary)) || standardOutputOf(pid).startsWith(temporary)).map((pid) => commandLineOf(pid).join(' '));
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
}

function commandLineOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return []; // it has ended meanwhile
  }
}

function standardOutputOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/1`);
  } catch {
    return ''; // it has ended meanwhile
  }
}
