import { afterEach, describe, expect, it } from '@jest/globals';
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { execa } from 'execa';
import { processOf } from '../../../src/host/process-of.js';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => { for (const cleanUp of cleanUps.splice(0)) await cleanUp(); });

const uid = process.getuid!();
/** More time than a packet's is, for busy machines. */
const budget = { sliceMs: 2, totalMs: 10_000, descriptors: 20_000 };

/** A program of another name that sends a datagram from a socket that it keeps. */
async function sender(socket: 'connected' | 'unconnected', family: 4 | 6): Promise<{ pid: number; sourcePort: number }> {
  const python = `
import socket, sys
s = socket.socket(socket.AF_INET${family === 6 ? '6' : ''}, socket.SOCK_DGRAM)
to = ("${family === 6 ? '::1' : '127.0.0.1'}", 9)
s.${socket === 'connected' ? 'connect(to); s.send(b"x")' : 'sendto(b"x", to)'}
print(s.getsockname()[1], flush=True)
sys.stdin.read()`;
  const child = execa('python3', ['-c', python], { reject: false });
  cleanUps.push(() => {
    child.kill();
    return child;
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { pid: child.pid!, sourcePort: Number(line.toString()) };
}

describe('the process of a packet', () => {
  it('TCP, to a port that answers, and while it is still connecting', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    cleanUps.push(() => { server.close(); });
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    cleanUps.push(() => { socket.destroy(); });
    await once(socket, 'connect');
    const query = { protocol: 'tcp', source: '127.0.0.1', sourcePort: socket.localPort, destination: '127.0.0.1', destinationPort: socket.remotePort, uid };
    expect(await processOf(query, budget)).toEqual({ pid: process.pid, program: expect.stringContaining('node') });
    expect(await processOf({ ...query, uid: uid + 1 }, budget)).toBeUndefined();
    expect(await processOf({ ...query, sourcePort: 1 }, budget)).toBeUndefined();
  });

  it.each([['connected', 4], ['unconnected', 4], ['connected', 6], ['unconnected', 6]] as const)('UDP, %s, IPv%d, of another program', async (kind, family) => {
    const address = family === 6 ? '::1' : '127.0.0.1';
    const { pid, sourcePort } = await sender(kind, family);
    expect(await processOf({ protocol: 'udp', source: address, sourcePort, destination: address, destinationPort: 9, uid }, budget)).toEqual({ pid, program: expect.stringMatching(/^python3/) });
  });

  it('an IPv4 packet of a socket of both families', async () => {
    const socket = createSocket('udp6').bind(0);
    cleanUps.push(() => { socket.close(); });
    await once(socket, 'listening');
    expect(await processOf({ protocol: 'udp', source: '127.0.0.1', sourcePort: socket.address().port, destination: '127.0.0.1', destinationPort: 9, uid }, budget)).toMatchObject({ pid: process.pid });
  });

  it('gives up when its budget is spent, and where there is nothing to know', async () => {
    const { sourcePort } = await sender('connected', 4);
    const query = { protocol: 'udp', source: '127.0.0.1', sourcePort, destination: '127.0.0.1', destinationPort: 9, uid };
    expect(await processOf(query, { sliceMs: 2, totalMs: 0, descriptors: 20_000 })).toBeUndefined();
    expect(await processOf(query, { sliceMs: 2, totalMs: 1000, descriptors: 0 })).toBeUndefined();
    expect(await processOf({ protocol: 'gre', source: '10.0.0.1', destination: '10.0.0.2' })).toBeUndefined();
    expect(await processOf({ protocol: 'udp', source: 'nonsense', destination: '' })).toBeUndefined();
  });
});
