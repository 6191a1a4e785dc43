import { once } from 'node:events';
import { chmod, lstat, unlink } from 'node:fs/promises';
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { DaemonError, messageOf } from '../core/errors.js';
import { ManagementClient, type ClientOptions, type ManagementAddress } from './client.js';
import { systemClock, type Clock } from './clock.js';

export interface AcceptOptions extends ClientOptions {
  /** For OpenVPN to dial; without it, for ever. */
  readonly timeoutMs?: number;
}

interface Waiter {
  take(socket: Socket): void;
  fail(error: DaemonError): void;
}

/** The listening side of `--management … --management-client`: OpenVPN dials us, and ends when we hang up. */
export class ManagementListener {
  /** Where OpenVPN has to dial; the port is the real one where 0 was asked for. */
  readonly address: ManagementAddress;
  readonly #server: Server;
  readonly #waiting: Socket[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #clock: Clock;
  #closed = false;

  private constructor(server: Server, address: ManagementAddress, clock: Clock) {
    this.#server = server;
    this.address = address;
    this.#clock = clock;
    server.on('connection', (socket) => {
      this.#arrived(socket);
    });
  }

  /**
   * Listens on a unix socket that only our own user can open (mode 0600), or on a TCP port. A socket file on which
   * nobody listens any more is replaced.
   * @throws DaemonError ADDRESS_IN_USE, NOT_PERMITTED, MANAGEMENT_UNREACHABLE
   */
  static async listen(options: ManagementAddress & { readonly clock?: Clock }): Promise<ManagementListener> {
    const server = createServer({ pauseOnConnect: true, noDelay: true });
    try {
      if ('path' in options) {
        await bindPath(server, options.path);
        return new ManagementListener(server, { path: options.path }, options.clock ?? systemClock);
      }
      server.listen(options.port, options.host);
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      return new ManagementListener(server, { host: options.host, port }, options.clock ?? systemClock);
    } catch (error) {
      throw listenError(error, 'path' in options ? options.path : `${options.host}:${options.port}`);
    }
  }

  /**
   * The client of the connection that OpenVPN makes, or has made already, once it has greeted.
   * @throws DaemonError MANAGEMENT_TIMEOUT, MANAGEMENT_CLOSED (given up, or the listener was closed), MANAGEMENT_PASSWORD
   */
  async accept({ timeoutMs, signal, ...options }: AcceptOptions = {}): Promise<ManagementClient> {
    const socket = await this.#next(timeoutMs, signal);
    return ManagementClient.greet(socket, { clock: this.#clock, ...options, ...(signal === undefined ? {} : { signal }) }, this.#place);
  }

  /** Stops listening and removes the socket file; connections that were accepted live on. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.fail(new DaemonError('MANAGEMENT_CLOSED', 'the listener was closed', { place: this.#place }));
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    // Its callback waits for the connections too, its handle (and the file) goes at once.
    this.#server.close();
    if ('path' in this.address) await unlink(this.address.path).catch(() => undefined);
  }

  get #place(): string {
    return 'path' in this.address ? this.address.path : `${this.address.host}:${this.address.port}`;
  }

  #arrived(socket: Socket): void {
    const waiter = this.#waiters.shift();
    if (waiter) {
      waiter.take(socket);
      return;
    }
    this.#waiting.push(socket);
    const forget = (): void => {
      const index = this.#waiting.indexOf(socket);
      if (index >= 0) this.#waiting.splice(index, 1);
    };
    socket.once('close', forget);
    // Who accepts it will see the end of it by itself.
    socket.on('error', () => undefined);
  }

  #next(timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<Socket> {
    const arrived = this.#waiting.shift();
    if (arrived) return Promise.resolve(arrived);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        cancel?.();
        signal?.removeEventListener('abort', onAbort);
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
      };
      const waiter: Waiter = {
        take: (socket) => {
          leave();
          resolve(socket);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = (): void => {
        waiter.fail(new DaemonError('MANAGEMENT_CLOSED', 'the wait for OpenVPN was given up', { place: this.#place }));
      };
      const cancel =
        timeoutMs === undefined
          ? undefined
          : this.#clock.after(timeoutMs, () => {
              waiter.fail(new DaemonError('MANAGEMENT_TIMEOUT', `OpenVPN did not dial within ${timeoutMs} ms`, { place: this.#place }));
            });
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (this.#closed) waiter.fail(new DaemonError('MANAGEMENT_CLOSED', 'the listener is closed', { place: this.#place }));
      else if (signal?.aborted) onAbort();
    });
  }
}

async function bindPath(server: Server, path: string): Promise<void> {
  try {
    await bindPrivately(server, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !(await isDeserted(path))) throw error;
    await unlink(path);
    await bindPrivately(server, path);
  }
}

/** The socket file is made inside of listen(): with this mask nobody else can open it in between. */
async function bindPrivately(server: Server, path: string): Promise<void> {
  const mask = isMainThread ? process.umask(0o177) : undefined;
  try {
    server.listen(path);
  } finally {
    if (mask !== undefined) process.umask(mask);
  }
  await once(server, 'listening');
  if (mask === undefined) await chmod(path, 0o600);
}

/** A socket file that nobody listens on: what a killed program left. */
async function isDeserted(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false;
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED');
    });
  });
}

function listenError(error: unknown, place: string): DaemonError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return new DaemonError('ADDRESS_IN_USE', 'somebody listens there already', { cause: error, place });
  if (code === 'EACCES' || code === 'EPERM') return new DaemonError('NOT_PERMITTED', 'not permitted to listen there', { cause: error, place });
  return new DaemonError('MANAGEMENT_UNREACHABLE', `cannot listen there: ${messageOf(error)}`, { cause: error, place });
}
