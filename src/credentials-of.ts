import type { TunnelSettings } from './config/load.js';
import { AttendedPrompts } from './management/attended.js';
import { Credentials, SourceProvider, type SourceOptions } from './management/credentials.js';
import { RefusalMemory } from './management/refusals.js';
import { fromCommand, fromEnvironment, fromFile, fromSystemdCredential, type SecretSource } from './management/sources.js';

type Settings = NonNullable<TunnelSettings['credentials']>;
type Source = NonNullable<Settings['password']>;

/** What OpenVPN's questions are answered from, and the person who is asked what is left. */
export interface TunnelCredentials {
  readonly credentials: Credentials | undefined;
  readonly prompts: AttendedPrompts | undefined;
  /** What a server may ask for while it waits: OpenVPN's IV_SSO. */
  readonly signOn: readonly string[];
}

/** What was refused, by tunnel and credentials: a reload that changes something else of the tunnel must not forget it. */
const memories = new Map<string, RefusalMemory>();

export function credentialsOf(tunnel: string, settings: Settings | undefined): TunnelCredentials {
  if (!settings) return { credentials: undefined, prompts: undefined, signOn: [] };
  const prompts = settings.prompt ? new AttendedPrompts() : undefined;
  const providers = [new SourceProvider(sourcesOf(settings)), ...(prompts ? [prompts] : [])];
  const signOn = [...(settings.prompt || settings.openUrl ? ['webauth', 'openurl'] : []), ...(settings.prompt || settings.code ? ['crtext'] : [])];
  return { credentials: new Credentials(providers, memoryOf(tunnel, settings)), prompts, signOn };
}

function memoryOf(tunnel: string, settings: Settings): RefusalMemory {
  const key = JSON.stringify([tunnel, settings]);
  const memory = memories.get(key) ?? new RefusalMemory();
  memories.set(key, memory);
  return memory;
}

function sourcesOf({ login, username, password, passphrase, code, openUrl }: Settings): SourceOptions {
  return {
    ...(login ? { login: { lines: sourceOf(login) } } : {}),
    ...(username !== undefined && password ? { login: { username, password: sourceOf(password) } } : {}),
    ...(passphrase ? { passphrase: sourceOf(passphrase) } : {}),
    ...(code ? { code: sourceOf(code) } : {}),
    ...(openUrl ? { openUrl: { command: openUrl.command, timeoutMs: openUrl.timeout } } : {}),
  };
}

function sourceOf(source: Source): SecretSource {
  if ('file' in source) return fromFile(source.file);
  if ('systemd' in source) return fromSystemdCredential(source.systemd);
  if ('env' in source) return fromEnvironment(source.env);
  return fromCommand(source.command, { timeoutMs: source.timeout });
}
