import { DaemonError } from '../core/errors.js';
import { RefusalMemory } from './refusals.js';
import type { CredentialAnswer, CredentialRequest } from './requests.js';
import { Secret } from './secret.js';
import { runHook, type SecretSource, type SourceContext } from './sources.js';

export interface CredentialProvider {
  /**
   * The answer, or undefined where this provider has none. May take as long as a person needs; `signal` says that
   * nobody waits any more.
   * @throws DaemonError CREDENTIALS_UNAVAILABLE
   */
  for(request: CredentialRequest, signal?: AbortSignal): Promise<CredentialAnswer | undefined>;
  /** Answers only when somebody is there: not asked whether it has something new. */
  readonly attended?: boolean;
}

export interface SourceOptions {
  /** User name and password of `Auth`: from one source in two lines, or the name given and the password from a source. */
  readonly login?: LoginSource;
  /** The same of other realms: `HTTP Proxy`, `SOCKS Proxy`. */
  readonly logins?: Readonly<Record<string, LoginSource>>;
  /** Of the private key. */
  readonly passphrase?: SecretSource;
  /** One-time codes, for every kind of challenge. A command is told of it by CHALLENGE_TEXT and CHALLENGE_USERNAME. */
  readonly code?: SecretSource;
  /** Answers to NEED-STR by name. */
  readonly strings?: Readonly<Record<string, SecretSource>>;
  /** A command that shows an address to somebody; it is in OPEN_URL of its environment, where no process list has it. */
  readonly openUrl?: { readonly command: readonly string[]; readonly timeoutMs?: number };
}

export type LoginSource = { readonly lines: SecretSource } | { readonly username: string; readonly password: SecretSource };

/** Unattended answers: files, systemd credentials, environment variables and commands. */
export class SourceProvider implements CredentialProvider {
  readonly #options: SourceOptions;

  constructor(options: SourceOptions) {
    this.#options = options;
  }

  async for(request: CredentialRequest, signal?: AbortSignal): Promise<CredentialAnswer | undefined> {
    const context: SourceContext = signal === undefined ? {} : { signal };
    const { passphrase, code, strings, openUrl } = this.#options;
    switch (request.kind) {
      case 'login':
        return this.#login(request.realm, context);
      case 'username': {
        const login = await this.#login(request.realm, context);
        return login && { kind: 'username', username: login.username };
      }
      case 'passphrase':
        return secretFrom(request.realm === 'Private Key' ? passphrase : undefined, context);
      case 'response':
        return secretFrom(code, { ...context, environment: { CHALLENGE_TEXT: request.text, CHALLENGE_USERNAME: request.username ?? '' } });
      case 'string':
        return secretFrom(strings?.[request.name], context);
      case 'open-url':
        if (openUrl === undefined) return undefined;
        await runHook(openUrl.command, openUrl.timeoutMs ?? 10_000, { ...context, environment: { OPEN_URL: request.url } });
        return { kind: 'shown' };
      case 'confirm':
        return undefined;
    }
  }

  async #login(realm: string, context: SourceContext): Promise<Extract<CredentialAnswer, { kind: 'login' }> | undefined> {
    const source = realm === 'Auth' ? (this.#options.login ?? this.#options.logins?.[realm]) : this.#options.logins?.[realm];
    if (source === undefined) return undefined;
    if ('username' in source) return { kind: 'login', username: source.username, password: await source.password.read(context) };
    const [username = '', password] = (await source.lines.read(context)).reveal().split(/\r?\n/);
    if (username === '' || password === undefined || password === '') {
      throw new DaemonError('CREDENTIALS_UNAVAILABLE', 'it has not the two lines of a user name and a password', { place: source.lines.place });
    }
    return { kind: 'login', username, password: new Secret(password) };
  }
}

async function secretFrom(source: SecretSource | undefined, context: SourceContext): Promise<CredentialAnswer | undefined> {
  return source && { kind: 'secret', secret: await source.read(context) };
}

/**
 * The credentials of one tunnel, over all of its connections and processes: several providers, asked in their order,
 * and a memory of what was refused, which is never given out again.
 */
export class Credentials {
  readonly memory: RefusalMemory;
  readonly #providers: readonly CredentialProvider[];

  /** @param memory of what was refused before, if these credentials follow others */
  constructor(providers: readonly CredentialProvider[], memory = new RefusalMemory()) {
    this.#providers = providers;
    this.memory = memory;
  }

  /** Undefined if nobody has an answer, or none but a refused one: trying again would lock the account. */
  async for(request: CredentialRequest, signal?: AbortSignal): Promise<CredentialAnswer | undefined> {
    return this.#first(this.#providers, request, signal);
  }

  /**
   * Whether there is, without anybody's help, an answer that was not refused yet. A command that gives one-time codes
   * should not be asked so: its code would be used up.
   */
  async hasNew(request: CredentialRequest): Promise<boolean> {
    try {
      return (await this.#first(this.#providers.filter(({ attended }) => attended !== true), request)) !== undefined;
    } catch {
      return false;
    }
  }

  async #first(providers: readonly CredentialProvider[], request: CredentialRequest, signal?: AbortSignal): Promise<CredentialAnswer | undefined> {
    for (const provider of providers) {
      const answer = await provider.for(request, signal);
      if (answer !== undefined && !this.memory.knows(request, answer)) return answer;
    }
    return undefined;
  }
}
