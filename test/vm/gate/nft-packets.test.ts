import { readFile } from 'node:fs/promises';
import { expect, it } from '@jest/globals';
import { kernelGate } from '../../contract/gate/kernel-gate.js';
import { leftoversContract } from '../../contract/gate/leftovers-contract.js';
import { netfilterContract } from '../../contract/gate/netfilter-contract.js';
import { tunnelOf } from '../../contract/gate/router-lab.js';

netfilterContract('nft');
leftoversContract('nft');

it('an expected change is made even if the process that waited for it is gone', async () => {
  const { lab, gate, clear } = await kernelGate('nft');
  await gate.install([tunnelOf()]);
  gate.expect('office', 'open');
  await gate.counters(); // after it in the line of changes: by now it waits
  const running = await Promise.all((await lab.router.pids()).map(async (pid) => ({ pid, line: (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').join(' ') })));
  const waiting = running.filter(({ line }) => line.startsWith('nft -f -'));
  expect(waiting).toHaveLength(1);
  process.kill(waiting[0]!.pid, 'SIGKILL');
  await gate.set('office', 'open');
  expect(await lab.where('lan', { to: '10.99.0.1' })).toBe('nowhere');
  await clear();
  await lab.dispose();
});
