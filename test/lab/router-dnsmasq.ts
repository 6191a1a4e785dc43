import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addresses } from './addresses.js';
import { commandLine, type Daemon } from './daemon.js';
import type { Lab } from './lab.js';
import { NameServer } from './name-server.js';
import { Program } from './program.js';

/** dnsmasq on the router, which the router's programs and the LAN ask, with the lines that the daemon prints for it. */
export class RouterDnsmasq {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** Resolves when it answers, with what another server on the underlay says of these names. */
  static async start(lab: Lab, daemon: Daemon, names: Readonly<Record<string, readonly string[]>>): Promise<RouterDnsmasq> {
    const { router } = lab.topology;
    const upstream = NameServer.create(lab.topology);
    await upstream.say(names);
    await upstream.start();
    const file = join(lab.folder, 'dnsmasq.conf');
    writeFileSync(file, `${await router.run(commandLine[0], [commandLine[1], 'dnsmasq', '--config', daemon.configFile])}\n`);
    const args = ['--keep-in-foreground', `--conf-file=${file}`, '--no-hosts', '--no-resolv', `--server=${addresses.underlay.server}`, `--listen-address=${addresses.lan.router},127.0.0.1`, '--bind-interfaces', '--user=root', `--pid-file=${join(lab.folder, 'dnsmasq.pid')}`, '--log-facility=-'];
    const program = Program.start('dnsmasq', args, { netns: router, folder: lab.folder, label: 'dnsmasq-router' });
    await program.says('started');
    return new RouterDnsmasq(lab);
  }

  /** The first address that a name has, for a program there. */
  ask(from: 'lan' | 'router', name: string, kind: 'A' | 'AAAA' = 'A'): Promise<string> {
    const server = from === 'lan' ? addresses.lan.router : '127.0.0.1';
    const script = `const resolver = new (require('node:dns').promises.Resolver)(); resolver.setServers(['${server}']); resolver.resolve('${name}', '${kind}').then(([first]) => console.log(first))`;
    return this.#lab.topology[from].run(process.execPath, ['-e', script]);
  }
}
