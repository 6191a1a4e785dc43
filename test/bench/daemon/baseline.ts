import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Lab } from '../../lab/lab.js';
import { compiled } from '../../lab/compiled.js';
import { tunnelName } from '../../lab/daemon.js';

/** The device of the tunnel, whoever makes it. */
export const device = `ovpn-${tunnelName}`;

const CONNECTED = 'Initialization Sequence Completed';

/** OpenVPN as one runs it without this project: up from its start to its end. */
export class PlainOpenvpn {
  readonly #child: ChildProcess;
  /** From the start of the process until it was connected. */
  readonly dialMs: number;

  private constructor(child: ChildProcess, dialMs: number) {
    this.#child = child;
    this.dialMs = dialMs;
  }

  static async start(lab: Lab): Promise<PlainOpenvpn> {
    const start = await openvpnIn(lab);
    const begin = performance.now();
    const child = start();
    await said(child, CONNECTED);
    return new PlainOpenvpn(child, performance.now() - begin);
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    this.#child.kill('SIGINT'); // the second signal: don't linger
    await exited;
  }
}

/** From `hold release` until it was connected, of an OpenVPN that waited in hold. */
export async function warmDialMs(lab: Lab): Promise<number> {
  const socket = `${lab.folder}/plain.sock`;
  const child = (await openvpnIn(lab))('--management', socket, 'unix', '--management-hold');
  await said(child, 'Need hold release');
  const { ManagementClient } = await import('../../../src/management/index.js');
  const client = await ManagementClient.connect({ path: socket });
  const begin = performance.now();
  const connected = said(child, CONNECTED);
  await client.command('hold release');
  await connected;
  const dialMs = performance.now() - begin;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  child.kill('SIGINT');
  await exited;
  await client.close().catch(() => undefined);
  return dialMs;
}

/** Starts it in the router's namespace: by a program that takes next to no time, and in a session of its own, as the daemon's is: the kernel shares processors out among sessions first. */
async function openvpnIn(lab: Lab): Promise<(...more: readonly string[]) => ChildProcess> {
  const enter = await compiled('enter');
  const args = [lab.topology.router.name, 'openvpn', '--config', lab.server.writeClientConfig('plain'), '--dev', device, '--dev-type', 'tun', '--explicit-exit-notify', '1'];
  return (...more) => spawn(enter, [...args, ...more], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
}

function said(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout?.on('data', (data: Buffer) => {
      output += data.toString();
      if (output.includes(text)) resolve();
    });
    child.once('exit', () => { reject(new Error(`openvpn did not say "${text}":\n${output}`)); });
  });
}
