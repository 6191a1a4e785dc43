import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Subject, type Subscription } from 'rxjs';
import type { LinkEvent } from '../core/events.js';
import { DaemonError, messageOf } from '../core/errors.js';
import type { ClockPort, LinkPort, LogPort } from '../core/ports.js';
import type { Connection, LinkFailure } from '../core/words.js';
import { openvpnArguments, routeLines, type OpenvpnOptions } from './arguments.js';
import { readClientConfig, writeClientConfig, type ClientConfig } from './client-config.js';
import { hasTentativeAddress } from './device.js';
import { assertProgram } from './program.js';
import { Resolver } from './resolve.js';
import { Session, type SessionEvent } from './session.js';

type Phase =
  /** No process. */
  | { readonly at: 'none' }
  /** The servers' names are being looked up. */
  | { readonly at: 'resolving' }
  /** A process on its way to its first hold, or in a hold. */
  | { readonly at: 'waiting'; readonly session: Session; readonly held: boolean }
  | { readonly at: 'dialing' | 'connected'; readonly session: Session }
  /** On its way back to a hold (warm standby). */
  | { readonly at: 'resting'; readonly session: Session }
  | { readonly at: 'ending'; readonly session: Session };

/** Between the two SIGTERMs: the notice to the server is on its way. */
const NOTIFY_MS = 50;

/** In milliseconds; where duplicates can be (tap), the kernel takes a second, and waiting for it would be worse. */
const MAX_TENTATIVE_MS = 100;

/** An OpenVPN that this daemon starts, releases from hold, and ends (or lets wait in hold: warm). */
export class OpenvpnLink implements LinkPort {
  readonly #events$ = new Subject<LinkEvent>();
  readonly events$ = this.#events$.asObservable();
  readonly #options: OpenvpnOptions;
  readonly #clock: ClockPort;
  readonly #log: LogPort;
  readonly #resolver = new Resolver();
  readonly #text: string;
  readonly #client: ClientConfig;
  #phase: Phase = { at: 'none' };
  /** Somebody wants the link up. */
  #wanted = false;
  /** The next hold is answered at once. */
  #hurried = false;
  /** Somebody waits for `link-down`. */
  #owesDown = false;
  #closed: (() => void) | undefined;
  #timer: Subscription | undefined;
  #sessions = 0;

  private constructor(options: OpenvpnOptions, text: string, client: ClientConfig, clock: ClockPort, log: LogPort) {
    this.#options = options;
    this.#text = text;
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
  }

  /** Reads the client configuration and looks its servers up. Rejects with CONFIG_UNREADABLE or CONFIG_INVALID. */
  static async create(options: OpenvpnOptions, clock: ClockPort, log: LogPort): Promise<OpenvpnLink> {
    const place = options.config;
    await assertProgram(options.program, 'install OpenVPN (in Debian: openvpn), or name it with `openvpn.program`');
    const text = await readFile(place, 'utf8').catch((cause: unknown) => {
      throw new DaemonError('CONFIG_UNREADABLE', `OpenVPN's configuration can't be read: ${messageOf(cause)}`, { cause, place, hint: 'name it with `openvpn.config`' });
    });
    const client = readClientConfig(text);
    if (client.remotes.length === 0) throw new DaemonError('CONFIG_INVALID', 'has no `remote`: it is not the configuration of a client', { place });
    if (client.conflicts.length > 0) log.warn({ event: 'link.options_ignored', tunnel: options.name, options: client.conflicts }, `ignored in ${place}, the daemon gives its own: ${client.conflicts.join(', ')}`);
    const link = new OpenvpnLink(options, text, client, clock, log);
    await link.#resolve();
    return link;
  }

