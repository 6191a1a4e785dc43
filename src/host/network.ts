import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { firstValueFrom, Subject, type Subscription } from 'rxjs';
import split2 from 'split2';
import { messageOf } from '../core/errors.js';
import type { ClockPort, LogPort } from '../core/ports.js';
import { changedWays, DEFAULT_ROUTES, goneDevice, isForeign, isLost, LANS, questions, readWays, type Ways } from './ways.js';

export interface NetworkOptions {
  /** The addresses of the VPN servers, asked for anew at each look. */
  readonly remotes: () => readonly string[];
  /** The devices of our tunnels. */
  readonly ownDevices: () => ReadonlySet<string>;
  readonly hasDevice: (device: string) => boolean;
  /** The routing protocol number of our own routes. */
  readonly ownProtocol: number;
}

/** The way to some VPN servers is another one (another device or gateway, another source address, gone or there again), or what is on link. */
export interface NetworkChange {
  /** Whether one of these servers is concerned; without any: whether the default route is. */
  affects(remotes: readonly string[]): boolean;
}

/** `gone` is told at once; a moment later, whether it is still `missing` or `back`. */
export interface DeviceNews {
  readonly device: string;
  readonly is: 'gone' | 'missing' | 'back';
}

/** One change comes as many messages. */
const SETTLE_MS = 100;
/** Between two looks while others change their own network all the time. */
const BUSY_MS = 1000;
/** Whoever ends a link, or starts it over, mostly tells of that before so much time is over. */
const MISSING_MS = 50;
const RESTART_MS = 1000;
const LONGEST_RESTART_MS = 60_000;
const LISTENING_MS = 500;

function startMonitor() {
  return execa('ip', ['-oneline', 'monitor', 'link', 'route'], { stdin: 'ignore', buffer: false, reject: false, cleanup: true });
}

/**
 * Tells when the network under the tunnels changes. `ip monitor` sleeps until the kernel has news (rtnetlink(7)); only
 * news about what is not ours makes us look how the servers are reached now, and what is on link, and only another answer is
 * a change. So containers that come and go, or a second default route that nobody uses, are none.
 */
export class NetworkWatch {
  readonly #changes$ = new Subject<NetworkChange>();
  readonly changes$ = this.#changes$.asObservable();
  readonly #devices$ = new Subject<DeviceNews>();
  /** Devices of our tunnels that go. */
  readonly devices$ = this.#devices$.asObservable();
  readonly #lost$ = new Subject<void>();
  /** Routes of ours to `lo` have gone: also when we took them away. */
  readonly lost$ = this.#lost$.asObservable();
  readonly #options: NetworkOptions;
  readonly #clock: ClockPort;
  readonly #log: LogPort;
  #ways: Ways = new Map();
  #monitor: ReturnType<typeof startMonitor> | undefined;
  #restart: Subscription | undefined;
  #restartMs = RESTART_MS;
  #looking = false;
  #again = false;
  #losing = false;
  #lostMore = false;
  #closed = false;

  private constructor(options: NetworkOptions, clock: ClockPort, log: LogPort) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when nothing is missed any more. Never rejects: without `ip` there are no changes, and the log says so. */
  static async start(options: NetworkOptions, clock: ClockPort, log: LogPort): Promise<NetworkWatch> {
    const watch = new NetworkWatch(options, clock, log);
    watch.#listen();
    await watch.#isListening();
    await watch.#look();
    return watch;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#restart?.unsubscribe();
    this.#monitor?.kill('SIGTERM');
    await this.#monitor;
    this.#changes$.complete();
    this.#devices$.complete();
    this.#lost$.complete();
  }

