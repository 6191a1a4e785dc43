import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeStatus, ManagementClient, Secret } from '../../../src/management/index.js';
import { FakeOpenVpn } from './fake-openvpn.js';

let openvpn: FakeOpenVpn;
let client: ManagementClient;

beforeAll(async () => {
  openvpn = await FakeOpenVpn.start();
  const get = openvpn.answers.get.bind(openvpn.answers);
  openvpn.answers.get = (line) => get(line) ?? 'SUCCESS: done\r\n';
  client = await ManagementClient.connect({ path: openvpn.path });
});

afterAll(async () => {
  await client.close();
  await openvpn.stop();
});

const sent: readonly [string, (commands: ManagementClient) => Promise<unknown>][] = [
  ['hold release', (c) => c.holdRelease()],
  ['hold off', (c) => c.setHold(false)],
  ['signal SIGHUP', (c) => c.signal('SIGHUP')],
  ['state on', (c) => c.stateOn()],
  ['state off', (c) => c.stateOff()],
  ['log on', (c) => c.logOn()],
  ['log off', (c) => c.logOff()],
  ['echo on', (c) => c.echoOn()],
  ['echo off', (c) => c.echoOff()],
  ['bytecount 5', (c) => c.bytecount(5)],
  ['verb 4', (c) => c.setVerb(4)],
  ['mute 10', (c) => c.setMute(10)],
  ['auth-retry interact', (c) => c.setAuthRetry('interact')],
  ['forget-passwords', (c) => c.forgetPasswords()],
  ['version 3', (c) => c.setVersion(3)],
  ['username "Auth" "J \\"o\\" e"', (c) => c.username('Auth', 'J "o" e')],
  ['password "Private Key" "a\\\\b"', (c) => c.password('Private Key', new Secret('a\\b'))],
  ['needok "token-insertion-request" cancel', (c) => c.needOk('token-insertion-request', 'cancel')],
  ['needstr "name" "John"', (c) => c.needStr('name', new Secret('John'))],
  ['cr-response "MTIzNDU2"', (c) => c.crResponse(new Secret('123456'))],
  ['proxy NONE', (c) => c.proxy({ type: 'NONE' })],
  ['proxy HTTP "proxy.intranet" 8080 nct', (c) => c.proxy({ type: 'HTTP', host: 'proxy.intranet', port: 8080, noCleartext: true })],
  ['proxy SOCKS "fe00::1" 1080', (c) => c.proxy({ type: 'SOCKS', host: 'fe00::1', port: 1080 })],
  ['remote ACCEPT', (c) => c.remote({ action: 'ACCEPT' })],
  ['remote SKIP', (c) => c.remote({ action: 'SKIP' })],
  ['remote SKIP 2', (c) => c.remote({ action: 'SKIP', count: 2 })],
  ['remote MOD "vpn.example.com" 1234', (c) => c.remote({ action: 'MOD', host: 'vpn.example.com', port: 1234 })],
  ['kill "Test-Client"', (c) => c.kill('Test-Client')],
  ['env-filter 2', (c) => c.envFilter(2)],
  ['client-auth-nt 1 2', (c) => c.clientAuthNt(1, 2)],
  ['client-deny 1 2 "no" "CRV1:R,E:a:Yg==:c"', (c) => c.clientDeny(1, 2, 'no', 'CRV1:R,E:a:Yg==:c')],
  ['client-kill 1', (c) => c.clientKill(1)],
  ['client-kill 1 "HALT"', (c) => c.clientKill(1, 'HALT')],
  ['client-pending-auth 1 2 "CR_TEXT:R,E:code" 30', (c) => c.clientPendingAuth(1, 2, 'CR_TEXT:R,E:code', 30)],
  ['push-update-broad "route something, -dns"', (c) => c.pushUpdate('route something, -dns')],
  ['push-update-cid 3 "-dns"', (c) => c.pushUpdate('-dns', 3)],
  ['net', (c) => c.net()],
];

describe('typed commands', () => {
  it.each(sent)('send %s', async (line, send) => {
    await send(client);
    await openvpn.heard(1);
    expect(openvpn.received.splice(0)).toEqual([line]);
  });

  it('understand what OpenVPN says of numbers', async () => {
    openvpn.answers.set('load-stats', 'SUCCESS: nclients=3,bytesin=10,bytesout=20\r\n').set('nclients', 'SUCCESS: nclients=3\r\n').set('mute', 'SUCCESS: mute=7\r\n');
    expect(await client.loadStats()).toEqual({ clients: 3, bytesIn: 10, bytesOut: 20 });
    expect(await client.nclients()).toBe(3);
    expect(await client.mute()).toBe(7);
    expect(await client.pid()).toBeNaN();
    openvpn.received.length = 0;
  });

  it('keep back what would do harm', async () => {
    await expect(client.username('Auth', '')).rejects.toMatchObject({ code: 'MANAGEMENT_INVALID' });
    await expect(client.pkSig(['QUJD'])).rejects.toMatchObject({ code: 'MANAGEMENT_INVALID' });
    await expect(client.certificate(['QUJD'])).rejects.toMatchObject({ code: 'MANAGEMENT_INVALID' });
    await expect(client.longPassword('Auth', new Secret('x'))).rejects.toMatchObject({ code: 'MANAGEMENT_INVALID' });
    openvpn.say('>HOLD:Waiting for hold release:0\r\n');
    await client.pid();
    await expect(client.pkcs11IdCount()).rejects.toMatchObject({ code: 'MANAGEMENT_INVALID' });
    expect(openvpn.received.splice(0)).toEqual(['pid']);
  });

  it('answer a request for a signature', async () => {
    openvpn.say('>PK_SIGN:QUJD,RSA_PKCS1_PADDING\r\n');
    await client.pid();
    for (const line of ['pk-sig', 'c2ln']) openvpn.answers.set(line, '');
    openvpn.answers.set('END', 'SUCCESS: pk-sign command succeeded\r\n');
    await client.pkSig(['c2ln']);
    expect(openvpn.received.splice(0)).toEqual(['pid', 'pk-sig', 'c2ln', 'END']);
    expect(client.question).toBeUndefined();
  });
});

describe('decodeStatus', () => {
  it('reads a client’s', () => {
    expect(decodeStatus(['OpenVPN STATISTICS', 'Updated,2026-11-22 09:00:00', 'TUN/TAP read bytes,123', 'TUN/TAP write bytes,0'])).toEqual({
      role: 'client', updated: '2026-11-22 09:00:00', counters: { 'TUN/TAP read bytes': 123, 'TUN/TAP write bytes': 0 },
    });
  });

  it('reads a server’s', () => {
    const lines = ['TITLE\tOpenVPN 2.6.14', 'TIME\t2026-11-22 09:00:00\t1795338000', 'HEADER\tCLIENT_LIST\tCommon Name\tReal Address', 'CLIENT_LIST\ta, b\t10.0.0.1:1', 'CLIENT_LIST\tc\t10.0.0.2:2',
      'HEADER\tROUTING_TABLE\tVirtual Address\tCommon Name', 'ROUTING_TABLE\t10.8.0.2\ta, b', 'GLOBAL_STATS\tdco_enabled\t0'];
    expect(decodeStatus(lines)).toEqual({
      role: 'server', title: 'OpenVPN 2.6.14', time: 1795338000,
      clients: [{ 'Common Name': 'a, b', 'Real Address': '10.0.0.1:1' }, { 'Common Name': 'c', 'Real Address': '10.0.0.2:2' }],
      routes: [{ 'Virtual Address': '10.8.0.2', 'Common Name': 'a, b' }], global: { dco_enabled: '0' },
    });
  });
});
