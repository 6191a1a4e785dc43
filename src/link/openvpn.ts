import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Subject, type Subscription } from 'rxjs';
import type { LinkEvent } from '../core/events.js';
import { DaemonError, messageOf } from '../core/errors.js';
import type { ClockPort, LinkPort, LogPort } from '../core/ports.js';
import type { Connection, LinkFailure } from '../core/words.js';
import { ManagementListener } from '../management/listen.js';
import { hasDevice } from './device.js';
import { openvpnArguments, routeLines, type OpenvpnOptions } from './arguments.js';
import { readClientConfig, writeClientConfig, type ClientConfig } from './client-config.js';
import { assertProgram } from './program.js';
import { Resolver } from './resolve.js';
import { Session, type SessionEvent } from './session.js';
import { whenUsable } from './usable.js';

type Phase =
  /** No process. */
  | { readonly at: 'none' }
  /** The servers' names are being looked up, or the device is still somebody's. */
  | { readonly at: 'resolving' }
  /** In hold, or on its way there, and nobody wants it up (warm standby). */
  | { readonly at: 'resting'; readonly session: Session }
  | { readonly at: 'dialing' | 'connected'; readonly session: Session }
  | { readonly at: 'ending'; readonly session: Session };

/** How long an OpenVPN that lost its daemon lingers at most. */
const LEFT_OVER_MS = 2000;

/** Between the two SIGTERMs: the notice to the server is on its way. */
const NOTIFY_MS = 50;

/** More of them are made for it. */
const MOST_ROUTES = 256;

