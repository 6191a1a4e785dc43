import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { MetricsServer, type MetricsAddress } from '../../../src/metrics/http.js';
import { Metrics, type TunnelReading } from '../../../src/metrics/registry.js';
import { checkout } from '../../lab/paths.js';
import { until } from '../../lab/wait.js';

const readings: readonly TunnelReading[] = ['office', 'site'].map((name) => ({ name, state: 'idle', held: { packets: 0 }, counters: { held: 7, released: 6, dropped: 1, rejected: 0 } }));

let folder: string;
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'ood-metrics-')); });
afterAll(() => { rmSync(folder, { recursive: true }); });

async function serving<T>(address: MetricsAddress, use: (server: MetricsServer) => Promise<T>): Promise<T> {
  const server = await MetricsServer.listen(address, new Metrics('1.2.3', () => readings));
  try {
    return await use(server);
  } finally {
    await server.close();
  }
}

interface Got {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

function get(where: { port: number | undefined } | { socketPath: string }, path: string, method = 'GET'): Promise<Got> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', ...where, path, method }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { body += chunk; });
      response.on('end', () => { resolve({ status: response.statusCode, type: response.headers['content-type'], body }); });
    }).on('error', reject).end();
  });
}

describe('metrics over HTTP', () => {
  it('come in the text format, of all tunnels', async () => {
    const { body, type } = await serving({ host: '127.0.0.1', port: 0 }, ({ port }) => get({ port }, '/metrics'));
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(body).toContain('openvpn_ondemand_packets_held_total{tunnel="office"} 7\nopenvpn_ondemand_packets_held_total{tunnel="site"} 7\n');
  });

  it('answers /healthz, and refuses the rest', async () => {
    await serving({ host: '127.0.0.1', port: 0 }, async ({ port }) => {
      expect(await get({ port }, '/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
      expect(await get({ port }, '/metrics?x=1', 'HEAD')).toMatchObject({ status: 200, body: '' });
      expect((await get({ port }, '/metrics', 'POST')).status).toBe(405);
      expect((await get({ port }, '/')).status).toBe(404);
    });
  });

  it('on a unix socket that its owner and group may use; one that a killed daemon left is replaced', async () => {
    const socket = join(folder, 'run', 'metrics.sock');
    await execa(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(join(folder, 'left.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`], { reject: false });
    for (const path of [socket, join(folder, 'left.sock')]) {
      await serving({ socket: path }, async () => {
        expect(statSync(path).mode & 0o777).toBe(0o660);
        expect((await get({ socketPath: path }, '/healthz')).status).toBe(200);
      });
    }
  });

  it('leaves a file alone that is no socket', async () => {
    const file = join(folder, 'precious');
    writeFileSync(file, 'text');
    await expect(serving({ socket: file }, () => Promise.resolve())).rejects.toMatchObject({ code: 'ADDRESS_IN_USE', place: file });
    expect(readFileSync(file, 'utf8')).toBe('text');
  });

  it('does not take an address that somebody has', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    await expect(serving({ host: '127.0.0.1', port }, () => Promise.resolve())).rejects.toMatchObject({ code: 'ADDRESS_IN_USE', place: `127.0.0.1:${port}` });
    other.close();
  });

  it('wakes up for nothing while nobody asks', async () => {
    const script = `
      import { MetricsServer } from ${JSON.stringify(join(checkout, 'dist', 'metrics', 'http.js'))};
      await MetricsServer.listen({ host: '127.0.0.1', port: 0 }, undefined);
      console.log('serving');`;
    const child = execa(process.execPath, ['--no-memory-reducer', '--input-type=module', '-e', script], { reject: false });
    try {
      await once(child.stdout, 'data');
      // The flag: V8 itself looks once whether memory can be given back, 8 s after its start. A
      // timer shows as the time-out of epoll_pwait(2), its fourth argument; that of Node's own server would be 30 s.
      const sleeps = until('a sleep without a timer', () => {
        const timeout = readFileSync(`/proc/${child.pid ?? 0}/syscall`, 'utf8').split(' ')[4] ?? '0';
        const ms = Number(BigInt.asIntN(32, BigInt(timeout)));
        return ms === -1 || ms > 24 * 3_600_000;
      }, { timeoutMs: 5_000 });
      await expect(sleeps).resolves.toBe(true);
    } finally {
      child.kill('SIGKILL');
      await child;
    }
  });
});