  /** Whether the configuration file still says what it said. */
  async isCurrent(): Promise<boolean> {
    return (await readFile(this.#options.config, 'utf8').catch(() => undefined)) === this.#text;
  }

  /** Addresses of the servers, as far as they are known. */
  get remotes(): readonly string[] {
    return this.#client.remotes.flatMap(({ host }) => this.#resolver.known(host));
  }

  async start(): Promise<void> {
    if (this.#options.standby === 'warm') this.#spawn();
    return Promise.resolve();
  }

  dial(): void {
    this.#wanted = true;
    this.#owesDown = false;
    const phase = this.#phase;
    if (phase.at === 'none') this.#begin();
    else if (phase.at === 'waiting' && phase.held) this.#release(phase.session, 0);
    else if (phase.at === 'ending') phase.session.stop(); // the notice to the server is sent: don't linger
  }

  redial(): void {
    const phase = this.#phase;
    if (!this.#wanted) return;
    if (phase.at === 'waiting' && phase.held) this.#release(phase.session, 0);
    else if (phase.at === 'dialing' || phase.at === 'connected') this.#restart(phase.session);
  }

  stop(): void {
    this.#wanted = false;
    this.#owesDown = true;
    const phase = this.#phase;
    switch (phase.at) {
      case 'none':
        this.#down('stopped');
        break;
      case 'resolving':
        this.#phase = { at: 'none' };
        this.#down('stopped');
        break;
      case 'waiting':
        if (this.#options.standby === 'warm' && phase.held) this.#down('in hold');
        else this.#finish(phase.session);
        break;
      case 'dialing':
      case 'connected':
        if (phase.at === 'dialing') void this.#resolve(); // perhaps the servers moved
        if (this.#options.standby === 'warm') {
          this.#phase = { at: 'resting', session: phase.session };
          phase.session.restart();
        } else {
          this.#finish(phase.session);
        }
        break;
      case 'resting':
      case 'ending':
        break;
    }
  }

  async close(): Promise<void> {
    this.#wanted = false;
    this.#timer?.unsubscribe();
    const phase = this.#phase;
    if ('session' in phase) {
      const closed = new Promise<void>((resolve) => { this.#closed = resolve; });
      this.#finish(phase.session);
      await closed;
    }
    this.#events$.complete();
  }

  /** Looks all names up, keeping old answers where there is no new one; resolves with what is wrong if no server has an address. */
  async #resolve(): Promise<string | undefined> {
    const problems: string[] = [];
    for (const { host } of this.#client.remotes) {
      await this.#resolver.resolve(host).catch((error: unknown) => {
        problems.push(messageOf(error));
        this.#log.warn({ event: 'link.unresolved', tunnel: this.#options.name, host }, messageOf(error));
      });
    }
    return this.remotes.length > 0 ? undefined : problems.join('; ');
  }

  /** The way up from nothing. Without an address no OpenVPN is started. */
  #begin(): void {
    if (this.remotes.length > 0) {
      this.#spawn();
      return;
    }
    this.#phase = { at: 'resolving' };
    void this.#resolve().then((problem) => {
      if (this.#phase.at !== 'resolving') return;
      this.#phase = { at: 'none' };
      if (problem === undefined) this.#spawn();
      else this.#failed({ code: 'resolve', detail: problem });
    });
  }

  #failed(failure: LinkFailure): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    if (failure.code === 'exit') void this.#resolve(); // perhaps the servers moved
    this.#events$.next({ type: 'link-down', reason: failure.code, failure });
  }

  /** OpenVPN goes back to its hold, and comes up from there without the pause that it would make. */
  #restart(session: Session): void {
    this.#phase = { at: 'dialing', session };
    this.#hurried = true;
    session.restart();
  }

