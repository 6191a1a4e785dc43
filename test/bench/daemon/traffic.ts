import { devices } from '../../lab/addresses.js';
import { Daemon } from '../../lab/daemon.js';
import { Lab, serviceAddress } from '../../lab/lab.js';
import { Program } from '../../lab/program.js';
import { PlainOpenvpn } from './baseline.js';

const PORT = 5201;
const SECONDS = 3;

export interface TrafficFigures {
  /** Megabits a second of one TCP connection through the tunnel. */
  readonly withDaemon: number;
  readonly without: number;
}

/** What a link of an office or a phone carries, at either end of it. */
const LINK = ['rate', '100mbit', 'burst', '64kb', 'latency', '50ms'];

/** What bounds the traffic: a link of 100 Mbit/s, or the processor, which carries both ends of everything here. */
export type Bound = 'link' | 'processor';

/** iperf3 from the LAN host to the service, through the daemon's tunnel and through OpenVPN's alone: in every round twice each, so that neither has the better moment. */
export async function measureTraffic(bound: Bound, rounds: number, progress: (text: string) => void): Promise<TrafficFigures[]> {
  const lab = await Lab.open();
  try {
    if (bound === 'link') {
      for (const [host, device] of [[lab.topology.router, devices.router.underlay], [lab.topology.server, devices.server.underlay]] as const) {
        await host.run('tc', ['qdisc', 'replace', 'dev', device, 'root', 'tbf', ...LINK]);
      }
    }
    const server = Program.start('iperf3', ['--server', '--port', String(PORT), '--forceflush'], { netns: lab.topology.service, folder: lab.folder, label: 'iperf3' });
    await server.says('Server listening');
    const figures: TrafficFigures[] = [];
    for (let round = 1; round <= rounds; round++) {
      const measures = { withDaemon: () => withDaemon(lab), without: () => without(lab) };
      const found = { withDaemon: 0, without: 0 };
      const [first, second] = round % 2 === 0 ? (['withDaemon', 'without'] as const) : (['without', 'withDaemon'] as const);
      for (const name of [first, second, second, first]) found[name] += (await measures[name]()) / 2;
      figures.push(found);
      progress(`iperf3, bound by the ${bound}, ${round}: with ${found.withDaemon.toFixed(1)} Mbit/s, without ${found.without.toFixed(1)} Mbit/s`);
    }
    return figures;
  } finally {
    await lab.close();
  }
}

async function withDaemon(lab: Lab): Promise<number> {
  const daemon = await Daemon.start(lab);
  await daemon.up();
  await daemon.reaches('up');
  const rate = await iperf(lab);
  await daemon.stop();
  return rate;
}

async function without(lab: Lab): Promise<number> {
  const plain = await PlainOpenvpn.start(lab);
  const rate = await iperf(lab);
  await plain.stop();
  return rate;
}

async function iperf(lab: Lab): Promise<number> {
  const text = await lab.topology.lan.run('iperf3', ['--client', serviceAddress.ipv4, '--port', String(PORT), '--time', String(SECONDS), '--omit', '1', '--json']);
  const { end } = JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e6;
}
