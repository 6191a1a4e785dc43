import { DaemonError } from '../core/errors.js';
import { decodeState } from './decode.js';
import type { StateEvent } from './events.js';
import { quote } from './parameters.js';
import type { Question } from './questions.js';
import { decodeEcho, decodeLog, decodeRemoteEntry, numberAfter, type EchoEntry, type LogEntry, type RemoteEntry } from './reply-lines.js';
import { Secret } from './secret.js';
import { decodeStatus, type Status } from './status.js';

export interface CommandOptions {
  /** For client-auth, pk-sig, rsa-sig, certificate and `password TYPE`: the lines before END. */
  readonly body?: readonly string[];
  /** From the call to the end of the reply. */
  readonly timeoutMs?: number;
}

export type SignalName = 'SIGHUP' | 'SIGTERM' | 'SIGUSR1' | 'SIGUSR2';
export type AuthRetry = 'none' | 'interact' | 'nointeract';
/** The last so many entries of a history, or all. */
export type History = number | 'all';
export type ProxyAnswer = { readonly type: 'NONE' } | { readonly type: 'HTTP' | 'SOCKS'; readonly host: string; readonly port: number; /** HTTP: no password in clear. */ readonly noCleartext?: boolean };
export type RemoteAnswer = { readonly action: 'ACCEPT' } | { readonly action: 'SKIP'; readonly count?: number } | { readonly action: 'MOD'; readonly host: string; readonly port: number };

/** Every command of the management interface, typed. All reject as `command` does. */
export abstract class CommandSet {
  abstract command(line: string, options?: CommandOptions): Promise<string[]>;
  abstract get question(): Question | undefined;

  /** Lets OpenVPN dial, out of a hold. To be sent once for every HOLD, and for nothing else. */
  async holdRelease(): Promise<void> {
    await this.command('hold release');
  }

