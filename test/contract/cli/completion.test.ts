import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import type { Handlers, Status } from '../../../src/control/api.js';
import { ControlServer } from '../../../src/control/server.js';
import { commandLine } from '../../lab/daemon.js';

const [node, script] = commandLine;
const status = { version: '1', tunnels: [{ name: 'office' }, { name: 'site-2' }] } as unknown as Status;

let folder: string;
let server: ControlServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ood-completion-'));
  const socket = join(folder, 'control.sock');
  server = await ControlServer.listen(socket);
  server.serve({ status: () => Promise.resolve(status) } as unknown as Handlers);
  // The program as the shell finds it, at the daemon of this test.
  const program = join(folder, 'openvpn-ondemand');
  writeFileSync(program, `#!/bin/sh\n[ "$1" = status ] && exec ${node} ${script} "$@" --socket ${socket}\nexec ${node} ${script} "$@"\n`);
  chmodSync(program, 0o755);
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** What bash offers when Tab is pressed at the end of these words. */
async function offers(...words: readonly string[]): Promise<string[]> {
  const text = `source <(openvpn-ondemand completion bash); COMP_WORDS=(openvpn-ondemand "$@"); COMP_CWORD=$#; _openvpn_ondemand; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await execa('bash', ['-c', text, 'bash', ...words], { env: { PATH: `${folder}:${process.env['PATH'] ?? ''}` } });
  return stdout.split('\n').filter(Boolean);
}

describe('completion of bash', () => {
  it('offers the verbs', async () => {
    expect(await offers('do')).toEqual(['down', 'doctor']);
    expect(await offers('')).toEqual(expect.arrayContaining(['run', 'check', 'status', 'up', 'pause', 'why', 'completion']));
  });

  it('offers the options of a verb', async () => {
    expect(await offers('status', '--')).toEqual(['--socket', '--json', '--watch', '--help']);
  });

  it('offers the tunnels of the running daemon', async () => {
    expect(await offers('up', '')).toEqual(expect.arrayContaining(['office', 'site-2']));
    expect(await offers('why', 'si')).toEqual(['site-2']);
  });

  it('offers the words of an argument', async () => {
    expect(await offers('completion', '')).toEqual(['bash', 'zsh', 'fish', '--help']);
  });
});