/** For a restart back into hold; an OpenVPN that takes longer is ended. */
const REST_MS = 2000;

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
  /** Somebody waits for `link-down`. */
  #owesDown = false;
  #closed: (() => void) | undefined;
  #timer: Subscription | undefined;
  #sessions = 0;
  /** For the next OpenVPN to dial. It is there before: at a wake it would cost a millisecond. */
  #listener: Promise<ManagementListener> | undefined;

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

  /** OpenVPN takes a millisecond for a route; a tap device has gateways, which only it knows. */
  get mostRoutes(): number {
    return this.#client.deviceType === 'tap' ? Infinity : MOST_ROUTES;
  }

  async start(): Promise<void> {
    if (this.#options.standby === 'warm') this.#spawn();
    else this.#prepare();
    return Promise.resolve();
  }

  dial(): void {
    this.#wanted = true;
    this.#owesDown = false;
    const phase = this.#phase;
    if (phase.at === 'none') {
      this.#begin();
    } else if (phase.at === 'resting') {
      this.#timer?.unsubscribe();
      this.#phase = { at: 'dialing', session: phase.session };
      phase.session.want();
    } else if (phase.at === 'ending') {
      phase.session.stop(); // the notice to the server is sent: don't linger
    }
  }

  redial(): void {
    const phase = this.#phase;
    if (phase.at === 'dialing' || phase.at === 'connected') phase.session.restart();
  }

  stop(): void {
    this.#wanted = false;
    this.#owesDown = true;
    const phase = this.#phase;
    if (phase.at === 'none' || phase.at === 'resolving') {
      this.#phase = { at: 'none' };
      this.#down('stopped');
    } else if (phase.at === 'dialing' || phase.at === 'connected') {
      if (phase.at === 'dialing') void this.#resolveAgain();
      if (this.#options.standby === 'warm') this.#rest(phase.session);
      else this.#finish(phase.session);
    } else if (phase.at === 'resting' && phase.session.holding) {
      this.#down('in hold');
    }
  }

  async close(): Promise<void> {
    this.#wanted = false;
    this.#timer?.unsubscribe();
    const phase = this.#phase;
    if (phase.at === 'resolving') this.#phase = { at: 'none' };
    if ('session' in phase) {
      const closed = new Promise<void>((resolve) => { this.#closed = resolve; });
      this.#finish(phase.session);
      await closed;
    }
    await this.#listener?.then((listener) => listener.close(), () => undefined);
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

  /** Perhaps the servers moved. Resolves, as `#resolve` does, when the new addresses can be reached past the gate. */
  async #resolveAgain(): Promise<string | undefined> {
    const before = [...this.remotes].sort().join();
    const problem = await this.#resolve();
    if ([...this.remotes].sort().join() === before) return problem;
    await this.#options.moved();
    // One that waits in hold was given the old addresses.
    if (this.#phase.at === 'resting') this.#finish(this.#phase.session);
    return problem;
  }

  /** The way up from nothing. Without an address no OpenVPN is started. */
  #begin(patienceMs = LEFT_OVER_MS): void {
    if (this.#sessions === 0 && patienceMs > 0 && hasDevice(this.#options.device)) {
      // That of a daemon that was killed: it ends by itself, and until then the device is busy.
      this.#phase = { at: 'resolving' };
      this.#timer = this.#clock.at(this.#clock.now() + 50).subscribe(() => { if (this.#phase.at === 'resolving') this.#begin(patienceMs - 50); });
      return;
    }
    if (this.remotes.length > 0) {
      this.#spawn();
      return;
    }
    this.#phase = { at: 'resolving' };
    void this.#resolveAgain().then((problem) => {
      if (this.#phase.at !== 'resolving') return;
      this.#phase = { at: 'none' };
      if (problem === undefined) this.#spawn();
      else this.#failed({ code: 'resolve', detail: problem });
    });
  }

  #failed(failure: LinkFailure): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    if (failure.code === 'exit') void this.#resolveAgain();
    this.#events$.next({ type: 'link-down', reason: failure.code, failure });
  }

  /** Back to the hold, where it costs no more than a process that sleeps. */
  #rest(session: Session): void {
    if (session.asking) {
      this.#finish(session);
      return;
    }
    this.#phase = { at: 'resting', session };
    session.rest();
    if (session.holding) this.#down('in hold');
    else this.#after(REST_MS, () => { this.#finish(session); });
  }

  /** At most one thing is waited for. */
  #after(ms: number, then: () => void): void {
    this.#timer?.unsubscribe();
    this.#timer = this.#clock.at(this.#clock.now() + ms).subscribe(then);
  }

  #prepare(): void {
    if (this.#phase.at === 'none') this.#listener ??= this.#listen();
  }

  #listen(): Promise<ManagementListener> {
    const listener = ManagementListener.listen({ path: this.#socketOf(this.#sessions + 1) });
    listener.catch(() => undefined); // the session that takes it is told
    return listener;
  }

  /** Each has its own: a late one can't be taken for the next. */
  #socketOf(session: number): string {
    return `${this.#options.folder}/${this.#options.name}.${session}`;
  }

  #spawn(): void {
    const { program, config, device } = this.#options;
    const listener = this.#listener ?? this.#listen();
    this.#listener = undefined;
    this.#sessions += 1;
    const socket = this.#socketOf(this.#sessions);
    const text = [writeClientConfig(this.#text, (host) => this.#resolver.known(host)), ...routeLines(this.#options.routes()), ''].join('\n');
    const session = Session.start({ program, args: openvpnArguments(this.#options, this.#client, { socket, servers: this.remotes.length }), cwd: dirname(config), config: text, listener, device, credentials: this.#options.credentials });
    this.#phase = { at: this.#wanted ? 'dialing' : 'resting', session };
    if (this.#wanted) session.want();
    session.events$.subscribe((event) => { this.#see(session, event); });
  }

  #see(session: Session, event: SessionEvent): void {
    const tunnel = this.#options.name;
    switch (event.type) {
      case 'log':
        this.#log.debug({ event: 'openvpn.log', tunnel }, event.line);
        break;
      case 'held':
        if (this.#phase.at === 'resting') this.#timer?.unsubscribe();
        if (this.#phase.at === 'resting' && this.#owesDown) this.#down('in hold');
        break;
      case 'connected':
        if (this.#phase.at !== 'dialing' && this.#phase.at !== 'connected') break;
        this.#phase = { at: 'connected', session };
        this.#announce(event.connection);
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
      case 'exiting':
        // Its device is gone already; the process itself takes some time more.
        if (this.#phase.at !== 'connected') break;
        this.#timer?.unsubscribe();
        this.#phase = { at: 'ending', session };
        this.#down(event.reason);
        break;
      case 'ended':
        this.#ended(event);
        break;
    }
  }

  /** The link is up when its addresses can be used. */
  #announce(connection: Connection): void {
    this.#timer?.unsubscribe();
    this.#timer = whenUsable(connection, this.#clock).subscribe(() => {
      if (this.#phase.at !== 'connected') return;
      // Somebody may have deleted the device since OpenVPN made it; OpenVPN doesn't care.
      if (hasDevice(connection.device)) this.#events$.next({ type: 'link-up', ...connection });
      else this.#phase.session.restart();
    });
  }

  #finish(session: Session): void {
    this.#phase = { at: 'ending', session };
    session.stop();
    // Lingering would only repeat the notice, and keep the device for a second.
    this.#after(NOTIFY_MS, () => { session.stop(); });
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
    } else if (before === 'dialing') {
      this.#failed(failure);
    } else {
      this.#down(reason);
      // One that died while it waited is started by the next dial: it would die again.
      if (this.#options.standby === 'warm' && before !== 'resting') this.#spawn();
    }
    if (!this.#closed) this.#prepare();
  }

  #down(reason: string): void {
    if (!this.#owesDown && !this.#wanted) return;
    this.#owesDown = false;
    this.#wanted = false;
    this.#events$.next({ type: 'link-down', reason });
  }
}
