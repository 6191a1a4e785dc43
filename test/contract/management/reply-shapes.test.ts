import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CommandRefused, type ManagementClient } from '../../../src/management/index.js';
import { event, isState, Pair, Scope } from './openvpn.js';

const scope = new Scope();
let pair: Pair;

beforeAll(async () => {
  pair = await Pair.create(scope);
});

afterAll(scope.undo);

/** What a command came to: the reply's lines, or the ERROR. */
async function outcome(client: ManagementClient, line: string): Promise<string> {
  try {
    return (await client.command(line)).join('\n');
  } catch (error) {
    if (error instanceof CommandRefused) return error.response;
    throw error;
  }
}

const UNSUPPORTED = /^ERROR: The '.*' command is not supported by the current daemon mode$/;
const UNKNOWN = /^ERROR: unknown command/;
const NOTHING = /^$/;
const HELP = /^Management Interface for OpenVPN 2[^]*\nversion \[n\]/;
const NOT_NEEDED = /^ERROR: no (username|password|needok-confirmation|needstr-string) is currently needed at this time$/;

/** The same in hold and connected. */
const always: readonly [string, RegExp][] = [
  ['', NOTHING],
  ['# a remark', NOTHING],
  ['; a remark', NOTHING],
  ['auth-retry', /^SUCCESS: auth-retry=none$/],
  ['auth-retry interact', /^SUCCESS: auth-retry parameter changed$/],
  ['auth-retry none', /^SUCCESS: auth-retry parameter changed$/],
  ['auth-retry nonsense', /^ERROR: bad auth-retry parameter$/],
  ['bytecount 0', /^SUCCESS: bytecount interval changed$/],
  ['bytecount', /^ERROR: the 'bytecount' command requires 1 parameter$/],
  ['certificate', /^ERROR: The certificate command is not currently available$/],
  ['cr-response', /^ERROR: the 'cr-response' command requires 1 parameter$/],
  ['echo', /^ERROR: the 'echo' command requires at least 1 parameter$/],
  ['echo on', /^SUCCESS: real-time echo notification set to ON$/],
  ['echo off', /^SUCCESS: real-time echo notification set to OFF$/],
  ['echo all', NOTHING],
  ['echo on all', /^SUCCESS: real-time echo notification set to ON$/],
  ['echo 0', /^ERROR: echo parameter must be/],
  ['env-filter 1', /^SUCCESS: env_filter_level=1$/],
  ['forget-passwords', /^SUCCESS: Passwords were forgotten$/],
  ['help', HELP],
  ['hold', /^SUCCESS: hold=1$/],
  ['hold on', /^SUCCESS: hold flag set to ON$/],
  ['hold nonsense', /^ERROR: bad hold command parameter$/],
  ['kill', /^ERROR: the 'kill' command requires 1 parameter$/],
  ['load-stats', /^SUCCESS: nclients=0,bytesin=\d+,bytesout=\d+$/],
  ['log on', /^SUCCESS: real-time log notification set to ON$/],
  ['log 3', /^(\d+,\w*,.*\n?){3}$/],
  ['log all', /^(\d+,\w*,.*\n?)+$/],
  ['log on all', /^SUCCESS: real-time log notification set to ON\n(\d+,\w*,.*\n?)+$/],
  ['log all on', /^(\d+,\w*,.*\n)+SUCCESS: real-time log notification set to ON$/],
  ['log off', /^SUCCESS: real-time log notification set to OFF$/],
  ['log on off', /^SUCCESS: .* ON\nSUCCESS: .* OFF$/],
  ['log', /^ERROR: the 'log' command requires at least 1 parameter$/],
  ['mute', /^SUCCESS: mute=\d+$/],
  ['mute 0', /^SUCCESS: mute level changed$/],
  ['needok x ok', NOT_NEEDED],
  ['needstr x y', NOT_NEEDED],
  ['nonsense', UNKNOWN],
  ['password Auth x', NOT_NEEDED],
  ['password Auth', /^ERROR: the 'password' command requires 2 parameters$/],
  ['pid', /^SUCCESS: pid=\d+$/],
  ['pk-sig', /^ERROR: The pk-sig command is not currently available$/],
  ['rsa-sig', /^ERROR: The rsa-sig command is not currently available$/],
  ['signal', /^ERROR: the 'signal' command requires 1 parameter$/],
  ['signal SIGNONSENSE', /^ERROR: signal 'SIGNONSENSE' is not a known signal type$/],
  ['state off', /^SUCCESS: real-time state notification set to OFF$/],
  ['state on', /^SUCCESS: real-time state notification set to ON$/],
  ['state nonsense', /^ERROR: state parameter must be/],
  ['test 3', /^\[0\] .*\n\[1\] .*\n\[2\] .*$/],
  ['test 0', NOTHING],
  ['username Auth x', NOT_NEEDED],
  ['verb', /^SUCCESS: verb=3$/],
  ['verb 3', /^SUCCESS: verb level changed$/],
  ['verb 99', /^ERROR: verb level is out of range$/],
  ['version', /^OpenVPN Version: OpenVPN 2[^]*\nManagement Version: \d+$/],
  ['version 5', NOTHING],
  ['version 1', NOTHING],
];

