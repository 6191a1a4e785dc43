import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { commandLine } from './daemon.js';
import { Janitor } from './janitor.js';
import { Lab, serviceAddress, servicePort } from './lab.js';
import { checkout } from './paths.js';
import { setStage, story, type Stage } from './story.js';
import { Timeline } from './timeline.js';

const usage = `npm run lab [-- --keep]: plays the whole story in network namespaces of its own, with a real OpenVPN
server. Exit status 0 only if every step was seen. Needs root. Ctrl-C at any moment leaves nothing behind.

  --keep   leave it up and print how to look around
  --help   this text
`;

const timeline = new Timeline();
const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } });
if (options.help) {
  process.stdout.write(usage);
} else {
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
    process.on(signal, () => void abandon(code));
  }
  process.exitCode = (await run(options.keep)) ? 0 : 1;
}

/** True if every step was seen. */
async function run(keep: boolean): Promise<boolean> {
  timeline.heading('openvpn-ondemand lab: a LAN host, the router with the daemon, an OpenVPN server, a service behind it');
  timeline.text('      time  gate');
  const lab = await Lab.open();
  try {
    timeline.seen('four namespaces, certificates, an OpenVPN server, a service', 'none');
    const stage = await setStage(lab);
    const tell = logOf(stage);
    tell();
    timeline.seen('the daemon runs in the router; tcpdump watches the underlay', await gateOf(stage));
    const seen = await play(stage, keep, tell);
    timeline.heading(seen ? 'Every step was seen.' : 'Not every step was seen.');
    if (!seen) timeline.text(`\nThe daemon's log:\n${stage.daemon.program.stderr}`);
    if (keep) timeline.text(await leave(stage));
    return seen;
  } catch (error) {
    timeline.missed(error instanceof Error ? error.message : String(error));
    return false;
  } finally {
    if (!keep) await lab.close();
  }
}

async function play(stage: Stage, keep: boolean, tell: () => void): Promise<boolean> {
  const steps = story.filter(({ last }) => !(keep && last));
  for (const { title, play: playStep } of steps) {
    timeline.begins(title, await gateOf(stage));
    const following = setInterval(tell, 50);
    try {
      const seen = await playStep(stage);
      tell();
      timeline.seen(seen, await gateOf(stage));
    } catch (error) {
      tell();
      timeline.missed(error instanceof Error ? error.message : String(error));
      return false; // what follows builds on it
    } finally {
      clearInterval(following);
    }
  }
  return true;
}

/** Each call puts what the daemon has logged since the last one into the timeline. */
function logOf({ daemon }: Stage): () => void {
  let told = 0;
  return () => {
    for (const { msg, time } of daemon.log().slice(told)) {
      told += 1;
      if (typeof msg === 'string' && typeof time === 'string') timeline.event(msg, Date.parse(time));
    }
  };
}

/** As the daemon tells it. */
async function gateOf({ daemon }: Stage): Promise<string> {
  return daemon.program.running ? (await daemon.status()).gate : 'none';
}

/** Leaves everything up; resolves with the commands to look around. */
async function leave({ lab, daemon }: Stage): Promise<string> {
  const remove = await lab.topology.keep();
  const { lan, router, server, service } = lab.topology;
  const command = commandLine.map((part) => relative(checkout, part).startsWith('..') ? 'node' : relative(checkout, part)).join(' ');
  const inside = (name: string): string => `ip netns exec ${name}`;
  return `
It is left up. To look around, from ${checkout}:

  ${command} status --socket ${daemon.socket}
  watch -n 0.2 ${command} status --socket ${daemon.socket}
  ${inside(lan.name)} ${lab.probes.lan.binary} connect ${serviceAddress.ipv4} ${servicePort} 5000   # wakes the tunnel
  ${inside(lan.name)} ${lab.probes.lan.binary} ping ${serviceAddress.ipv6} 5000
  ${inside(server.name)} tcpdump -n -i wan0   # the far end of the underlay
  ${inside(router.name)} ipset list
  ${inside(service.name)} bash
  tail -f ${daemon.logFile}

To remove it:

  ${remove}
`;
}

/** Ctrl-C: everything goes, however far it had come. */
async function abandon(code: number): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(signal);
    process.on(signal, () => { /* once is enough: it is being removed */ });
  }
  timeline.end();
  process.stderr.write('\nremoving the lab …\n');
  await Janitor.abandonAll();
  process.exit(code);
}
