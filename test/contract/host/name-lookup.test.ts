import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NameAnswer } from '../../../src/host/name-lookup.js';
import { Netns } from '../../lab/netns.js';
import { checkout } from '../../lab/paths.js';

/** Asks for a name beside DNS servers on these addresses that never answer. */
const program = (servers: readonly string[]): string => `
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { systemClock } from '${join(checkout, 'dist/host/clock.js')}';
import { askName } from '${join(checkout, 'dist/host/name-lookup.js')}';
for (const address of ${JSON.stringify(servers)}) await once(createSocket('udp4').bind(53, address), 'listening');
const startedAt = performance.now();
const answer = await askName(systemClock)('intranet.lab');
process.stdout.write(JSON.stringify({ answer, ms: performance.now() - startedAt }), () => process.exit());
`;

describe('what a name stands for', () => {
  let netns: Netns;
  let folder: string;

  beforeEach(async () => {
    netns = await Netns.create('names');
    folder = mkdtempSync(join(tmpdir(), 'ood-names-'));
  });

  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await netns.dispose();
  });

  it('nobody says: servers that are silent are not waited for one after the other', async () => {
    const servers = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
    const [resolvConf, script] = [join(folder, 'resolv.conf'), join(folder, 'ask.mjs')];
    writeFileSync(resolvConf, `${servers.map((server) => `nameserver ${server}\n`).join('')}options timeout:1 attempts:1\n`); // for getaddrinfo(3)
    writeFileSync(script, program(servers));
    const { answer, ms } = JSON.parse(await netns.run('unshare', ['--mount', 'sh', '-ec', `mount --bind ${resolvConf} /etc/resolv.conf; exec ${process.execPath} ${script}`])) as { answer: NameAnswer; ms: number };
    expect(answer).toMatchObject({ problem: expect.stringContaining('intranet.lab') });
    expect([answer.ipv4, answer.ipv6]).toEqual([undefined, undefined]);
    // one after the other they take 15 s
    expect(ms).toBeLessThan(8000);
  }, 60_000);
});
