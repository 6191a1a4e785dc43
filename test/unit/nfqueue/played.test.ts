import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NfQueue, type PacketBatch, type PacketSnapshot } from 'node-nfqueue';
import { PlayedKernel, type PlayedQueue } from '../../../src/rehearsal/played-kernel.js';

const payload = Buffer.from('4500001d00004000401100000a4d01020a630001c00000350009000000', 'hex');

describe('a queue whose kernel is played', () => {
  let folder: string;
  let kernel: PlayedKernel;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'played-'));
    kernel = await PlayedKernel.listen(join(folder, 'kernel'));
  });

  afterAll(async () => {
    kernel.close();
    await rm(folder, { recursive: true });
  });

  async function opened(): Promise<{ readonly queue: NfQueue; readonly played: PlayedQueue }> {
    const played = kernel.opened();
    const queue = await NfQueue.open({ num: 1, played: join(folder, 'kernel') });
    return { queue, played: await played };
  }

  /** The next packet, copied within the listener's call, which is as long as a view is valid. */
  function heard(queue: NfQueue): Promise<PacketSnapshot | undefined> {
    return new Promise((resolve) => queue.once('packets', (batch: PacketBatch) => { resolve(batch.at(0)?.snapshot()); }));
  }

  it('gets packets that came in and packets of this host, holds them, and is told of its verdicts', async () => {
    const { queue, played } = await opened();
    let packet = heard(queue);
    played.arrive({ payload, from: 'device', device: 1 });
    expect(await packet).toMatchObject({ id: 1, hook: 'prerouting', hwProtocol: 0x800, length: payload.length, inDevice: 'lo', outDevice: undefined, uid: undefined });
    packet = heard(queue);
    played.arrive({ payload, from: { uid: 65_534 }, device: 1 });
    expect(await packet).toMatchObject({ id: 2, hook: 'output', inDevice: undefined, outDevice: 'lo', uid: 65_534, payload: Uint8Array.from(payload) });
    expect(queue.held).toBe(2);
    expect(await queue.release([1, 2], { verdict: 'accept' })).toEqual({ sent: 2, gone: 0, remaining: 0 });
    expect(await queue.release([2], { verdict: 'accept' })).toEqual({ sent: 0, gone: 1, remaining: 0 });
    expect(queue.stats()).toMatchObject({ packets: 2, verdicts: 2, held: 0, kernel: undefined, malformed: 0 });
    await queue.close();
  });

  it('fails when whoever played is gone', async () => {
    const { queue, played } = await opened();
    const failed = new Promise((resolve) => queue.once('error', resolve));
    queue.on('packets', () => undefined);
    played.close();
    expect(await failed).toMatchObject({ code: 'ECONNRESET' });
    await queue.close();
  });

  it('says where nobody plays', async () => {
    await expect(NfQueue.open({ num: 1, played: join(folder, 'nobody') })).rejects.toMatchObject({ code: 'ENOENT', syscall: 'connect' });
    await expect(NfQueue.open({ num: 1, played: join(folder, 'x'.repeat(108)) })).rejects.toMatchObject({ code: 'ENAMETOOLONG', syscall: 'connect' });
  });
});
