import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Netns } from '../lab/netns.js';
import { Program } from '../lab/program.js';
import { until } from '../lab/wait.js';

/** A real systemd in namespaces of its own, over a copy of this machine's root file system in memory. */
export class SystemdHost {
  readonly #program: Program;
  readonly #pid: number;

  private constructor(program: Program, pid: number) {
    this.#program = program;
    this.#pid = pid;
  }

  /** Boots in a network namespace, after the shell commands of `prepare` (`$1` is the new root); resolves when systemd answers. */
  static async boot(netns: Netns, folder: string, prepare: readonly string[]): Promise<SystemdHost> {
    const script = join(folder, 'prepare.sh');
    writeFileSync(script, ['#!/bin/sh', 'set -e', ...prepare, ''].join('\n'), { mode: 0o700 });
    const args = ['--pid', '--mount', '--cgroup', '--uts', '--ipc', '--fork', 'bash', join(import.meta.dirname, 'programs', 'systemd-boot.sh'), script];
    const program = Program.start('unshare', args, { netns, folder, label: 'systemd' });
    const children = `/proc/${program.pid}/task/${program.pid}/children`;
    const pid = await until('systemd runs', () => {
      if (!program.running) throw new Error(`systemd did not start: ${program.stderr}`);
      const child = Number(readFileSync(children, 'utf8').trim());
      return child > 0 && readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'systemd' && child;
    });
    const host = new SystemdHost(program, pid);
    await until('systemd answers', async () => ['running', 'degraded'].includes((await host.run('systemctl', 'is-system-running')).stdout), { timeoutMs: 20_000, everyMs: 200 });
    return host;
  }

  /** Runs a program inside; a failing one resolves, too. */
  run(program: string, ...args: readonly string[]) {
    return execa('nsenter', ['--target', String(this.#pid), '--pid', '--mount', '--net', '--root', '--wdns=/', program, ...args], { reject: false, stdin: 'ignore' });
  }

  /** Properties of the unit, as `systemctl show` tells them. */
  async show(unit: string, ...properties: readonly string[]): Promise<Readonly<Record<string, string>>> {
    const { stdout } = await this.run('systemctl', 'show', unit, `--property=${properties.join(',')}`);
    return Object.fromEntries(stdout.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  }

  /** Ends everything inside at once. */
  async close(): Promise<void> {
    process.kill(this.#pid, 'SIGKILL');
    await this.#program.exited;
  }
}
