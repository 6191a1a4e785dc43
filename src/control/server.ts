import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream';
import split2 from 'split2';
import { DaemonError, messageOf } from '../core/errors.js';
import type { Handlers, Reply } from './api.js';

const MAX_LINE_BYTES = 4096;

/** The unix socket that the command line speaks to: one JSON object a line, one back. Only its owner may connect. */
export class ControlServer {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  #serve: (handlers: Handlers) => void = () => undefined;

  private constructor(server: Server) {
    this.#server = server;
    // Who asks before the trap is set waits: an answer could only be wrong.
    const ready = new Promise<Handlers>((resolve) => { this.#serve = resolve; });
    server.on('connection', (socket) => {
      this.#clients.add(socket);
      socket.on('close', () => this.#clients.delete(socket));
      serve(socket, ready);
    });
  }

  /** Takes the socket; requests wait for `serve`. Rejects with ADDRESS_IN_USE if a daemon is there, CONTROL_REFUSED if the socket can't be made. */
  static async listen(path: string): Promise<ControlServer> {
    await clearStale(path);
    const server = createServer();
    try {
      await mkdir(dirname(path), { recursive: true });
      await listen(server, path);
      await chmod(path, 0o600);
    } catch (cause) {
      throw new DaemonError('CONTROL_REFUSED', `the control socket can't be made: ${messageOf(cause)}`, { cause, place: path, hint: 'name another with `control.socket`' });
    }
    return new ControlServer(server);
  }

  /** Requests are answered from now on; until then they wait. */
  serve(handlers: Handlers): void {
    this.#serve(handlers);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => { this.#server.close(() => { resolve(); }); });
    // Not `end`: a client that has stopped reading would hold us back.
    for (const client of this.#clients) client.destroySoon();
    await closed;
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Nobody else may connect, not even before the chmod.
    const mask = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    process.umask(mask);
  });
}

/** A socket file that nobody answers on was left by a daemon that was killed; any other file is somebody's. */
async function clearStale(path: string): Promise<void> {
  if ((await lstat(path).catch(() => undefined))?.isSocket() !== true) return;
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => { resolve(false); });
  });
  if (answered) throw new DaemonError('ADDRESS_IN_USE', 'another daemon answers on the control socket', { place: path, hint: 'stop it, or name another with `control.socket`' });
  await unlink(path).catch(() => undefined);
}

function serve(socket: Socket, ready: Promise<Handlers>): void {
  const lines = split2({ maxLength: MAX_LINE_BYTES });
  lines.on('data', (line: string) => {
    void ready.then((handlers) => answer(line, handlers)).then((reply) => {
      if (socket.writable) socket.write(`${JSON.stringify(reply)}\n`);
    });
  });
  // A line without end, or a client that went away: this client's own business.
  pipeline(socket, lines, () => { socket.destroy(); });
}

async function answer(line: string, handlers: Handlers): Promise<Reply> {
  try {
    return { ok: true, data: (await perform(line, handlers)) ?? null };
  } catch (error) {
    if (!(error instanceof DaemonError)) return { ok: false, error: { code: 'CONTROL_REFUSED', message: messageOf(error) } };
    const { code, message, hint, place } = error;
    return { ok: false, error: { code, message, ...(hint === undefined ? {} : { hint }), ...(place === undefined ? {} : { place }) } };
  }
}

function perform(line: string, handlers: Handlers): Promise<unknown> {
  const request = parse(line);
  if (request['command'] === 'status' || request['command'] === 'reload') return handlers[request['command']]();
  const tunnel = request['tunnel'];
  switch (request['command']) {
    case 'up':
    case 'down':
    case 'resume':
    case 'ready':
    case 'why':
    case 'question':
      return handlers[request['command']](textOf(tunnel));
    case 'pause':
      return handlers.pause({ tunnel: textOf(tunnel), ...durationOf(request['forMs']), bypass: request['bypass'] === true, persist: request['persist'] === true });
    case 'answer':
      return handlers.answer({ tunnel: textOf(tunnel), ...textsOf(request, ['username', 'secret']), ...(typeof request['ok'] === 'boolean' ? { ok: request['ok'] } : {}) });
    default:
      throw new DaemonError('USAGE', 'the daemon does not know this request', { hint: 'are the command line and the daemon of one version?' });
  }
}

function textOf(tunnel: unknown): string {
  if (typeof tunnel !== 'string') throw new DaemonError('USAGE', 'the request names no tunnel');
  return tunnel;
}

function textsOf<Key extends string>(request: Record<string, unknown>, keys: readonly Key[]): Partial<Record<Key, string>> {
  return Object.fromEntries(keys.filter((key) => typeof request[key] === 'string').map((key) => [key, request[key]])) as Partial<Record<Key, string>>;
}

function durationOf(forMs: unknown): { forMs?: number } {
  if (forMs === undefined) return {};
  if (typeof forMs !== 'number' || !(forMs > 0)) throw new DaemonError('USAGE', 'the request pauses for no time');
  return { forMs };
}

function parse(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // told below
  }
  throw new DaemonError('USAGE', 'the request is not a JSON object on one line');
}
