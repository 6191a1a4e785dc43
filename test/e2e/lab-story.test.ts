import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { checkout } from '../lab/paths.js';
import { sleep, until } from '../lab/wait.js';

/** `npm run lab` without its set-up, with a temporary folder of its own, by which all that it makes is found. */
class LabRun {
  readonly temporary = mkdtempSync(join(tmpdir(), 'ood-story-'));
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
  output = '';

  constructor(...args: readonly string[]) {
    const env = { ...process.env, TMPDIR: this.temporary };
    const child = spawn(process.execPath, ['--import', 'tsx', 'test/lab/main.ts', ...args], { cwd: checkout, env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.exit = once(child, 'close').then(([code]) => code as number | null);
    this.child = child;
  }

  /** tsx keeps its cache in the temporary folder, too. */
  folders(): string[] {
    return readdirSync(this.temporary).filter((name) => name.startsWith('ood-'));
  }

  /** The namespaces that the janitor of this run was told to remove. */
  namespaces(): string[] {
    return pids().map(commandLineOf)
      .filter((words) => words[1]?.endsWith('janitor.sh') && words[2]?.startsWith(`${this.temporary}/`))
      .flatMap((words) => words.slice(3).filter(Boolean));
  }

  /** Processes that write into the folder, or were told about it. */
  processes(): string[] {
    const ours = (pid: string): boolean => commandLineOf(pid).some((word) => word.includes(this.temporary)) || standardOutputOf(pid).startsWith(this.temporary);
    return pids().filter(ours).map((pid) => commandLineOf(pid).join(' '));
  }
}

describe('npm run lab', () => {
  const runs: LabRun[] = [];
  let whole: LabRun;
  let kept: LabRun;

  function start(...args: readonly string[]): LabRun {
    const run = new LabRun(...args);
    runs.push(run);
    return run;
  }

  beforeAll(() => {
    // They mostly wait: they play while others are interrupted.
    whole = start();
    kept = start('--keep');
  });

  afterAll(() => {
    for (const { temporary } of runs) rmSync(temporary, { recursive: true });
  });

  it.each([
    { signal: 'SIGINT', afterMs: 150 }, { signal: 'SIGINT', afterMs: 350 }, { signal: 'SIGINT', afterMs: 500 }, { signal: 'SIGINT', afterMs: 700 },
    { signal: 'SIGTERM', afterMs: 1_000 }, { signal: 'SIGINT', afterMs: 3_500 }, { signal: 'SIGKILL', afterMs: 600 },
  ] as const)('$signal after $afterMs ms leaves nothing behind', async ({ signal, afterMs }) => {
    const run = start();
    await sleep(afterMs);
    const namespaces = run.namespaces();
    run.child.kill(signal);
    await run.exit;
    expect(run.output).not.toContain('✗');
    // The janitor outlives one that was killed without a chance to wait for it.
    await until('everything is gone', () => run.folders().length === 0 && run.processes().length === 0, { everyMs: 20, timeoutMs: 60_000 });
    expect(namespaces.filter((name) => existsSync(`/run/netns/${name}`))).toEqual([]);
  });

  it('plays the whole story, exits 0, leaves nothing behind', async () => {
    const code = await whole.exit;
    process.stderr.write(whole.output);
    expect({ code, output: whole.output }).toMatchObject({ code: 0, output: expect.stringContaining('Every step was seen.') });
    expect(whole.output).not.toContain('✗');
    expect(whole.output).not.toContain('\u001b'); // not a terminal
    expect(whole.folders()).toEqual([]);
    expect(whole.processes()).toEqual([]);
  });

  it('--keep leaves it up, and the command that it prints removes it', async () => {
    expect({ code: await kept.exit, output: kept.output }).toMatchObject({ code: 0, output: expect.stringContaining('It is left up.') });
    const status = /^ +(\S+ \S+main\.js status --socket \S+)$/m.exec(kept.output)![1]!;
    expect((await execa('sh', ['-c', status], { cwd: checkout })).stdout).toMatch(/^office: /);
    const namespaces = [...kept.output.matchAll(/ip netns exec (\S+)/g)].map(([, name]) => name!);
    expect(namespaces.filter((name) => !existsSync(`/run/netns/${name}`))).toEqual([]);

    const remove = /^ +(sh \S+janitor\.sh .*)$/m.exec(kept.output)![1]!;
    await execa('sh', ['-c', remove]);
    expect(namespaces.filter((name) => existsSync(`/run/netns/${name}`))).toEqual([]);
    expect(kept.folders()).toEqual([]);
    expect(kept.processes()).toEqual([]);
  });
});

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
