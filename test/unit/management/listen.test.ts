import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execaNode } from 'execa';
import { firstValueFrom } from 'rxjs';
import { ManagementListener } from '../../../src/management/index.js';
import { GREETING } from './fake-openvpn.js';

let folder: string;
let path: string;
const sockets: Socket[] = [];
const listeners: ManagementListener[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ood-listen-'));
  path = join(folder, 'management.sock');
});

afterEach(async () => {
  for (const listener of listeners.splice(0)) await listener.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  await rm(folder, { recursive: true, force: true });
});

async function listen(): Promise<ManagementListener> {
  const listener = await ManagementListener.listen({ path });
  listeners.push(listener);
  return listener;
}

function dial(greeting = GREETING): Socket {
  const socket = createConnection(path);
  socket.on('error', () => undefined);
  socket.write(greeting);
  sockets.push(socket);
  return socket;
}

describe('ManagementListener', () => {
  it('makes a socket that only its own user can open', async () => {
    await listen();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('accepts who dialled before and who dials after', async () => {
    const listener = await listen();
    dial('>INFO:first\r\n');
    const first = await listener.accept();
    const waiting = listener.accept({ timeoutMs: 5000 });
    dial('>INFO:second\r\n');
    const second = await waiting;
    expect(await firstValueFrom(first.events$)).toEqual({ type: 'info', text: 'first' });
    expect(await firstValueFrom(second.events$)).toEqual({ type: 'info', text: 'second' });
    await Promise.all([first.close(), second.close()]);
  });

  it('sends what is said early before there is a greeting', async () => {
    const listener = await listen();
    const socket = dial('');
    const received = once(socket, 'data');
    const accepted = listener.accept({ early: (client) => { client.stateOn().catch(() => undefined); } });
    expect(String((await received)[0])).toBe('state on\n');
    socket.write(`SUCCESS: real-time state notification set to ON\r\n${GREETING}`);
    const client = await accepted;
    expect(await firstValueFrom(client.events$)).toMatchObject({ type: 'info' });
    await client.close();
  });

  it('listens on a TCP port, too', async () => {
    const listener = await ManagementListener.listen({ host: '127.0.0.1', port: 0 });
    listeners.push(listener);
    if (!('port' in listener.address)) throw new Error('no port');
    const socket = createConnection(listener.address.port, '127.0.0.1');
    sockets.push(socket);
    socket.write(GREETING);
    const client = await listener.accept({ timeoutMs: 5000 });
    expect(await firstValueFrom(client.events$)).toMatchObject({ version: 5 });
    await client.close();
  });

  it('waits no longer than it was told to', async () => {
    const listener = await listen();
    await expect(listener.accept({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'MANAGEMENT_TIMEOUT', place: path });
    await expect(listener.accept({ signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ code: 'MANAGEMENT_CLOSED' });
    dial();
    await (await listener.accept({ timeoutMs: 5000 })).close();
  });

  it('does not take a dial without a greeting for OpenVPN', async () => {
    const listener = await listen();
    dial('');
    await expect(listener.accept({ timeoutMs: 5000, connectTimeoutMs: 20 })).rejects.toMatchObject({ code: 'MANAGEMENT_TIMEOUT' });
  });

  it('removes its file, and fails who waits, when it is closed', async () => {
    const listener = await listen();
    const waiting = listener.accept();
    const refused = expect(waiting).rejects.toMatchObject({ code: 'MANAGEMENT_CLOSED' });
    await listener.close();
    await refused;
    await expect(stat(path)).rejects.toThrow('ENOENT');
    await expect(listener.accept()).rejects.toMatchObject({ code: 'MANAGEMENT_CLOSED' });
  });

  it('takes the place of a file that a killed program left', async () => {
    await execaNode({ input: '', reject: false })`-e ${`require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`}`;
    expect((await stat(path)).isSocket()).toBe(true);
    await listen();
    dial();
    await (await listeners[0]!.accept({ timeoutMs: 5000 })).close();
  });

  it('does not take the place of one that is in use, nor of another file', async () => {
    const other = createServer((socket) => socket.destroy()).listen(path);
    await new Promise((resolve) => other.once('listening', resolve));
    await expect(ManagementListener.listen({ path })).rejects.toMatchObject({ code: 'ADDRESS_IN_USE', place: path });
    await new Promise((resolve) => other.close(resolve));
    await writeFile(path, 'precious');
    await expect(ManagementListener.listen({ path })).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' });
    expect((await stat(path)).size).toBe(8);
  });
});
