import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { filter, firstValueFrom } from 'rxjs';
import { DaemonError } from '../../../src/core/errors.js';
import { ManagementClient, type ClientOptions, type ManagementAddress, type ManagementEvent } from '../../../src/management/index.js';
import { Netns } from '../../lab/netns.js';
import { Pki } from '../../lab/pki.js';

export type Cleanup = () => Promise<unknown>;

const start = (program: string, args: readonly string[]) => execa(program, [...args], { reject: false, stdin: 'ignore' });
export type OpenVpnProcess = ReturnType<typeof start>;

/** What a test made, undone in reverse order: `afterEach(scope.undo)`. */
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

  /** An OpenVPN that needs no network: it only has a management interface. */
  openvpn(args: readonly string[]): OpenVpnProcess {
    return this.run('openvpn', ['--dev', 'null', '--verb', '3', ...args]);
  }

  run(program: string, args: readonly string[]): OpenVpnProcess {
    const child = start(program, args);
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

/** Resolves with the first event that fits; what comes after it is kept for the next call. */
export function event<T extends ManagementEvent>(client: ManagementClient, fits: (event: ManagementEvent) => event is T): Promise<T>;
export function event(client: ManagementClient, fits: (event: ManagementEvent) => boolean): Promise<ManagementEvent>;
export function event(client: ManagementClient, fits: (event: ManagementEvent) => boolean): Promise<ManagementEvent> {
  return firstValueFrom(client.events$.pipe(filter(fits)));
}

export const isState =
  (name: string) =>
  (candidate: ManagementEvent): boolean =>
    candidate.type === 'state' && candidate.name === name;

/** An OpenVPN server and its clients on the loopback device of a namespace of their own. */
export class Pair {
  readonly folder: string;
  readonly #scope: Scope;
  readonly #netns: Netns;

  private constructor(folder: string, scope: Scope, netns: Netns) {
    this.folder = folder;
    this.#scope = scope;
    this.#netns = netns;
  }

  /** @param scope where it is undone */
  static async create(scope: Scope): Promise<Pair> {
    const folder = await scope.folder();
    const netns = await Netns.create('management');
    scope.add(() => netns.dispose());
    const pki = await Pki.create(folder);
    for (const [name, { ca, certificate, key }] of [['server', await pki.server('server')], ['client', await pki.client('client')]] as const) {
      await writeFile(join(folder, `${name}.inline`), `<ca>\n${ca}</ca>\n<cert>\n${certificate}</cert>\n<key>\n${key}</key>\n`);
    }
    return new Pair(folder, scope, netns);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** An OpenVPN in the namespace; `scope` is where it is ended. */
  openvpn(scope: Scope, args: readonly string[]): OpenVpnProcess {
    return scope.run('ip', ['netns', 'exec', this.#netns.name, 'openvpn', ...args]);
  }

  server(scope: Scope, port: number, args: readonly string[] = []): OpenVpnProcess {
    return this.openvpn(scope, [
      '--config', this.path('server.inline'), '--dev', `server${port}`, '--dev-type', 'tun', '--topology', 'subnet', '--server', `10.${port % 250}.0.0`, '255.255.255.0',
      '--dh', 'none', '--proto', 'udp', '--port', String(port), '--local', '127.0.0.1', '--keepalive', '10', '60', '--verb', '3', ...args,
    ]);
  }

  /** A client that holds, its management socket at `path`. */
  client(scope: Scope, port: number, path: string, args: readonly string[] = []): OpenVpnProcess {
    return this.openvpn(scope, [
      '--config', this.path('client.inline'), '--client', '--dev', `client${port}`, '--dev-type', 'tun', '--remote', '127.0.0.1', String(port), 'udp', '--nobind',
      '--remote-cert-tls', 'server', '--tls-timeout', '1', '--verb', '3', '--management', path, 'unix', '--management-hold', ...args,
    ]);
  }

  /** `ip ARGS` in the namespace. */
  async ip(args: string): Promise<string> {
    return this.#netns.ip(args);
  }

  async undo(): Promise<void> {
    await this.#scope.undo();
  }
}