  /** Whether the next start or restart will hold. */
  async hold(): Promise<boolean> {
    return (await this.#number('hold', 'hold=')) === 1;
  }

  /** Outlives SIGUSR1 and SIGHUP. */
  async setHold(on: boolean): Promise<void> {
    await this.command(`hold ${on ? 'on' : 'off'}`);
  }

  /** SIGUSR1 is refused while OpenVPN asks for a password: it would end there and then. */
  async signal(name: SignalName): Promise<void> {
    if (name === 'SIGUSR1' && this.question?.type === 'password') {
      throw new DaemonError('MANAGEMENT_INVALID', 'SIGUSR1 would end OpenVPN, which waits for a password', { hint: 'answer the question, or send SIGTERM' });
    }
    await this.command(`signal ${name}`);
  }

  /** Real-time STATE lines from now on; a new connection begins without. */
  async stateOn(): Promise<void> {
    await this.command('state on');
  }

  async stateOff(): Promise<void> {
    await this.command('state off');
  }

  /** The newest state; undefined before the first. While OpenVPN holds, it is of what was before. */
  async state(): Promise<StateEvent | undefined> {
    const [line] = await this.command('state');
    return line === undefined ? undefined : decodeState(line);
  }

  /** Oldest first. A CONNECTED among them says nothing of now. */
  async stateHistory(history: History = 'all'): Promise<StateEvent[]> {
    return typed(await this.command(`state ${history}`), decodeState);
  }

  async logOn(): Promise<void> {
    await this.command('log on');
  }

  async logOff(): Promise<void> {
    await this.command('log off');
  }

  /** As much as `--management-log-cache` keeps (250 lines), oldest first. */
  async logHistory(history: History = 'all'): Promise<LogEntry[]> {
    return typed(await this.command(`log ${history}`), decodeLog);
  }

  async echoOn(): Promise<void> {
    await this.command('echo on');
  }

  async echoOff(): Promise<void> {
    await this.command('echo off');
  }

  async echoHistory(history: History = 'all'): Promise<EchoEntry[]> {
    return typed(await this.command(`echo ${history}`), decodeEcho);
  }

  /** A BYTECOUNT line every so many seconds; 0 for none. */
  async bytecount(intervalSeconds: number): Promise<void> {
    await this.command(`bytecount ${intervalSeconds}`);
  }

  async status(): Promise<Status> {
    return decodeStatus(await this.command('status 3'));
  }

  /** The build, and the interface's version. */
  async version(): Promise<{ readonly title: string; readonly management: number }> {
    const lines = await this.command('version');
    const field = (name: string): string => lines.find((line) => line.startsWith(name))?.slice(name.length) ?? '';
    return { title: field('OpenVPN Version: '), management: Number(field('Management Version: ')) };
  }

  /** Which features we know: 2 PK_SIGN, 3 its algorithm, 4 a user name alone, 5 long passwords (OpenVPN 2.7.3). */
  async setVersion(version: number): Promise<void> {
    await this.command(`version ${version}`);
  }

  help(): Promise<string[]> {
    return this.command('help');
  }

  pid(): Promise<number> {
    return this.#number('pid', 'pid=');
  }

  verb(): Promise<number> {
    return this.#number('verb', 'verb=');
  }

  async setVerb(level: number): Promise<void> {
    await this.command(`verb ${level}`);
  }

  mute(): Promise<number> {
    return this.#number('mute', 'mute=');
  }

  async setMute(count: number): Promise<void> {
    await this.command(`mute ${count}`);
  }

  async authRetry(): Promise<AuthRetry> {
    return (await this.#one('auth-retry')).replace('SUCCESS: auth-retry=', '') as AuthRetry;
  }

  /** After a refusal: end, ask again, or try the same again. */
  async setAuthRetry(retry: AuthRetry): Promise<void> {
    await this.command(`auth-retry ${retry}`);
  }

  async forgetPasswords(): Promise<void> {
    await this.command('forget-passwords');
  }

  /** OpenVPN accepts an empty name and then waits for ever, so it is refused here. */
  async username(realm: string, username: string): Promise<void> {
    if (username === '') throw new DaemonError('MANAGEMENT_INVALID', 'an empty user name does not answer the question');
    await this.command(`username ${quote(realm)} ${quote(username)}`);
  }

  /** Up to 256 bytes; 127 where OpenVPN was built without PKCS#11, which cuts longer ones without a word. */
  async password(realm: string, password: Secret): Promise<void> {
    await this.command(`password ${quote(realm)} ${quote(password.reveal())}`);
  }

  /** Any length that OpenVPN can keep; from OpenVPN 2.7.3, and after `setVersion(5)`. */
  async longPassword(realm: string, password: Secret): Promise<void> {
    if (this.question?.type !== 'password' || this.question.realm !== realm) {
      // OpenVPN would run the lines of the password as commands, and write them to its log.
      throw new DaemonError('MANAGEMENT_INVALID', `OpenVPN does not ask for a password of ${realm}`);
    }
    const lines = Buffer.from(password.reveal()).toString('base64').match(/.{1,64}/g) ?? [];
    await this.command(`password ${quote(realm)}`, { body: lines });
  }

  async needOk(name: string, answer: 'ok' | 'cancel'): Promise<void> {
    await this.command(`needok ${quote(name)} ${answer}`);
  }

  async needStr(name: string, answer: Secret): Promise<void> {
    await this.command(`needstr ${quote(name)} ${quote(answer.reveal())}`);
  }

  /** The answer to a CR_TEXT. */
  async crResponse(response: Secret): Promise<void> {
    await this.command(`cr-response ${quote(Buffer.from(response.reveal()).toString('base64'))}`);
  }

  async proxy(answer: ProxyAnswer): Promise<void> {
    const where = answer.type === 'NONE' ? '' : ` ${quote(answer.host)} ${answer.port}${answer.noCleartext === true ? ' nct' : ''}`;
    await this.command(`proxy ${answer.type}${where}`);
  }

  async remote(answer: RemoteAnswer): Promise<void> {
    const count = answer.action === 'SKIP' && answer.count !== undefined ? ` ${answer.count}` : '';
    const where = answer.action === 'MOD' ? ` ${quote(answer.host)} ${answer.port}` : '';
    await this.command(`remote ${answer.action}${count}${where}`);
  }

  async remoteEntryCount(): Promise<number> {
    return Number(await this.#one('remote-entry-count'));
  }

  /** All, or those from `from` up to, and without, `to`. */
  async remoteEntries(from?: number, to?: number): Promise<RemoteEntry[]> {
    const range = from === undefined ? 'all' : `${from} ${to ?? from + 1}`;
    return typed(await this.command(`remote-entry-get ${range}`), decodeRemoteEntry);
  }

  /** In the first hold OpenVPN 2.6 would end of it, so there it is refused. */
  async pkcs11IdCount(): Promise<number> {
    if (this.question?.type === 'hold') throw new DaemonError('MANAGEMENT_INVALID', 'pkcs11-id-count in a hold can end OpenVPN');
    return this.#number('pkcs11-id-count', 'COUNT:');
  }

  /** The line `>PKCS11ID-ENTRY:…`; its parts are in the event. */
  pkcs11IdGet(index: number): Promise<string> {
    return this.#one(`pkcs11-id-get ${index}`);
  }

  /** The answer to a PK_SIGN; base64 in lines. */
  async pkSig(signature: readonly string[]): Promise<void> {
    await this.#solicited('pk-sig', signature, ['pk-sign', 'rsa-sign']);
  }

  /** The answer to an RSA_SIGN; base64 in lines. */
  async rsaSig(signature: readonly string[]): Promise<void> {
    await this.#solicited('rsa-sig', signature, ['pk-sign', 'rsa-sign']);
  }

  /** The answer to a NEED-CERTIFICATE; PEM or base64 in lines. */
  async certificate(certificate: readonly string[]): Promise<void> {
    await this.#solicited('certificate', certificate, ['need-certificate']);
  }

  /** Clients of a server. */
  nclients(): Promise<number> {
    return this.#number('nclients', 'nclients=');
  }

  async loadStats(): Promise<{ readonly clients: number; readonly bytesIn: number; readonly bytesOut: number }> {
    const line = await this.#one('load-stats');
    return { clients: numberAfter(line, 'nclients='), bytesIn: numberAfter(line, 'bytesin='), bytesOut: numberAfter(line, 'bytesout=') };
  }

  /** By common name, or by `IP:port` (2.7: `proto:IP:port`). */
  async kill(client: string): Promise<void> {
    await this.command(`kill ${quote(client)}`);
  }

  /** The environment that CLIENT notifications carry: 0 all, 1 and 2 less. */
  async envFilter(level: number): Promise<void> {
    await this.command(`env-filter ${level}`);
  }

  /** Lets a client in, with directives as of a client-connect script. */
  async clientAuth(clientId: number, keyId: number, directives: readonly string[] = []): Promise<void> {
    await this.command(`client-auth ${clientId} ${keyId}`, { body: directives });
  }

  async clientAuthNt(clientId: number, keyId: number): Promise<void> {
    await this.command(`client-auth-nt ${clientId} ${keyId}`);
  }

  /** @param clientReason what the client is told, for example a CRV1 challenge */
  async clientDeny(clientId: number, keyId: number, reason: string, clientReason?: string): Promise<void> {
    await this.command(`client-deny ${clientId} ${keyId} ${quote(reason)}${clientReason === undefined ? '' : ` ${quote(clientReason)}`}`);
  }

  async clientKill(clientId: number, message?: string): Promise<void> {
    await this.command(`client-kill ${clientId}${message === undefined ? '' : ` ${quote(message)}`}`);
  }

  /** @param extra for example `CR_TEXT:R,E:text` or `WEB_AUTH::url` */
  async clientPendingAuth(clientId: number, keyId: number, extra: string, timeoutSeconds: number): Promise<void> {
    await this.command(`client-pending-auth ${clientId} ${keyId} ${quote(extra)} ${timeoutSeconds}`);
  }

  /** OpenVPN 2.7. */
  async pushUpdate(options: string, clientId?: number): Promise<void> {
    await this.command(clientId === undefined ? `push-update-broad ${quote(options)}` : `push-update-cid ${clientId} ${quote(options)}`);
  }

  /** Windows only; elsewhere OpenVPN refuses it. */
  net(): Promise<string[]> {
    return this.command('net');
  }

  /** So many lines of nothing. */
  test(lines: number): Promise<string[]> {
    return this.command(`test ${lines}`);
  }

  /** Has OpenVPN hang up. */
  async exit(): Promise<void> {
    await this.command('exit');
  }

  async #one(line: string): Promise<string> {
    return (await this.command(line))[0] ?? '';
  }

  async #number(line: string, name: string): Promise<number> {
    return numberAfter(await this.#one(line), name);
  }

  async #solicited(name: string, body: readonly string[], types: readonly Question['type'][]): Promise<void> {
    if (this.question === undefined || !types.includes(this.question.type)) {
      throw new DaemonError('MANAGEMENT_INVALID', `OpenVPN has not asked for what ${name} answers`);
    }
    await this.command(name, { body });
  }
}

function typed<T>(lines: readonly string[], decode: (line: string) => T | undefined): T[] {
  return lines.flatMap((line) => {
    const entry = decode(line);
    return entry === undefined ? [] : [entry];
  });
}
