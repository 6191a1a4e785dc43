import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import {
  Authenticator, Credentials, endOf, fromCommand, fromFile, HoldPolicy, ManagementClient, Secret, SourceProvider, type AuthReport, type OpenVpnEnd, type SourceOptions,
} from '../../../src/management/index.js';
import { checkout } from '../../lab/paths.js';
import { event, isState, Pair, Scope, type OpenVpnProcess } from './openvpn.js';

const suite = new Scope();
const scope = new Scope();
let pair: Pair;

const PORT = 1310;
const PLAIN = ['--auth-user-pass'];

beforeAll(async () => {
  pair = await Pair.create(suite);
  const verifier = `${checkout}/test/contract/management/verify.sh ${pair.path('attempts')}`;
  void pair.server(suite, PORT, ['--auth-user-pass-verify', verifier, 'via-file', '--script-security', '2', '--verify-client-cert', 'none', '--username-as-common-name']);
});

afterAll(suite.undo);
afterEach(scope.undo);

/** What the server's verifier was asked since the last time. */
async function attempts(): Promise<string[]> {
  const text = await readFile(pair.path('attempts'), 'utf8').catch(() => '');
  await rm(pair.path('attempts'), { force: true });
  return text.split('\n').filter(Boolean);
}

async function secretFile(name: string, content: string): Promise<ReturnType<typeof fromFile>> {
  await writeFile(pair.path(name), content);
  await chmod(pair.path(name), 0o600);
  return fromFile(pair.path(name));
}

interface Dial {
  readonly client: ManagementClient;
  readonly process: OpenVpnProcess;
  readonly reports: AuthReport[];
  readonly authenticator: Authenticator;
  readonly hold: HoldPolicy;
  until<T extends AuthReport['type']>(type: T): Promise<Extract<AuthReport, { type: T }>>;
}

