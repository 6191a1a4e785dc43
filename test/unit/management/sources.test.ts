import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DaemonError } from '../../../src/core/errors.js';
import { fromCommand, fromEnvironment, fromFile, fromSystemdCredential, Secret, type SecretSource } from '../../../src/management/index.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ood-sources-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function file(content: string, mode = 0o600): Promise<string> {
  const path = join(folder, 'secret');
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

const value = async (source: SecretSource): Promise<string> => (await source.read()).reveal();

async function failure(source: SecretSource): Promise<DaemonError> {
  const error: unknown = await source.read().catch((caught: unknown) => caught);
  if (!(error instanceof DaemonError)) throw new Error('it did not fail as it should');
  expect(error.code).toBe('CREDENTIALS_UNAVAILABLE');
  return error;
}

describe('Secret', () => {
  it('prints as [secret], whatever prints it', () => {
    const secret = new Secret('hunter2');
    const printed = [String(secret), `x${secret as unknown as string}`, JSON.stringify({ secret }), inspect(secret), inspect({ a: [secret] }, { showHidden: true, depth: 9 }), ['x', secret].join('')];
    expect(printed.filter((text) => text.includes('hunter2') || !text.includes('[secret]'))).toEqual([]);
    expect(Object.values(secret)).toEqual([]);
    expect(secret.reveal()).toBe('hunter2');
  });

  it('compares', () => {
    expect(new Secret('a').equals(new Secret('a'))).toBe(true);
    expect(new Secret('a').equals(new Secret('b'))).toBe(false);
  });
});

describe('a secret file', () => {
  it('is read without its last newline', async () => {
    expect(await value(fromFile(await file('hunter2\n')))).toBe('hunter2');
    expect(await value(fromFile(await file(' two words \r\n', 0o400)))).toBe(' two words ');
  });

  it.each([0o640, 0o604, 0o644, 0o620, 0o777])('is refused with mode %o', async (mode) => {
    const path = await file('hunter2', mode);
    const error = await failure(fromFile(path));
    expect(error).toMatchObject({ place: path, hint: `chmod 600 ${path}` });
    expect(error.message).toContain(mode.toString(8));
  });

  it('is refused if it belongs to somebody else, is no file, is empty or is not there', async () => {
    await failure(fromFile(folder));
    await failure(fromFile(join(folder, 'nothing')));
    await failure(fromFile(await file('\n')));
    await failure(fromFile(await file('x'.repeat(70_000))));
  });

  it('may be a symbolic link, whose target is what is checked', async () => {
    const path = await file('hunter2', 0o644);
    const link = join(folder, 'link');
    await symlink(path, link);
    await failure(fromFile(link));
    await chmod(path, 0o600);
    expect(await value(fromFile(link))).toBe('hunter2');
  });

  it('is read anew every time', async () => {
    const source = fromFile(await file('old'));
    expect(await value(source)).toBe('old');
    await file('new');
    expect(await value(source)).toBe('new');
  });
});

describe('a systemd credential', () => {
  it('is found where systemd puts it', async () => {
    await file('hunter2', 0o444);
    expect(await value(fromSystemdCredential('secret', { CREDENTIALS_DIRECTORY: folder }))).toBe('hunter2');
  });

  it('does not lead out of its folder, and is missed where systemd gave none', async () => {
    await failure(fromSystemdCredential('../secret', { CREDENTIALS_DIRECTORY: folder }));
    expect((await failure(fromSystemdCredential('secret', {}))).hint).toContain('LoadCredential=secret');
  });
});

describe('an environment variable', () => {
  it('is taken out of the environment', async () => {
    const environment: NodeJS.ProcessEnv = { VPN_PASSWORD: 'hunter2' };
    const source = fromEnvironment('VPN_PASSWORD', environment);
    expect(environment).toEqual({});
    expect(await value(source)).toBe('hunter2');
    expect(await value(source)).toBe('hunter2');
    // A reload, or another tunnel, asks for it again.
    expect(await value(fromEnvironment('VPN_PASSWORD', environment))).toBe('hunter2');
    await failure(fromEnvironment('VPN_PASSWORD', {}));
  });
});

describe('a command', () => {
  it('gives its output, and is told what it may want to know', async () => {
    const source = fromCommand(['sh', '-c', 'echo "code for $CHALLENGE_TEXT"']);
    expect((await source.read({ environment: { CHALLENGE_TEXT: 'PIN; $(x)' } })).reveal()).toBe('code for PIN; $(x)');
  });

  it('needs no shell, and starts none', async () => {
    expect(await value(fromCommand(['printf', '%s', '$HOME;|']))).toBe('$HOME;|');
  });

  it.each([
    [['sh', '-c', 'echo hunter2; echo hunter2 >&2; exit 3'], /status 3/],
    [['sh', '-c', 'echo hunter2; kill -9 $$'], /SIGKILL/],
    [['sh', '-c', 'true # hunter2'], /empty/],
    [['/nonexistent/program', 'hunter2'], /ENOENT/],
    [['sh', '-c', 'yes hunter2'], /too much/],
  ] as const)('that fails (%j) shows nothing of its output nor of its arguments', async (command, message) => {
    const error = await failure(fromCommand(command));
    expect(error.message).toMatch(message);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2');
  });

  it('is ended when it takes too long, or when nobody wants it any more', async () => {
    expect((await failure(fromCommand(['sleep', '60'], { timeoutMs: 50 }))).message).toContain('50 ms');
    await expect(fromCommand(['sleep', '60']).read({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ code: 'CREDENTIALS_UNAVAILABLE' });
  });
});
