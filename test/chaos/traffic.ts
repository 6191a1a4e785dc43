import { serviceAddress, servicePort, type Lab } from '../lab/lab.js';
import { Program } from '../lab/program.js';
import { sleep } from '../lab/wait.js';

/** UDP datagrams a second, of each flow. */
const rate = 100;
const endless = 1_000_000_000;
const connectMs = 300;

/** Four kinds, forwarded and local, UDP and TCP, each to both families, until it is told to end. */
export function startTraffic({ probes, topology, folder }: Lab, targets: readonly string[] = Object.values(serviceAddress)): () => Promise<void> {
  let ended = false;
  const senders = ['lan', 'router'] as const;
  const flows = senders.flatMap((from) => targets.map((address, index) => Program.start(probes[from].binary, ['send', address, '9000', endless, rate, 64].map(String), { netns: topology[from], folder, label: `flow-${from}-${index}` })));
  const connecting = senders.map(async (from) => {
    for (let turn = 0; !ended; turn++) {
      await probes[from].connect(targets[turn % targets.length]!, servicePort, connectMs);
      await sleep(10);
    }
  });
  return async () => {
    if (ended) return;
    ended = true;
    await Promise.all([...flows.map((flow) => flow.stop()), ...connecting]);
  };
}