  #spawn(): void {
    const { program, config, device, folder, name } = this.#options;
    this.#sessions += 1;
    const socket = `${folder}/${name}.${this.#sessions}`;
    const text = [writeClientConfig(this.#text, (host) => this.#resolver.known(host)), ...routeLines(this.#options.routes), ''].join('\n');
    const session = Session.start({ program, args: openvpnArguments(this.#options, this.#client, { socket, servers: this.remotes.length }), cwd: dirname(config), config: text, socket, device });
    this.#phase = { at: 'waiting', session, held: false };
    session.events$.subscribe((event) => { this.#see(session, event); });
  }

  #see(session: Session, event: SessionEvent): void {
    const tunnel = this.#options.name;
    switch (event.type) {
      case 'log':
        this.#log.debug({ event: 'openvpn.log', tunnel }, event.line);
        break;
      case 'held':
        this.#held(session, event.waitSeconds);
        break;
      case 'connected':
        if (this.#phase.at !== 'dialing' && this.#phase.at !== 'connected') break;
        this.#phase = { at: 'connected', session };
        this.#announce(event.connection, MAX_TENTATIVE_MS);
        break;
      case 'reconnecting':
        if (this.#phase.at !== 'connected' && this.#phase.at !== 'dialing') break;
        this.#phase = { at: 'dialing', session };
        this.#events$.next({ type: 'link-reconnecting', reason: event.reason });
        break;
      case 'failed':
        if (this.#phase.at === 'ending') break;
        this.#finish(session);
        this.#failed(event.failure);
        break;
      case 'progress':
        if (this.#phase.at === 'dialing') this.#events$.next({ type: 'link-progress', step: event.step });
        break;
      case 'ended':
        this.#ended(event);
        break;
    }
  }

  /** The link is up when its addresses can be used. */
  #announce(connection: Connection, patienceMs: number): void {
    if (connection.addresses.ipv6 === undefined || patienceMs === 0 || !hasTentativeAddress(connection.device)) {
      this.#events$.next({ type: 'link-up', ...connection });
      return;
    }
    this.#timer?.unsubscribe();
    this.#timer = this.#clock.at(this.#clock.now() + 1).subscribe(() => {
      if (this.#phase.at === 'connected') this.#announce(connection, patienceMs - 1);
    });
  }

  #held(session: Session, waitSeconds: number): void {
    const phase = this.#phase;
    if (phase.at === 'ending') return;
    this.#phase = { at: 'waiting', session, held: true };
    const pause = this.#hurried ? 0 : waitSeconds;
    this.#hurried = false;
    if (this.#wanted) this.#release(session, pause);
    else if (this.#owesDown) this.#down('in hold');
  }

  /** Answers a hold once, after the time that OpenVPN itself would have waited. */
  #release(session: Session, waitSeconds: number): void {
    this.#timer?.unsubscribe();
    const now = (): void => {
      this.#phase = { at: 'dialing', session };
      session.release();
    };
    if (waitSeconds === 0) now();
    else this.#timer = this.#clock.at(this.#clock.now() + waitSeconds * 1000).subscribe(() => { if (this.#wanted && this.#phase.at === 'waiting') now(); });
  }

  #finish(session: Session): void {
    this.#phase = { at: 'ending', session };
    this.#timer?.unsubscribe();
    session.stop();
    // Lingering would only repeat the notice, and keep the device for a second.
    this.#timer = this.#clock.at(this.#clock.now() + NOTIFY_MS).subscribe(() => { session.stop(); });
  }

  #ended({ reason, failure }: SessionEvent & { type: 'ended' }): void {
    const before = this.#phase.at;
    this.#timer?.unsubscribe();
    this.#phase = { at: 'none' };
    this.#log.info({ event: 'link.ended', tunnel: this.#options.name, reason }, `OpenVPN ended: ${reason}`);
    if (this.#closed) {
      this.#closed();
    } else if (before === 'ending' && this.#wanted) {
      this.#spawn();
    } else if (before === 'ending' || before === 'resting' || before === 'connected') {
      this.#down(reason);
      if (this.#options.standby === 'warm' && before !== 'resting') this.#spawn();
    } else {
      this.#failed(failure);
    }
  }

  #down(reason: string): void {
    if (!this.#owesDown && !this.#wanted) return;
    this.#owesDown = false;
    this.#wanted = false;
    this.#events$.next({ type: 'link-down', reason });
  }
}
