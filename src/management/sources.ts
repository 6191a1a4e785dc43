import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { execa, ExecaError } from 'execa';
import { DaemonError } from '../core/errors.js';
import { Secret } from './secret.js';

/** Longer than any secret that the management interface could carry. */
const LONGEST_BYTES = 64 * 1024;

/** Where a secret comes from. Read anew whenever it is needed, so that a change takes effect by itself. */
export interface SecretSource {
  /** For messages: a path, a name; never the secret. */
  readonly place: string;
  /**
   * The text without its last newline.
   * @param context what a command may want to know, as environment variables; never secrets
   * @throws DaemonError CREDENTIALS_UNAVAILABLE
   */
  read(context?: SourceContext): Promise<Secret>;
}

export interface SourceContext {
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

function unavailable(place: string, problem: string, hint?: string): DaemonError {
  return new DaemonError('CREDENTIALS_UNAVAILABLE', problem, { place, ...(hint === undefined ? {} : { hint }) });
}

function secretOf(text: string, place: string): Secret {
  const value = text.replace(/\r?\n$/, '');
  if (value === '') throw unavailable(place, 'it is empty');
  return new Secret(value);
}

/** A file that its owner alone may read: root or the user that we run as. */
export function fromFile(path: string): SecretSource {
  return { place: path, read: () => readSecretFile(path, true) };
}

/** `LoadCredential=` or `SetCredential=` of the systemd unit; systemd sees to who may read it. */
export function fromSystemdCredential(name: string, environment: NodeJS.ProcessEnv = process.env): SecretSource {
  const place = `systemd credential ${name}`;
  return {
    place,
    read: async () => {
      const folder = environment['CREDENTIALS_DIRECTORY'];
      if (folder === undefined) throw unavailable(place, 'systemd gave this service no credentials', `put LoadCredential=${name}:PATH into its unit`);
      if (name.includes('/') || name.startsWith('.')) throw unavailable(place, 'that is not the name of a credential');
      return readSecretFile(join(folder, name), false);
    },
  };
}

/** What was taken out of an environment: another source may name the same variable, now or after a reload. */
const taken = new WeakMap<NodeJS.ProcessEnv, Map<string, Secret>>();

/** An environment variable, which is taken out of our own environment so that no child inherits it. */
export function fromEnvironment(name: string, environment: NodeJS.ProcessEnv = process.env): SecretSource {
  const place = `environment variable ${name}`;
  const value = take(name, environment);
  return {
    place,
    read: () => (value === undefined ? Promise.reject(unavailable(place, 'it is not set')) : Promise.resolve(value).then((secret) => secretOf(secret.reveal(), place))),
  };
}

function take(name: string, environment: NodeJS.ProcessEnv): Secret | undefined {
  const values = taken.get(environment) ?? new Map<string, Secret>();
  taken.set(environment, values);
  const value = environment[name];
  if (value !== undefined) values.set(name, new Secret(value));
  Reflect.deleteProperty(environment, name);
  return values.get(name);
}

export interface CommandSourceOptions {
  /** 10 s; then it is ended, and killed if it does not end. */
  readonly timeoutMs?: number;
}

/**
 * What a command writes to its standard output; a program and its arguments, no shell. Nothing that it writes gets
 * into an error, since it may be a secret.
 */
export function fromCommand([program = '', ...args]: readonly string[], { timeoutMs = 10_000 }: CommandSourceOptions = {}): SecretSource {
  const place = `command ${program}`;
  return { place, read: async (context) => secretOf(await output(place, program, args, timeoutMs, context), place) };
}

/** Runs a command whose output is of no interest: a hook that shows something to somebody. */
export async function runHook([program = '', ...args]: readonly string[], timeoutMs: number, context: SourceContext): Promise<void> {
  await output(`command ${program}`, program, args, timeoutMs, context);
}

async function output(place: string, program: string, args: readonly string[], timeoutMs: number, { environment, signal }: SourceContext = {}): Promise<string> {
  try {
    const { stdout } = await execa(program, [...args], {
      stdin: 'ignore',
      stderr: 'ignore',
      timeout: timeoutMs,
      forceKillAfterDelay: 1000,
      maxBuffer: LONGEST_BYTES,
      ...(environment === undefined ? {} : { env: environment }),
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    });
    return stdout;
  } catch (error) {
    // Not as the cause: it carries the output.
    throw unavailable(place, problemOf(error, timeoutMs));
  }
}

function problemOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof ExecaError)) return 'it could not be run';
  if (error.timedOut) return `it did not end within ${timeoutMs} ms`;
  if (error.isCanceled) return 'it was not needed any more';
  if (error.isMaxBuffer) return 'it wrote too much';
  if (error.code !== undefined) return `it could not be run (${error.code})`;
  return error.signal === undefined ? `it ended with status ${error.exitCode ?? 'unknown'}` : `it was ended by ${error.signal}`;
}

/** The checks are made on the open file, which nobody can exchange any more. */
async function readSecretFile(path: string, checkMode: boolean): Promise<Secret> {
  const file = await open(path).catch((error: unknown) => {
    throw unavailable(path, `it cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  });
  try {
    const { mode, uid, size } = await file.stat();
    if ((mode & 0o170000) !== 0o100000) throw unavailable(path, 'it is not a regular file');
    if (checkMode && (mode & 0o077) !== 0) {
      throw unavailable(path, `others than its owner have access to it (mode ${(mode & 0o777).toString(8).padStart(3, '0')})`, `chmod 600 ${path}`);
    }
    if (checkMode && uid !== 0 && uid !== process.geteuid?.()) throw unavailable(path, `it belongs to another user (uid ${uid})`, `chown root ${path}`);
    if (size > LONGEST_BYTES) throw unavailable(path, `it is too long (${size} bytes)`);
    return secretOf(await file.readFile('utf8'), path);
  } finally {
    await file.close();
  }
}
