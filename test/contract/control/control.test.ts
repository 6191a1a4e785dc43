import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { linkSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Handlers, Status } from '../../../src/control/api.js';
import { isServed, request, requestStatus } from '../../../src/control/client.js';
import { ControlServer } from '../../../src/control/server.js';
import { DaemonError } from '../../../src/core/errors.js';

const status: Status = { version: '1', tunnels: [] };
const asked: string[] = [];
const handlers: Handlers = {
  status: () => Promise.resolve(status),
  up: (tunnel) => Promise.resolve(void asked.push(tunnel)),
  pause: () => Promise.resolve(),
  question: () => Promise.resolve(undefined),
  answer: () => Promise.resolve(),
  resume: () => Promise.resolve(),
  ready: (tunnel) => Promise.resolve(void asked.push(`ready ${tunnel}`)),
  reload: () => Promise.resolve({ version: '1', started: [], ended: [], unchanged: [] }),
  why: () => Promise.resolve({ version: '1', name: 'a', state: 'idle', since: '', wakes: [] }),
  down: (tunnel) => Promise.reject(new DaemonError('TUNNEL_UNKNOWN', `there is no tunnel "${tunnel}"`, { hint: 'there are: a', place: 'here' })),
};

let folder: string;
let path: string;
let server: ControlServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ood-control-'));
  path = join(folder, 'run', 'control.sock');
  server = await ControlServer.listen(path);
  server.serve(handlers);
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** What comes back for bytes that our own client would never send. */
function raw(text: string): Promise<string> {
  return new Promise((resolve) => {
    let got = '';
    const socket = connect(path, () => socket.write(text));
    socket.on('data', (data) => {
      got += data.toString();
      socket.end();
    });
    socket.on('error', () => undefined); // hung up on while it still wrote
    socket.on('close', () => { resolve(got); });
  });
}

describe('the control socket', () => {
  it('answers nobody before it serves', async () => {
    const early = join(folder, 'early.sock');
    const starting = await ControlServer.listen(early);
    const told: string[] = [];
    const asking = requestStatus(early).then(() => told.push('answered'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    told.push('serves');
    starting.serve(handlers);
    await asking;
    expect(told).toEqual(['serves', 'answered']);
    await starting.close();
  });

  it('may be used by its owner only', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('answers requests, and brings the daemon\'s errors over whole', async () => {
    expect(await requestStatus(path)).toEqual(status);
    expect(await request(path, { command: 'up', tunnel: 'office' })).toBeNull();
    expect(await request(path, { command: 'ready', tunnel: 'lan2' })).toBeNull();
    expect(asked).toEqual(['office', 'ready lan2']);
    await expect(request(path, { command: 'down', tunnel: 'b' })).rejects.toMatchObject({ code: 'TUNNEL_UNKNOWN', message: 'there is no tunnel "b"', hint: 'there are: a', place: 'here' });
  });

  it.each(['nonsense\n', '[]\n', '{"command":"up"}\n', '{"command":"fly"}\n', '{"command":"up","tunnel":7}\n'])('refuses %j with a code', async (line) => {
    expect(JSON.parse(await raw(line))).toMatchObject({ ok: false, error: { code: 'USAGE' } });
  });

  it('hangs up on a line without end, and goes on serving', async () => {
    expect(await raw('x'.repeat(100_000))).toBe('');
    expect(await isServed(path)).toBe(true);
  });

  it('is not taken from a daemon that answers', async () => {
    await expect(ControlServer.listen(path)).rejects.toMatchObject({ code: 'ADDRESS_IN_USE', place: path });
    expect(await isServed(path)).toBe(true);
  });

  it('replaces a socket file that nobody answers on', async () => {
    linkSync(path, join(folder, 'left.sock')); // what a `kill -9` leaves
    await server.close();
    renameSync(join(folder, 'left.sock'), path);
    server = await ControlServer.listen(path);
    server.serve(handlers);
    expect(await isServed(path)).toBe(true);
  });

  it('leaves a file alone that is no socket', async () => {
    const file = join(folder, 'precious');
    writeFileSync(file, 'text');
    await expect(ControlServer.listen(file)).rejects.toMatchObject({ code: 'CONTROL_REFUSED', place: file });
    expect(readFileSync(file, 'utf8')).toBe('text');
  });

  it('closes though a client does not hang up', async () => {
    const client = connect({ path, allowHalfOpen: true });
    await once(client, 'connect');
    await requestStatus(path); // the server has seen the one before, too
    await server.close();
    client.destroy();
  });

  it('says so where no daemon is', async () => {
    await expect(requestStatus(join(folder, 'nobody.sock'))).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE' });
  });

  it('says so where the socket can\'t be made', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(ControlServer.listen(join(folder, 'file', 'control.sock'))).rejects.toMatchObject({ code: 'CONTROL_REFUSED' });
  });
});