/** What a client answers to a server's commands, whatever it does. */
const clientOnly: readonly [string, RegExp][] = [
  ['client-auth 0 0', UNSUPPORTED],
  ['client-auth-nt 0 0', UNSUPPORTED],
  ['client-deny 0 0 reason', UNSUPPORTED],
  ['client-kill 0', UNSUPPORTED],
  ['client-pending-auth 0 0 extra 30', UNSUPPORTED],
  ['kill nobody', UNSUPPORTED],
  ['nclients', UNSUPPORTED],
  ['push-update-broad x', UNKNOWN],
  ['push-update-cid 0 x', UNKNOWN],
];

const held: readonly [string, RegExp][] = [
  ['cr-response eA==', UNSUPPORTED],
  ['net', UNSUPPORTED],
  ['proxy NONE', UNSUPPORTED],
  ['remote ACCEPT', UNSUPPORTED],
  ['remote-entry-count', UNSUPPORTED],
  ['remote-entry-get all', UNSUPPORTED],
  ['signal SIGUSR1', /^ERROR: signal 'SIGUSR1' is currently ignored$/],
  ['state', /^\d+,CONNECTING,,,,,,$/],
  ['state all', /^\d+,CONNECTING,,,,,,$/],
  ['state on all', /^SUCCESS: real-time state notification set to ON\n\d+,CONNECTING,,,,,,$/],
  ['status', UNSUPPORTED],
  ['status 3', UNSUPPORTED],
];

const STATE_LINE = String.raw`\d+,[A-Z_]+,[^\n]*`;
const CONNECTED_LINE = String.raw`\d+,CONNECTED,SUCCESS,10\.\d+\.0\.2,127\.0\.0\.1,\d+,,`;

const connected: readonly [string, RegExp][] = [
  ['cr-response eA==', /^SUCCESS: command succeeded$/],
  ['net', /^ERROR: Sorry, this command is currently only implemented on Windows$/],
  ['pkcs11-id-count', /^>PKCS11ID-COUNT:0$/],
  ['pkcs11-id-get 0', /^>PKCS11ID-ENTRY:'0'$/],
  ['proxy NONE', /^SUCCESS: proxy command succeeded$/],
  ['remote ACCEPT', /^ERROR: remote command failed$/],
  ['remote-entry-count', /^1$/],
  ['remote-entry-get all', /^0,127\.0\.0\.1,\d+,udp,enabled$/],
  ['remote-entry-get 0', /^0,127\.0\.0\.1,\d+,udp,enabled$/],
  ['state', new RegExp(`^${CONNECTED_LINE}$`)],
  ['state 2', new RegExp(`^${STATE_LINE}\n${CONNECTED_LINE}$`)],
  ['state on 1', new RegExp(`^SUCCESS: real-time state notification set to ON\n${CONNECTED_LINE}$`)],
  ['state all', new RegExp(`^(${STATE_LINE}\n)+${CONNECTED_LINE}$`)],
  ['status', /^OpenVPN STATISTICS\nUpdated,.*\nTUN\/TAP read bytes,\d+\n/],
  ['status 3', /^OpenVPN STATISTICS\n/],
];

