import { addresses, devices } from '../../lab/addresses.js';
import { Daemon } from '../../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../../lab/lab.js';
import { Program } from '../../lab/program.js';
import { until } from '../../lab/wait.js';
import { device, PlainOpenvpn, warmDialMs } from './baseline.js';

export interface WakeFigures {
  /** The first packet's way through the router, by tcpdump: from the LAN device to the tunnel device. */
  readonly ms: number;
  /** OpenVPN alone, in the same round. */
  readonly dialMs: number;
  /** Until the LAN host's TCP was connected. */
  readonly connectMs: number;
}

export interface Wakes {
  /** Of a daemon that has just started: its code has not run yet. */
  readonly first: WakeFigures;
  readonly later: readonly WakeFigures[];
}

/** Dials of OpenVPN alone and wakes of one daemon, in turn, in networks that are alike: what the machine does else meets both. */
export async function measureWakes(standby: 'cold' | 'warm', rounds: number, progress: (text: string) => void): Promise<Wakes> {
  const lab = await Lab.open();
  const plain = await Lab.open();
  try {
    const daemon = await Daemon.start(lab, { tunnel: { standby, idle: 'never' } });
    const figures: WakeFigures[] = [];
    for (let round = 0; round <= rounds; round++) {
      const dialMs = standby === 'cold' ? await coldDialMs(plain) : await warmDialMs(plain);
      const { ms, connectMs } = await wake(lab, `${standby}-${round}`);
      figures.push({ ms, dialMs, connectMs });
      progress(`${standby} ${round}: packet ${ms.toFixed(1)} ms, OpenVPN alone ${dialMs.toFixed(1)} ms`);
      await daemon.down();
      await daemon.reaches('idle');
      if (standby === 'cold') await until('OpenVPN has ended', async () => (await daemon.openvpnPids()).length === 0);
    }
    await daemon.stop();
    const [first, ...later] = figures;
    if (first === undefined) throw new Error('there was no wake');
    return { first, later };
  } finally {
    await Promise.all([lab.close(), plain.close()]);
  }
}

async function wake(lab: Lab, label: string): Promise<Pick<WakeFigures, 'ms' | 'connectMs'>> {
  const filter = `tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and src host ${addresses.lan.host} and dst port ${servicePort}`;
  // Of all devices: that of the tunnel is not there yet.
  const witness = Program.start('tcpdump', ['-i', 'any', '-n', '-tt', '-l', '--immediate-mode', '-s', '128', '-Z', 'root', filter], { netns: lab.topology.router, folder: lab.folder, label: `witness-${label}` });
  await witness.says('listening on');
  const answer = await lab.probes.lan.connect(serviceAddress.ipv4, servicePort);
  await witness.says(` ${device} `);
  const ms = between(witness.stdout.split('\n'), devices.router.lan, device);
  await witness.stop();
  return { ms, connectMs: answer.ms };
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