  #listen(): void {
    const monitor = startMonitor();
    this.#monitor = monitor;
    monitor.stdout.pipe(split2()).on('data', (line: string) => {
      this.#restartMs = RESTART_MS;
      const device = goneDevice(line);
      if (device !== undefined && this.#options.ownDevices().has(device)) void this.#tellGone(device);
      if (isLost(line, this.#options.ownProtocol)) void this.#tellLost();
      if (isForeign(line, this.#options.ownDevices(), this.#options.ownProtocol)) this.#touched();
    });
    // It complains when messages were lost.
    monitor.stderr.on('data', () => {
      this.#touched();
      void this.#tellLost();
    });
    void monitor.then(({ shortMessage }) => { this.#ended(shortMessage ?? 'it ended'); });
  }

  #ended(reason: string): void {
    if (this.#closed) return;
    this.#log.warn({ event: 'network.monitor_ended' }, `changes of the network go unnoticed for ${this.#restartMs} ms: ${reason}`);
    this.#restart = this.#clock.at(this.#clock.now() + this.#restartMs).subscribe(() => {
      this.#listen();
      this.#touched();
      void this.#tellLost();
    });
    this.#restartMs = Math.min(2 * this.#restartMs, LONGEST_RESTART_MS);
  }

  /** Waits for the monitor's socket to be in its multicast groups: /proc/net/netlink says so. */
  async #isListening(): Promise<void> {
    const pid = this.#monitor?.pid;
    const deadline = this.#clock.now() + LISTENING_MS;
    while (pid !== undefined && !isMember(pid) && this.#clock.now() < deadline) await this.#wait(2);
  }

  async #tellGone(device: string): Promise<void> {
    if (this.#options.hasDevice(device)) return;
    this.#devices$.next({ device, is: 'gone' });
    await this.#wait(MISSING_MS);
    if (!this.#closed) this.#devices$.next({ device, is: this.#options.hasDevice(device) ? 'back' : 'missing' });
  }

  /** Once for all that go together; who takes them away all the time is not fought more than once a second. */
  async #tellLost(): Promise<void> {
    this.#lostMore = true;
    if (this.#losing) return;
    this.#losing = true;
    for (let pauseMs = SETTLE_MS; this.#lostMore && !this.#closed; pauseMs = BUSY_MS) {
      await this.#wait(pauseMs);
      this.#lostMore = false;
      this.#lost$.next();
    }
    this.#losing = false;
  }

  /** Something that is not ours has changed. */
  #touched(): void {
    if (this.#looking) this.#again = true;
    else void this.#settle();
  }

  async #settle(): Promise<void> {
    this.#looking = true;
    let pauseMs = SETTLE_MS;
    do {
      await this.#wait(pauseMs);
      this.#again = false;
      pauseMs = (await this.#look()) ? SETTLE_MS : BUSY_MS;
    } while (this.#isTouched() && !this.#closed);
    this.#looking = false;
  }

  #isTouched(): boolean {
    return this.#again;
  }

  /** Compares with the last look; resolves with whether anything changed. */
  async #look(): Promise<boolean> {
    const ways = await this.#find().catch((error: unknown) => {
      this.#log.warn({ event: 'network.look_failed' }, messageOf(error));
      return undefined;
    });
    if (ways === undefined || this.#closed) return false;
    const changed = changedWays(this.#ways, ways);
    this.#ways = ways;
    if (changed.size === 0) return false;
    this.#log.info({ event: 'network.changed', ways: Object.fromEntries([...ways].filter(([address]) => changed.has(address))) }, 'the network under the tunnels is another one');
    this.#changes$.next({ affects: (remotes) => (remotes.length === 0 ? changed.has(DEFAULT_ROUTES) : remotes.some((remote) => changed.has(remote))) });
    return true;
  }

  async #find(): Promise<Ways> {
    const remotes = [...new Set(this.#options.remotes())];
    const own = this.#options.ownDevices();
    const six = remotes.filter((address) => address.includes(':'));
    const four = remotes.filter((address) => !address.includes(':'));
    const [ways4, ways6] = await Promise.all([ask(4, four, own), ask(6, six, own)]);
    const both = [DEFAULT_ROUTES, LANS].map((key) => [key, `${ways4.get(key) ?? ''}\n${ways6.get(key) ?? ''}`] as const);
    return new Map([...ways4, ...ways6, ...both]);
  }

  #wait(ms: number): Promise<unknown> {
    return firstValueFrom(this.#clock.at(this.#clock.now() + ms));
  }
}

async function ask(family: 4 | 6, addresses: readonly string[], own: ReadonlySet<string>): Promise<Ways> {
  // An address that can't be reached is an error of its own line.
  const { stdout } = await execa('ip', [`-${family}`, '-json', '-force', '-batch', '-'], { input: questions(addresses), reject: false });
  return readWays(stdout, addresses, own);
}

/** Columns: socket, protocol (0: rtnetlink), port id (the pid), groups, … */
function isMember(pid: number): boolean {
  try {
    const lines = readFileSync(`/proc/${pid}/net/netlink`, 'utf8').split('\n').map((line) => line.trim().split(/\s+/));
    return lines.some(([, protocol, port, groups = '']) => protocol === '0' && port === String(pid) && Number.parseInt(groups, 16) !== 0);
  } catch {
    return false; // it has ended already
  }
}
