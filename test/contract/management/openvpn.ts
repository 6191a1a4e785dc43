import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { DaemonError } from '../../../src/core/errors.js';
import { ManagementClient, type ClientOptions, type ManagementAddress } from '../../../src/management/index.js';

export type Cleanup = () => Promise<unknown>;

/** An OpenVPN that needs no network: it only has a management interface. */
const startOpenVpn = (args: readonly string[]) => execa('openvpn', ['--dev', 'null', '--verb', '3', ...args], { reject: false });

/** What a test made, undone in reverse order: `afterEach(undo)`. */
export class Scope {
  readonly #cleanUps: Cleanup[] = [];

  add(cleanUp: Cleanup): void {
    this.#cleanUps.push(cleanUp);
  }

  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'ood-management-'));
    this.add(() => rm(folder, { recursive: true, force: true }));
    return folder;
  }

  openvpn(args: readonly string[]): ReturnType<typeof startOpenVpn> {
    const child = startOpenVpn(args);
    this.add(async () => {
      child.kill('SIGKILL');
      await child;
    });
    return child;
  }

  /** Connects as soon as OpenVPN listens, which it does a few milliseconds after its start. */
  async connect(options: ManagementAddress & ClientOptions): Promise<ManagementClient> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const client = await ManagementClient.connect(options);
        this.add(() => client.close());
        return client;
      } catch (error) {
        if (attempt >= 500 || !(error instanceof DaemonError && error.code === 'MANAGEMENT_UNREACHABLE')) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  readonly undo = async (): Promise<void> => {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
  };
}