const serving: readonly [string, RegExp][] = [
  ['cr-response eA==', UNSUPPORTED],
  ['client-auth 99 0', /^ERROR: client-auth command failed$/],
  ['client-auth-nt 99 0', /^ERROR: client-auth command failed$/],
  ['client-deny 99 0 reason "to the client"', /^ERROR: client-deny command failed$/],
  ['client-pending-auth 99 0 CR_TEXT:R:x 30', /^ERROR: client-pending-auth command failed/],
  ['client-kill 99', /^ERROR: client-kill command failed$/],
  ['kill nobody', /^ERROR: common name 'nobody' not found$/],
  ['kill 10.0.0.1:4000', /^ERROR: client at address (udp:)?10\.0\.0\.1:4000 not found$/],
  ['nclients', /^SUCCESS: nclients=\d+$/],
  ['status', /^OpenVPN CLIENT LIST\n[^]*\nGLOBAL STATS/],
  ['status 2', /^TITLE,[^]*\nHEADER,CLIENT_LIST,/],
  ['status 3', /^TITLE\t[^]*\nHEADER\tCLIENT_LIST\t/],
  ['status 9', /^ERROR: bad status format version number$/],
  ['remote-entry-count', UNSUPPORTED],
];

describe('the replies of a real OpenVPN', () => {
  const children = new Scope();
  let holding: ManagementClient;
  let dialled: ManagementClient;
  let server: ManagementClient;
  let holdingProcess: ReturnType<Pair['client']>;

  beforeAll(async () => {
    const [holdingPath, dialledPath, serverPath] = ['holding', 'dialled', 'server'].map((name) => pair.path(`${name}.sock`)) as [string, string, string];
    holdingProcess = pair.client(children, 1300, holdingPath);
    void pair.server(children, 1301, ['--management', serverPath, 'unix']);
    void pair.client(children, 1301, dialledPath);
    [holding, dialled, server] = await Promise.all([holdingPath, dialledPath, serverPath].map((path) => children.connect({ path }))) as [ManagementClient, ManagementClient, ManagementClient];
    await dialled.stateOn();
    await dialled.holdRelease();
    await event(dialled, isState('CONNECTED'));
  });

  afterAll(children.undo);

  it.each([...always, ...clientOnly, ...held])('in hold: %j', async (line, expected) => {
    expect(await outcome(holding, line)).toMatch(expected);
  });

  it.each([...always, ...clientOnly, ...connected])('connected: %j', async (line, expected) => {
    expect(await outcome(dialled, line)).toMatch(expected);
  });

  it.each(serving)('of a server: %j', async (line, expected) => {
    expect(await outcome(server, line)).toMatch(expected);
  });

  it('never got out of step', async () => {
    for (const client of [holding, dialled, server]) {
      const unknown: unknown[] = [];
      client.events$.subscribe((each) => {
        // `auth-retry nonsense` says in a line of its own what it takes.
        if (each.type === 'unknown' && !each.line.startsWith('--auth-retry method must be')) unknown.push(each);
      });
      await client.pid();
      await new Promise((resolve) => setImmediate(resolve));
      expect(unknown).toEqual([]);
    }
  });

  it('have typed forms', async () => {
    expect(await holding.hold()).toBe(true);
    expect(await holding.verb()).toBe(3);
    expect(await holding.authRetry()).toBe('none');
    expect(await holding.version()).toMatchObject({ title: expect.stringMatching(/^OpenVPN 2/), management: 5 });
    expect(await holding.state()).toMatchObject({ name: 'CONNECTING', description: '' });
    expect(await dialled.state()).toMatchObject({ name: 'CONNECTED', description: 'SUCCESS' });
    expect((await dialled.stateHistory()).map(({ name }) => name)).toContain('ASSIGN_IP');
    expect((await dialled.logHistory(5)).map(({ text }) => text)).toHaveLength(5);
    expect(await dialled.remoteEntryCount()).toBe(1);
    expect(await dialled.remoteEntries()).toEqual([{ index: 0, host: '127.0.0.1', port: '1301', protocol: 'udp', enabled: true }]);
    expect(await dialled.status()).toMatchObject({ role: 'client', counters: { 'TUN/TAP read bytes': expect.any(Number) } });
    expect(await server.status()).toMatchObject({ role: 'server', clients: [{ 'Common Name': 'client', 'Virtual Address': '10.51.0.2' }], global: { dco_enabled: '0' } });
    expect(await server.nclients()).toBe(1);
    expect(await server.loadStats()).toMatchObject({ clients: 1 });
  });

  it('exit closes the connection, and OpenVPN holds on and says so to the next', async () => {
    await holding.exit();
    expect(await holding.closed).toEqual({ by: 'us' });
    const next = await children.connect({ path: pair.path('holding.sock') });
    await event(next, ({ type }) => type === 'hold');
    await next.signal('SIGTERM');
    expect((await holdingProcess).exitCode).toBe(0);
  });
});
