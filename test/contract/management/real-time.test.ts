import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import type { ManagementClient, ManagementEvent } from '../../../src/management/index.js';
import { until } from '../../lab/wait.js';
import { event, isState, Pair, Scope } from './openvpn.js';

const suite = new Scope();
const scope = new Scope();
let pair: Pair;
let server: ManagementClient;

const PORT = 1330;

beforeAll(async () => {
  pair = await Pair.create(suite);
  const path = pair.path('server.sock');
  void pair.server(suite, PORT, ['--management', path, 'unix', '--push', 'echo save-passwords']);
  server = await suite.connect({ path });
});

afterAll(suite.undo);
afterEach(scope.undo);

async function client(args: readonly string[]): Promise<ManagementClient> {
  const path = pair.path('client.sock');
  void pair.client(scope, PORT, path, args);
  const connected = await scope.connect({ path });
  await connected.stateOn();
  return connected;
}

const isType =
  <T extends ManagementEvent['type']>(type: T) =>
  (candidate: ManagementEvent): candidate is Extract<ManagementEvent, { type: T }> =>
    candidate.type === type;

describe('real-time lines of a real OpenVPN', () => {
  it('BYTECOUNT, BYTECOUNT_CLI, ECHO, LOG, UPDOWN and NOTIFY are what they should be, and none is unknown', async () => {
    const us = await client(['--management-up-down']);
    const seen: ManagementEvent[] = [];
    us.events$.subscribe((each) => seen.push(each));
    await us.logOn();
    await us.echoOn();
    await us.bytecount(1);
    await server.bytecount(1);
    await us.holdRelease();
    // It counts every second, also before the server's first answer.
    await until('bytes came in', () => seen.filter(isType('bytecount')).some(({ bytesIn }) => bytesIn > 0));
    await until('it is connected', () => seen.filter(isType('state')).some(({ name }) => name === 'CONNECTED'));
    const status = await server.status();
    const clientId = Number(status.role === 'server' ? status.clients[0]?.['Client ID'] : undefined);
    expect(await event(server, isType('bytecount-client'))).toMatchObject({ clientId });
    await server.bytecount(0);
    await server.clientKill(clientId, 'HALT');
    await us.ending;
    await us.closed;
    expect(seen.filter(isType('unknown'))).toEqual([]);
    expect(seen).toContainEqual(expect.objectContaining({ type: 'echo', text: 'save-passwords' }));
    expect(seen).toContainEqual({ type: 'updown', kind: 'up' });
    expect(seen).toContainEqual({ type: 'updown', kind: 'env', name: 'dev', value: `client${PORT}` });
    expect(seen).toContainEqual({ type: 'updown', kind: 'env-end' });
    expect(seen).toContainEqual({ type: 'notify', severity: 'info', kind: 'server-pushed-halt', text: '' });
    expect(seen.filter(isType('log')).length).toBeGreaterThan(10);
    expect(await us.ending).toMatchObject({ by: 'exiting', reason: 'server-pushed-halt' });
  });

  it('REMOTE is answered', async () => {
    const us = await client(['--management-query-remote']);
    await us.holdRelease();
    expect(await event(us, isType('remote'))).toEqual({ type: 'remote', host: '127.0.0.1', port: String(PORT), protocol: 'udp' });
    expect(us.question).toMatchObject({ type: 'remote' });
    await us.remote({ action: 'MOD', host: '127.0.0.1', port: PORT });
    expect(us.question).toBeUndefined();
    await event(us, isState('CONNECTED'));
  });

  it('PROXY is answered', async () => {
    const us = await client(['--management-query-proxy']);
    await us.holdRelease();
    expect(await event(us, isType('proxy'))).toEqual({ type: 'proxy', index: 1, protocol: 'UDP', host: '127.0.0.1' });
    await us.proxy({ type: 'NONE' });
    await event(us, isState('CONNECTED'));
  });

  it('PK_SIGN and NEED-CERTIFICATE are answered by who has the key', async () => {
    const inline = await readFile(pair.path('client.inline'), 'utf8');
    const part = (name: string): string => new RegExp(`<${name}>\\n([^]*)</${name}>`).exec(inline)?.[1] ?? '';
    await writeFile(pair.path('external.inline'), `<ca>\n${part('ca')}</ca>\n`);
    await writeFile(pair.path('external.key'), part('key'));
    const path = pair.path('external.sock');
    void pair.openvpn(scope, [
      '--config', pair.path('external.inline'), '--client', '--dev', 'external', '--dev-type', 'tun', '--remote', '127.0.0.1', String(PORT), 'udp', '--nobind', '--verb', '3',
      '--management', path, 'unix', '--management-hold', '--management-external-key', 'nopadding', 'pkcs1', 'pss', '--management-external-cert', 'the:hint',
    ]);
    const us = await scope.connect({ path });
    await us.stateOn();
    await us.setVersion(3);
    await us.holdRelease();
    expect(await event(us, isType('need-certificate'))).toEqual({ type: 'need-certificate', hint: 'the:hint' });
    await us.certificate(part('cert').trim().split('\n'));
    const request = await event(us, isType('pk-sign'));
    expect(request.algorithm).toMatch(/^ECDSA/);
    const { stdout } = await execa('openssl', ['pkeyutl', '-sign', '-inkey', pair.path('external.key')], { input: Buffer.from(request.data, 'base64'), encoding: 'buffer' });
    await us.pkSig(Buffer.from(stdout).toString('base64').match(/.{1,64}/g) ?? []);
    await event(us, isState('CONNECTED'));
  });
});
