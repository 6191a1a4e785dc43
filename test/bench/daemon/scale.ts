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

/** So many tunnels with so many prefixes each, which come from files. */
export async function measureScale(tunnels: number, prefixes: number): Promise<ScaleFigures> {
  const lab = await Lab.open();
  try {
    const [config, socket] = [join(lab.folder, 'scale.yaml'), join(lab.folder, 'control.sock')];
    const openvpn = { config: lab.server.writeClientConfig('scale') };
    const entries = Array.from({ length: tunnels }, (_, i) => {
      const file = join(lab.folder, `prefixes-${i}`);
      writeFileSync(file, Array.from({ length: prefixes }, (_, j) => `${prefix(i * prefixes + j)}\n`).join(''));
      return [`t${i}`, { openvpn, protect: [{ file }], idle: 'never' }] as const;
    });
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

/** Every other /24 from 20.0.0.0 on: no two of them make a larger one. */
function prefix(index: number): string {
  const net = (20 << 16) + 2 * index;
  return `${net >>> 16}.${(net >>> 8) & 255}.${net & 255}.0/24`;
}
