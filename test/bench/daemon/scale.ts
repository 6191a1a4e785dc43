import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { Daemon } from '../../lab/daemon.js';
import { Lab } from '../../lab/lab.js';
import { request } from '../../../src/control/client.js';
import { residentBytes } from '../nfqueue/machine.js';

export interface ScaleFigures {
  /** From the start of the process until the trap is set. */
  readonly startMs: number;
  /** `up` of one of them, as its user waits for it. */
  readonly upMs: number;
  readonly residentMb: number;
}

/** So many tunnels with eight prefixes each. */
export async function measureScale(tunnels: number): Promise<ScaleFigures> {
  const lab = await Lab.open();
  try {
    const [config, socket] = [join(lab.folder, 'scale.yaml'), join(lab.folder, 'control.sock')];
    const openvpn = { config: lab.server.writeClientConfig('scale') };
    const prefixes = (i: number): string[] => Array.from({ length: 8 }, (_, j) => `10.${100 + Math.floor(i / 32)}.${(i % 32) * 8 + j}.0/24`);
    const entries = Array.from({ length: tunnels }, (_, i) => [`t${i}`, { openvpn, protect: prefixes(i), idle: 'never' }] as const);
    writeFileSync(config, stringify({ control: { socket }, stateFile: join(lab.folder, 'state.json'), tunnels: Object.fromEntries(entries) }, { aliasDuplicateObjects: false }));
    const begin = performance.now();
    const daemon = Daemon.launchWith(lab, config, socket);
    await daemon.program.says('daemon.started', { timeoutMs: 60_000, everyMs: 2 });
    const startMs = performance.now() - begin;
    const asked = performance.now();
    await request(socket, { command: 'up', tunnel: `t${tunnels - 1}` });
    const upMs = performance.now() - asked;
    const residentMb = (await residentBytes(daemon.pid)) / 1e6;
    await daemon.program.stop('SIGTERM', 60_000);
    return { startMs, upMs, residentMb };
  } finally {
    await lab.close();
  }
}