/** One OpenVPN client that wants to dial, with credentials. */
async function dial(credentials: Credentials, args: readonly string[]): Promise<Dial> {
  const path = pair.path('client.sock');
  const process = pair.client(scope, PORT, path, ['--management-query-passwords', ...args]);
  const client = await scope.connect({ path });
  const reports: AuthReport[] = [];
  const authenticator = new Authenticator(client, credentials);
  authenticator.reports$.subscribe((report) => reports.push(report));
  const hold = new HoldPolicy(client, { waitMs: () => 0 });
  await authenticator.start();
  await client.stateOn();
  hold.want();
  return {
    client,
    process,
    reports,
    authenticator,
    hold,
    until: async (type) => {
      for (;;) {
        const report = reports.find((each) => each.type === type);
        if (report) return report as Extract<AuthReport, { type: typeof type }>;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}

const credentialsOf = (options: SourceOptions): Credentials => new Credentials([new SourceProvider(options)]);

describe('user name and password', () => {
  it('are given, and the server lets us in', async () => {
    const { client } = await dial(credentialsOf({ login: { lines: await secretFile('login', 'joe\nright\n') } }), PLAIN);
    await event(client, isState('CONNECTED'));
    expect(await attempts()).toEqual(['joe right']);
  });

  it('that are wrong are asked for once and never sent again, not even by another process', async () => {
    const credentials = credentialsOf({ login: { username: 'joe', password: await secretFile('password', 'wrong\n') } });
    const first = await dial(credentials, PLAIN);
    expect(await first.until('refused')).toEqual({ type: 'refused', realm: 'Auth', hasNew: false });
    // It dials again as long as it is let, and has nothing to say.
    expect(await first.until('locked')).toMatchObject({ request: { kind: 'login', realm: 'Auth' } });
    await first.client.signal('SIGTERM');
    expect(await endOf(first.client, first.process)).toMatchObject({ reason: expect.any(String) });
    await first.process;
    const second = await dial(credentials, PLAIN);
    await second.until('locked');
    expect(await attempts()).toEqual(['joe wrong']);
    // Something new is tried, in the same process that waits for it.
    await secretFile('password', 'right\n');
    second.authenticator.retry();
    await event(second.client, isState('CONNECTED'));
    expect(await attempts()).toEqual(['joe right']);
  });

  it('are in no process list, log, report or error', async () => {
    const SECRET = 'Zx9-"very\\ secret"';
    const credentials = credentialsOf({ login: { username: 'joe', password: await secretFile('password', SECRET) } });
    const { client, process, reports, until } = await dial(credentials, PLAIN);
    await client.logOn();
    const seen: unknown[] = [];
    client.events$.subscribe((each) => seen.push(each));
    await until('refused');
    const commandLines = (await execa('ps', ['-eo', 'args'])).stdout;
    await client.signal('SIGTERM').catch(() => undefined);
    const end: OpenVpnEnd = await client.ending;
    const log = await process;
    expect(await attempts()).toEqual([`joe ${SECRET}`]);
    const shown = inspect([seen, reports, end, credentials, commandLines, log.stdout, log.stderr], { depth: 20, showHidden: true, maxArrayLength: null, maxStringLength: null });
    // Not by toContain, which would print all of it.
    expect(shown.includes('verification-failed') && shown.includes("CMD 'password [...]'")).toBe(true);
    expect(shown.includes('Zx9')).toBe(false);
  });
});

describe('a static challenge', () => {
  const args = ['--auth-user-pass', '--static-challenge', 'Enter the code', '1'];

  it('is answered with a code from a command', async () => {
    const code = fromCommand(['sh', '-c', '[ "$CHALLENGE_TEXT" = "Enter the code" ] && echo 123456']);
    const { client } = await dial(credentialsOf({ login: { username: 'sally', password: await secretFile('password', 'right') }, code }), args);
    await event(client, isState('CONNECTED'));
    expect(await attempts()).toHaveLength(1);
  });

  it('whose answer is wrong locks', async () => {
    const { until } = await dial(credentialsOf({ login: { username: 'sally', password: await secretFile('password', 'right') }, code: await secretFile('code', '000000') }), args);
    await until('locked');
    expect(await attempts()).toHaveLength(1);
  });
});

describe('a dynamic challenge', () => {
  const options = async (code: string): Promise<SourceOptions> => ({ login: { username: 'crv', password: await secretFile('password', 'right') }, code: await secretFile('code', code) });

  it('is answered', async () => {
    const { client, reports } = await dial(credentialsOf(await options('8675309')), PLAIN);
    await event(client, isState('CONNECTED'));
    expect(await attempts()).toEqual(['crv right', 'crv CRV1::state1::8675309']);
    expect(reports).toContainEqual({ type: 'asking', request: { kind: 'response', via: 'dynamic', text: 'Enter: the code', echo: true, username: 'crv' } });
    expect(reports.filter(({ type }) => type === 'refused')).toEqual([]);
  });

  it('whose answer is wrong locks', async () => {
    const { until } = await dial(credentialsOf(await options('0')), PLAIN);
    await until('locked');
    expect(await attempts()).toEqual(['crv right', 'crv CRV1::state1::0']);
  });
});

describe('the passphrase of a private key', () => {
  let args: readonly string[];

  beforeAll(async () => {
    const inline = await readFile(pair.path('client.inline'), 'utf8');
    const part = (name: string): string => new RegExp(`<${name}>\\n([^]*)</${name}>`).exec(inline)?.[1] ?? '';
    await writeFile(pair.path('client.crt'), part('cert'));
    await execa('openssl', ['pkcs8', '-topk8', '-out', pair.path('client.key'), '-passout', 'pass:open sesame'], { input: part('key') });
    args = ['--auth-user-pass', '--cert', pair.path('client.crt'), '--key', pair.path('client.key')];
  });

  it('is given', async () => {
    const { client } = await dial(credentialsOf({ passphrase: await secretFile('phrase', 'open sesame'), login: { username: 'joe', password: await secretFile('password', 'right') } }), args);
    await event(client, isState('CONNECTED'));
    await attempts();
  });

  it('that is wrong is not given again, neither to the same process nor to the next', async () => {
    const login = { username: 'joe', password: await secretFile('password', 'right') };
    const credentials = credentialsOf({ passphrase: await secretFile('phrase', 'wrong'), login });
    const first = await dial(credentials, args);
    expect(await first.until('refused')).toEqual({ type: 'refused', realm: 'Private Key', hasNew: false });
    // `auth-retry interact` goes for the key, too: it restarts, holds, and asks again.
    expect(await first.until('locked')).toMatchObject({ request: { kind: 'passphrase', realm: 'Private Key' } });
    await first.client.signal('SIGTERM');
    expect(await endOf(first.client, first.process)).toMatchObject({ refused: { realm: 'Private Key' } });
    await first.process;
    const second = await dial(credentials, args);
    expect(await second.until('locked')).toMatchObject({ request: { kind: 'passphrase', realm: 'Private Key' } });
    expect(second.reports.some(({ type }) => type === 'refused')).toBe(false);
  });

  it('that is wrong ends an OpenVPN that may not ask again', async () => {
    const { client, process } = await dial(credentialsOf({ login: { username: 'joe', password: await secretFile('password', 'right') } }), args);
    await client.setAuthRetry('none');
    await event(client, (each) => each.type === 'password' && each.kind === 'need' && each.realm === 'Private Key');
    await client.password('Private Key', new Secret('wrong'));
    expect(await endOf(client, process)).toEqual({
      by: 'fatal', reason: 'Error: private key password verification failed', refused: { type: 'password', kind: 'verification-failed', realm: 'Private Key' },
    });
    expect((await process).exitCode).toBe(1);
  });
});

describe('a server whose verifier is this library', () => {
  const port = 1311;

  async function serverAndClient(): Promise<{ server: ManagementClient; client: Dial['client']; reports: AuthReport[] }> {
    const path = pair.path('server.sock');
    void pair.server(scope, port, ['--management', path, 'unix', '--management-client-auth', '--verify-client-cert', 'none', '--auth-user-pass-optional']);
    const server = await scope.connect({ path });
    const clientPath = pair.path('web.sock');
    void pair.client(scope, port, clientPath, ['--management-query-passwords', '--auth-user-pass', '--setenv', 'IV_SSO', 'webauth,crtext,openurl', '--push-peer-info']);
    const client = await scope.connect({ path: clientPath });
    const credentials = credentialsOf({
      login: { username: 'web', password: await secretFile('password', 'right') }, code: await secretFile('code', '424242'), openUrl: { command: ['sh', '-c', `printf %s "$OPEN_URL" >${pair.path('url')}`] },
    });
    const authenticator = new Authenticator(client, credentials);
    const reports: AuthReport[] = [];
    authenticator.reports$.subscribe((report) => reports.push(report));
    await authenticator.start();
    await client.stateOn();
    await client.holdRelease();
    return { server, client, reports };
  }

  it('asks for a code and for a visit in the browser while it waits, and lets the client in', async () => {
    const { server, client } = await serverAndClient();
    const asked = await event(server, (each): each is Extract<typeof each, { type: 'client'; kind: 'connect' }> => each.type === 'client' && each.kind === 'connect');
    const { clientId, keyId } = asked;
    const environment = await event(server, (each) => each.type === 'client' && each.kind === 'env-secret');
    expect(inspect(environment)).toContain('[secret]');
    await server.clientPendingAuth(clientId, keyId, 'CR_TEXT:R,E:Enter: the code', 30);
    const answer = await event(server, (each): each is Extract<typeof each, { type: 'client'; kind: 'cr-response' }> => each.type === 'client' && each.kind === 'cr-response');
    expect(Buffer.from(answer.response.reveal(), 'base64').toString()).toBe('424242');
    await server.clientPendingAuth(clientId, keyId, 'WEB_AUTH::https://example.test/auth?x=1', 30);
    let url = '';
    while (url === '') url = await readFile(pair.path('url'), 'utf8').catch(() => '');
    expect(url).toBe('https://example.test/auth?x=1');
    await server.clientAuth(clientId, keyId, ['push "echo hello there"']);
    await event(client, isState('CONNECTED'));
    expect(await client.echoHistory()).toMatchObject([{ text: 'hello there' }]);
    await event(server, (each) => each.type === 'client' && each.kind === 'established');
  });

  it('refuses with a reason, which the client is told', async () => {
    const { server, reports } = await serverAndClient();
    const { clientId, keyId } = await event(server, (each): each is Extract<typeof each, { type: 'client'; kind: 'connect' }> => each.type === 'client' && each.kind === 'connect');
    await server.clientDeny(clientId, keyId, 'for the log', 'come back: later');
    while (!reports.some(({ type }) => type === 'refused')) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(reports).toContainEqual({ type: 'refused', realm: 'Auth', reason: 'come back: later', hasNew: false });
  });
});

describe('the management password', () => {
  it('is given once, and a wrong one is not repeated', async () => {
    const passwordFile = pair.path('management-password');
    await writeFile(passwordFile, 'mgmt pw\n', { mode: 0o600 });
    const path = pair.path('locked.sock');
    void scope.openvpn(['--management', path, 'unix', passwordFile, '--management-hold']);
    await expect(scope.connect({ path, password: 'wrong' })).rejects.toMatchObject({ code: 'MANAGEMENT_PASSWORD' });
    await expect(ManagementClient.connect({ path })).rejects.toMatchObject({ code: 'MANAGEMENT_PASSWORD' });
    const client = await scope.connect({ path, password: new Secret('mgmt pw') });
    expect(await client.hold()).toBe(true);
  });
});
