import { chmodSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { request, requestStatus } from '../../src/control/client.js';
import { commandLine, Daemon, tunnelName, type DaemonOptions } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import { dynamicChallenge, staticChallenge, Verifier } from '../lab/verifier.js';
import { sleep, until } from '../lab/wait.js';

/** With all that a shell, OpenVPN or JSON might trip over. */
const right = 'R1ght-"pa\\ss $x ü';
const wrong = 'Wr0ng-"pa\\ss';
const passphrase = 'Pa55phrase of the key';
const codes = ['C0de-1111', 'C0de-2222'] as const;
const url = 'https://sso.example/login?state=T0ken-abc';
const secrets = [right, wrong, passphrase, ...codes];

const verifier = new Verifier([
  { username: 'joe', password: right, answer: 'yes' },
  ...codes.map((code) => ({ username: 'sally', password: staticChallenge(right, code), answer: 'yes' }) as const),
  { username: 'crv', password: right, answer: 'challenge Enter: the code' },
  { username: 'crv', password: dynamicChallenge(codes[0]), answer: 'yes' },
  { username: 'web', password: right, answer: `web ${url}` },
]);
/** The first packet was held and is answered by the queue; the others by the gate. */
const refused = expect.stringMatching(/^(ECONNREFUSED|EHOSTUNREACH)$/);
const asksForLogin = { client: { lines: ['auth-user-pass'] } };

describe('credentials', () => {
  let lab: Lab;
  let daemon: Daemon;

  beforeAll(async () => {
    lab = await Lab.open({ server: { lines: verifier.lines } });
  });

  afterAll(async () => {
    verifier.remove();
    await lab.close();
  });

  afterEach(async () => {
    expect(shown(daemon.program.stderr)).toEqual([]);
    expect({ ...(await daemon.stop()), stderr: daemon.program.stderr }).toMatchObject({ code: 0 });
    expect(await daemon.openvpnPids()).toEqual([]);
  });

  beforeEach(() => {
    verifier.forget();
  });

  async function start(credentials: Readonly<Record<string, unknown>>, { tunnel = {}, ...options }: DaemonOptions = {}): Promise<void> {
    daemon = await Daemon.start(lab, { ...asksForLogin, ...options, top: { log: 'trace' }, tunnel: { credentials, backoff: { start: '500ms' }, ...tunnel } });
  }

  /** A file that only its owner may read. */
  function secretFile(name: string, content: string): { file: string } {
    const file = join(lab.folder, name);
    writeFileSync(file, content, { mode: 0o600 });
    return { file };
  }

  /** One packet from the LAN, and what comes back. */
  const knock = (): ReturnType<Lab['probes']['lan']['ask']> => lab.probes.lan.ask(serviceAddress.ipv4, servicePort);

  /** The command line, as a person has it. */
  const command = (args: readonly string[], input?: string) => execa(commandLine[0], [commandLine[1], ...args, '--socket', daemon.socket], { reject: false, ...(input === undefined ? { stdin: 'ignore' as const } : { input }) });

  it('user name, password and the passphrase of the key from files: a packet wakes, OpenVPN authenticates, the packet goes; no secret is seen', async () => {
    const config = await encryptedKey(lab);
    await start({ login: secretFile('login', `joe\n${right}\n`), passphrase: secretFile('passphrase', `${passphrase}\n`) }, { tunnel: { openvpn: { config } } });
    const stop = watchProcesses(daemon.pid);
    expect(await knock()).toMatchObject({ ok: true });
    const { lastWake } = await daemon.reaches('up');
    expect(lastWake).toMatchObject({ released: 1 });
    expect(verifier.attempts).toEqual([['joe', right]]);
    const told = [await stop(), JSON.stringify(await requestStatus(daemon.socket)), JSON.stringify(await request(daemon.socket, { command: 'why', tunnel: tunnelName }))].join('\n');
    // The witness does see: OpenVPN's own command line, and the daemon's log of what OpenVPN said.
    expect(told).toContain('--management-query-passwords');
    expect(daemon.program.stderr).toContain('openvpn.log');
    expect(shown(told)).toEqual([]);
  });

  it('a wrong password: the server is asked once, packets are answered, and only another password is tried', async () => {
    const { file } = secretFile('password', `${wrong}\n`);
    await start({ username: 'joe', password: { file } });
    // A file that others may read is as good as none.
    chmodSync(file, 0o644);
    await expect(daemon.up()).rejects.toMatchObject({ message: `${file}: others than its owner have access to it (mode 644)` });
    expect(await daemon.status()).toMatchObject({ state: 'backoff', lastFailure: { code: 'credentials' } });
    chmodSync(file, 0o600);
    await daemon.reaches('idle');
    expect(await knock()).toMatchObject({ ok: false, error: refused });
    expect(await daemon.status()).toMatchObject({ state: 'locked', gate: 'reject', lastFailure: { code: 'auth', detail: 'Auth was refused' } });
    expect(await knock()).toMatchObject({ ok: false, error: refused });
    const again = await command(['up', tunnelName]);
    expect(again.exitCode).not.toBe(0);
    expect(again.stderr).toContain('LINK_FAILED');
    const seen = [JSON.stringify(await requestStatus(daemon.socket)), JSON.stringify(await request(daemon.socket, { command: 'why', tunnel: tunnelName })), again.stderr].join('\n');
    expect(shown(seen)).toEqual([]);
    // Nor is it forgotten when something else of the tunnel changes.
    writeFileSync(daemon.configFile, readFileSync(daemon.configFile, 'utf8').replace('credentials:', 'minUp: 1ms\n    credentials:'));
    await request(daemon.socket, { command: 'reload' });
    await expect(daemon.up()).rejects.toMatchObject({ code: 'LINK_FAILED' });
    expect((await daemon.status()).state).toBe('locked');
    expect(verifier.attempts).toEqual([['joe', wrong]]);
    secretFile('password', `${right}\n`);
    await daemon.up();
    expect(await knock()).toMatchObject({ ok: true });
    expect(verifier.attempts).toEqual([['joe', wrong], ['joe', right]]);
  });

  it('a static challenge, its codes from a command, each sent once, in a process that stays (warm)', async () => {
    secretFile('codes', codes.join('\n'));
    const next = 'head -n1 "$1"; sed -i 1d "$1"';
    await start(
      { username: 'sally', password: { command: ['sh', '-c', 'cat "$1"', 'password', secretFile('password', `${right}\n`).file] }, code: { command: ['sh', '-c', next, 'code', join(lab.folder, 'codes')] } },
      { client: { lines: ['auth-user-pass', 'static-challenge "Your code" 1', 'verb 4'] }, tunnel: { standby: 'warm' } },
    );
    const pids = await daemon.openvpnPids();
    for (let round = 0; round < 2; round++) {
      expect(await knock()).toMatchObject({ ok: true });
      await daemon.reaches('up');
      await daemon.down();
      await daemon.reaches('idle');
    }
    expect(await daemon.openvpnPids()).toEqual(pids);
    expect(verifier.attempts).toEqual(codes.map((code) => ['sally', staticChallenge(right, code)]));
  });

  it('a dynamic challenge: the password from the environment, the code from a command that is told what is asked', async () => {
    const code = `[ "$CHALLENGE_TEXT $CHALLENGE_USERNAME" = "Enter: the code crv" ] && sleep 0.2 && cat "$1"`;
    await start({ username: 'crv', password: { env: 'OFFICE_PASSWORD' }, code: { command: ['sh', '-c', code, 'code', secretFile('code', codes[0]).file] } }, { env: { OFFICE_PASSWORD: right } });
    // It lasts long enough to be seen.
    const stop = watchProcesses(daemon.pid);
    expect(await knock()).toMatchObject({ ok: true });
    expect(verifier.attempts).toEqual([['crv', right], ['crv', dynamicChallenge(codes[0])]]);
    const told = await stop();
    expect(told).toContain('CHALLENGE_TEXT');
    expect(shown(told)).toEqual([]);
    // A changed tunnel wants the variable again, which no child may inherit.
    writeFileSync(daemon.configFile, readFileSync(daemon.configFile, 'utf8').replace('credentials:', 'minUp: 1ms\n    credentials:'));
    await request(daemon.socket, { command: 'reload' });
    secretFile('code', codes[1]);
    expect(await knock()).toMatchObject({ ok: false });
    expect(await daemon.status()).toMatchObject({ state: 'locked' });
    expect(verifier.attempts.slice(2)).toEqual([['crv', right], ['crv', dynamicChallenge(codes[1])]]);
  });

  it('a person, by `openvpn-ondemand answer`; the same wrong answer is not sent twice', async () => {
    await start({ prompt: true });
    await expect(request(daemon.socket, { command: 'answer', tunnel: tunnelName, secret: right })).rejects.toMatchObject({ code: 'USAGE' });
    const first = knock();
    await until('a question', async () => (await daemon.status()).asks);
    expect((await command(['status'])).stdout).toContain(`asks for: user name for Auth (openvpn-ondemand answer ${tunnelName})`);
    expect(await command(['answer', tunnelName], `joe\n${wrong}\n`)).toMatchObject({ exitCode: 0, stdout: '' });
    expect(await first).toMatchObject({ ok: false, error: refused });
    expect((await daemon.status()).state).toBe('locked');
    for (const password of [wrong, right]) {
      const up = daemon.up().then(() => 'up', () => 'refused');
      await until('a question', async () => (await daemon.status()).asks);
      await request(daemon.socket, { command: 'answer', tunnel: tunnelName, username: 'joe', secret: password });
      expect(await up).toBe(password === right ? 'up' : 'refused');
      expect((await daemon.status()).asks).toBeUndefined();
    }
    expect(verifier.attempts).toEqual([['joe', wrong], ['joe', right]]);
  });

  it('nobody answers: packets are answered after their time, and `down` ends it at once, also where a process stays', async () => {
    await start({ prompt: true }, { tunnel: { standby: 'warm', hold: { timeout: '1s' } } });
    expect(await knock()).toMatchObject({ ok: false, error: refused });
    expect(await daemon.status()).toMatchObject({ state: 'backoff', lastFailure: { code: 'timeout' } });
    await daemon.reaches('idle');
    const again = knock();
    await until('a question', async () => (await daemon.status()).asks);
    await daemon.down();
    expect(await again).toMatchObject({ ok: false });
    expect(await daemon.reaches('idle')).not.toHaveProperty('asks');
    await until('a process in hold', async () => (await daemon.openvpnPids()).length === 1);
    expect(verifier.attempts).toEqual([]);
  });

  it('a visit in the browser, to which a command is given the address', async () => {
    await start({ login: secretFile('login', `web\n${right}\n`), openUrl: { command: ['sh', '-c', 'printf %s "$OPEN_URL" >"$1"', 'open', join(lab.folder, 'url')] } });
    const answer = knock();
    await until('the address', () => read(join(lab.folder, 'url')) === url);
    expect((await daemon.status()).state).toBe('dialing');
    writeFileSync(verifier.opened, '');
    expect(await answer).toMatchObject({ ok: true });
    expect(verifier.attempts).toEqual([['web', right]]);
  });
});

/** Which of the secrets stand in a text, as they are or as JSON or base64 has them. Not by toContain, which would print them. */
function shown(text: string): string[] {
  return secrets.filter((secret) => [secret, JSON.stringify(secret).slice(1, -1), Buffer.from(secret).toString('base64').slice(0, -4)].some((form) => text.includes(form)));
}

/** Writes a client configuration whose key wants the passphrase. */
async function encryptedKey({ server, folder }: Lab): Promise<string> {
  const plain = readFileSync(server.writeClientConfig('plain', asksForLogin.client), 'utf8');
  const key = await execa('openssl', ['pkcs8', '-topk8', '-passout', 'stdin'], { input: `${passphrase}\n${/<key>\n([^]*)<\/key>/.exec(plain)?.[1] ?? ''}` });
  const config = join(folder, 'encrypted.ovpn');
  writeFileSync(config, plain.replace(/<key>\n[^]*<\/key>/, `<key>\n${key.stdout}\n</key>`), { mode: 0o600 });
  return config;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // not there yet, or the process has ended
  }
}

/**
 * Looks at the command line and the environment of every process in the daemon's namespace, but at the environment that
 * it was itself started with, until told to stop; resolves with all that was seen.
 */
function watchProcesses(daemon: number): () => Promise<string> {
  const seen = new Set<string>();
  const namespace = readlinkSync(`/proc/${daemon}/ns/net`);
  const end = new AbortController();
  const done = (async () => {
    while (!end.signal.aborted) {
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && namespaceOf(name) === namespace)) {
        seen.add(read(`/proc/${pid}/cmdline`));
        if (Number(pid) !== daemon) seen.add(read(`/proc/${pid}/environ`));
      }
      await sleep(5);
    }
    return [...seen].join('\n');
  })();
  return () => {
    end.abort();
    return done;
  };
}

function namespaceOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return ''; // it has ended
  }
}
