import { request } from '../../src/control/client.js';
import { addresses, devices } from '../lab/addresses.js';
import { Daemon, tunnelName, writeConfiguration, type DaemonOptions } from '../lab/daemon.js';
import type { Lab } from '../lab/lab.js';
import { sleep } from '../lab/wait.js';
import type { Dice } from './dice.js';
import { flushScript, type Flavour } from './flavour.js';

const { service, underlay } = addresses;
const { router: { underlay: wan } } = devices;

/** What a fault happens to. */
export interface Stage {
  readonly lab: Lab;
  readonly flavour: Flavour;
  readonly options: DaemonOptions;
  /** Of the moment: a fault may end one and start another. */
  daemon: Daemon;
}

export interface Fault {
  readonly name: string;
  /** Resolves when everything is there again that a machine has by itself. */
  happen(stage: Stage, dice: Dice): Promise<void>;
}

const tables = ['raw', 'mangle', 'nat', 'filter'];

/** A shell command of somebody who thinks that the firewall is theirs; the daemon may be quicker with its repair than they are. */
async function inRouter({ lab }: Stage, script: string): Promise<void> {
  await lab.topology.router.run('sh', ['-c', script], { reject: false });
}

/** Whatever becomes of the firewall, the catch routes are there: they keep what is protected off the underlay. */
async function catchRoutesStand({ lab }: Stage): Promise<void> {
  const [four, six] = await Promise.all([lab.topology.router.ip(`-4 route show ${service.prefix} dev lo`), lab.topology.router.ip(`-6 route show ${service.prefix6} dev lo`)]);
  if (!four.includes('metric 4000') || !six.includes('metric 4000')) throw new Error(`no catch routes after a flush: ${four} / ${six}`);
}

function flush(name: string, script: (stage: Stage, dice: Dice) => string): Fault {
  return {
    name,
    happen: async (stage, dice) => {
      await inRouter(stage, script(stage, dice));
      await catchRoutesStand(stage);
    },
  };
}

const everyFlavour: readonly Fault[] = [
  {
    name: 'daemon killed',
    happen: async (stage, dice) => {
      await stage.daemon.kill();
      await sleep(dice.upTo(300));
      stage.daemon = await Daemon.start(stage.lab, stage.options);
    },
  },
  {
    name: 'OpenVPN killed',
    happen: async ({ daemon }) => {
      for (const pid of await daemon.openvpnPids()) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // it has ended by itself
        }
      }
    },
  },
  {
    name: 'server gone and back',
    happen: async ({ lab }, dice) => {
      await lab.server.kill();
      await sleep(dice.upTo(1500));
      await lab.server.start();
    },
  },
  {
    name: 'link down and up',
    happen: async ({ lab: { topology: { router } } }, dice) => {
      await router.ip(`link set ${wan} down`);
      await sleep(dice.upTo(1000));
      // what DHCP and router advertisements bring back elsewhere
      await router.batch([`link set ${wan} up`, `addr replace ${underlay.router6}/64 dev ${wan} nodad`, `route replace default via ${underlay.server}`, `route replace ::/0 via ${underlay.server6}`]);
    },
  },
  {
    name: 'tunnel device deleted',
    happen: ({ lab: { topology: { router } } }) => router.ip(`link del ovpn-${tunnelName}`).then(() => undefined, () => undefined), // not there just now
  },
  {
    name: 'configuration reloaded',
    happen: async ({ lab, daemon, options }, dice) => {
      writeConfiguration(lab, { ...options, tunnel: { ...options.tunnel, hold: { ...holdOf(options), packets: 1024 + dice.upTo(2) } } });
      await request(daemon.socket, { command: 'reload' });
    },
  },
  flush('one table flushed', ({ flavour }, dice) => flushScript(flavour, [dice.pick(tables)])),
  flush('all tables flushed', ({ flavour }) => flushScript(flavour, tables)),
  flush('all tables flushed, sets destroyed', ({ flavour }) => `${flushScript(flavour, tables)}; ipset flush; ipset destroy`),
  flush('sets flushed', () => 'ipset flush'),
];

function holdOf({ tunnel }: DaemonOptions): object {
  return (tunnel?.['hold'] ?? {});
}

export const faults: Readonly<Record<Flavour, readonly Fault[]>> = {
  'iptables-nft': [...everyFlavour, flush('nft flush ruleset', () => 'nft flush ruleset')],
  'iptables-legacy': everyFlavour,
};
