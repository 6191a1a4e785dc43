import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addresses } from './addresses.js';
import { Program } from './program.js';
import type { Topology } from './topology.js';
import { until } from './wait.js';

/** A real DNS server (dnsmasq) beside the OpenVPN server, on the underlay. */
export class NameServer {
  readonly #topology: Topology;
  readonly #folder: string;
  #program: Program | undefined;
  #started = 0;

  private constructor(topology: Topology) {
    this.#topology = topology;
    this.#folder = join(topology.folder, 'names');
    mkdirSync(this.#folder);
    writeFileSync(join(this.#folder, 'resolv.conf'), `nameserver ${addresses.underlay.server}\noptions timeout:1 attempts:1\n`);
    this.write('etc-hosts', {});
    this.write('hosts', {});
  }

  /** Is there, and does not answer yet. */
  static create(topology: Topology): NameServer {
    return new NameServer(topology);
  }

  /** A command that runs another one which asks this server: with a resolv.conf and a hosts file of its own. */
  get wrapper(): readonly string[] {
    const file = (name: string): string => join(this.#folder, name);
    return ['unshare', '--mount', 'sh', '-c', `mount --bind ${file('resolv.conf')} /etc/resolv.conf && mount --bind ${file('etc-hosts')} /etc/hosts && exec "$@"`, 'sh'];
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    this.#started += 1;
    const args = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', `--addn-hosts=${join(this.#folder, 'hosts')}`, '--local=/lab/', '--local-ttl=1', `--listen-address=${addresses.underlay.server}`, '--bind-interfaces', '--user=root', `--pid-file=${join(this.#folder, 'pid')}`, '--log-queries', '--log-facility=-'];
    this.#program = Program.start('dnsmasq', args, { netns: this.#topology.server, folder: this.#topology.folder, label: `dnsmasq-${this.#started}` });
    await this.#program.says('read ');
  }

  /** What its names stand for from now on. */
  async say(names: Readonly<Record<string, readonly string[]>>): Promise<void> {
    this.write('hosts', names);
    const program = this.#program;
    if (!program) return;
    const before = program.stderr.split('read ').length;
    program.signal('SIGHUP');
    await until('dnsmasq has read its names', () => program.stderr.split('read ').length > before);
  }

  /** Writes a file like hosts(5): `hosts` is the server's, `etc-hosts` the one of who is run by `wrapper`. */
  write(file: 'hosts' | 'etc-hosts', names: Readonly<Record<string, readonly string[]>>): void {
    writeFileSync(join(this.#folder, file), Object.entries(names).flatMap(([name, all]) => all.map((address) => `${address} ${name}\n`)).join(''));
  }

  /** The names that it was asked for so far. */
  get asked(): readonly string[] {
    return [...(this.#program?.stderr ?? '').matchAll(/query\[A+\] (\S+) /g)].map(([, name = '']) => name);
  }
}
