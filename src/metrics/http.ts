import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { DaemonError, messageOf } from '../core/errors.js';
import type { Metrics } from './registry.js';

/** Where the metrics are asked for: a loopback address, or a unix socket. */
export type MetricsAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

/** Node looks through its connections every 30 s, also when there is none. Not here: an idle daemon has no timer. */
const NEVER_MS = 2 ** 31 - 1;
/** A client that says nothing for so long is hung up on. */
const QUIET_CLIENT_MS = 10_000;

/** Answers `/metrics` and `/healthz`, and does nothing in between. */
export class MetricsServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Rejects with ADDRESS_IN_USE or CONTROL_REFUSED. */
  static async listen(address: MetricsAddress, metrics: Metrics): Promise<MetricsServer> {
    const server = createServer({ connectionsCheckingInterval: NEVER_MS, keepAliveTimeout: QUIET_CLIENT_MS }, (request, response) => {
      void answer(request, response, metrics);
    });
    server.setTimeout(QUIET_CLIENT_MS);
    const place = 'socket' in address ? address.socket : `${address.host}:${address.port}`;
    try {
      if ('socket' in address) await makeRoom(address.socket);
      await listen(server, address);
      if ('socket' in address) await chmod(address.socket, 0o660);
    } catch (cause) {
      const inUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
      throw new DaemonError(inUse ? 'ADDRESS_IN_USE' : 'CONTROL_REFUSED', `the metrics can't be served: ${messageOf(cause)}`, { cause, place, hint: 'name another address with `metrics`' });
    }
    return new MetricsServer(server);
  }

  /** The port, where one was left to the kernel to choose (0). */
  get port(): number | undefined {
    const address = this.#server.address();
    return address === null || typeof address === 'string' ? undefined : address.port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => { this.#server.close(() => { resolve(); }); });
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, metrics: Metrics): Promise<void> {
  const path = request.url?.split('?', 1)[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
  } else if (path === '/metrics') {
    response.writeHead(200, { 'content-type': metrics.contentType }).end(await metrics.text());
  } else if (path === '/healthz') {
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end('ok\n');
  } else {
    response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('/metrics or /healthz\n');
  }
}

function listen(server: Server, address: MetricsAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const listening = (): void => {
      server.off('error', reject);
      resolve();
    };
    if ('socket' in address) server.listen(address.socket, listening);
    else server.listen(address.port, address.host, listening);
  });
}

/** A socket file that nobody answers on was left by a daemon that was killed; any other file is somebody's. */
async function makeRoom(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  if ((await lstat(path).catch(() => undefined))?.isSocket() !== true) return;
  const deserted = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) => { resolve(code === 'ECONNREFUSED'); });
  });
  if (deserted) await unlink(path);
}
