import { addresses, devices } from '../../lab/addresses.js';
import { Daemon } from '../../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../../lab/lab.js';
import { Program } from '../../lab/program.js';
import { device, PlainOpenvpn, warmDialMs } from './baseline.js';

export interface WakeFigures {
  /** The first packet's way through the router, by tcpdump: from the LAN device to the tunnel device. */
  readonly ms: number;
  /** OpenVPN alone, in the same round. */
  readonly dialMs: number;
  /** Until the LAN host's TCP was connected. */
  readonly connectMs: number;
}

/** One wake and one dial of OpenVPN alone, in turn. */
export async function measureWakes(standby: 'cold' | 'warm', rounds: number, progress: (text: string) => void): Promise<WakeFigures[]> {
  const lab = await Lab.open();
  try {
    const figures: WakeFigures[] = [];
    for (let round = 1; round <= rounds; round++) {
      const dialMs = standby === 'cold' ? await coldDialMs(lab) : await warmDialMs(lab);
      const daemon = await Daemon.start(lab, { tunnel: { standby, idle: 'never' } });
      const filter = `tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and src host ${addresses.lan.host} and dst port ${servicePort}`;
      // Of all devices: that of the tunnel is not there yet.
      const witness = Program.start('tcpdump', ['-i', 'any', '-n', '-tt', '-l', '--immediate-mode', '-s', '128', '-Z', 'root', filter], { netns: lab.topology.router, folder: lab.folder, label: `witness-${standby}-${round}` });
      await witness.says('listening on');
      const answer = await lab.probes.lan.connect(serviceAddress.ipv4, servicePort);
      await witness.says(` ${device} `);
      const ms = between(witness.stdout.split('\n'), devices.router.lan, device);
      await witness.stop();
      await daemon.stop();
      figures.push({ ms, dialMs, connectMs: answer.ms });
      progress(`${standby} ${round}: packet ${ms.toFixed(1)} ms, OpenVPN alone ${dialMs.toFixed(1)} ms`);
    }
    return figures;
  } finally {
    await lab.close();
  }
}

async function coldDialMs(lab: Lab): Promise<number> {
  const plain = await PlainOpenvpn.start(lab);
  await plain.stop();
  return plain.dialMs;
}

/** Milliseconds between the first packet in by one device and the first out by another, in tcpdump's lines of `any`. */
function between(lines: readonly string[], from: string, to: string): number {
  const at = (name: string, way: string): number => Number(lines.find((line) => line.includes(` ${name} `) && line.includes(` ${way} `))?.split(' ')[0]) * 1000;
  return at(to, 'Out') - at(from, 'In');
}
