import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { QueueEvent } from '../../../src/core/events.js';
import { DEFAULT_MARK, marksOf } from '../../../src/core/marks.js';
import { systemClock } from '../../../src/host/clock.js';
import { HoldQueue } from '../../../src/nfqueue/queue.js';
import { PlayedKernel, type PlayedQueue } from '../../../src/rehearsal/played-kernel.js';
import { until } from '../../lab/wait.js';

const payload = Buffer.from('4500001d00004000401100000a4d01020a630001c00000350009000000', 'hex');
const quiet = (): void => undefined;
/** lo, which plays the tunnel device. */
const device = 1;

describe('what goes into a living tunnel', () => {
  let folder: string;
  let kernel: PlayedKernel;
  let played: PlayedQueue;
  let queue: HoldQueue;
  const events: QueueEvent[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hold-queue-'));
    kernel = await PlayedKernel.listen(join(folder, 'kernel'));
    const opened = kernel.opened();
    queue = await HoldQueue.open(
      { tunnel: 'office', num: 1, packets: 16, device: 'lo', marks: marksOf(DEFAULT_MARK), silent: false },
      { clock: systemClock, log: { debug: quiet, info: quiet, warn: quiet, error: quiet }, othersFirst: () => Promise.resolve(), played: join(folder, 'kernel') },
    );
    played = await opened;
    events.length = 0;
    queue.events$.subscribe((event) => { events.push(event); });
  });

  afterEach(async () => {
    await queue.close();
    kernel.close();
    await rm(folder, { recursive: true });
  });

  const sent = (): void => { played.arrive({ payload, from: { uid: 0 }, device }); };
  const forwarded = (): void => { played.arrive({ payload, from: 'device', device }); };
  const counters = (): object => {
    const { packets, held, released } = queue.stats();
    return { packets, held, released };
  };
  const held = async (all: number): Promise<object> => {
    await until(`${all} have come`, () => queue.stats().held === all, { everyMs: 1 });
    return counters();
  };

  it('is what this host sent by the route into it; what is forwarded stays held', async () => {
    sent();
    forwarded();
    expect(await held(2)).toEqual({ packets: 2, held: 2, released: 0 });
    await queue.releaseLocal();
    expect(counters()).toEqual({ packets: 1, held: 2, released: 1 });
  });

  it('is also what was still on its way from the kernel, of which nobody is told', async () => {
    await queue.releaseLocal();
    sent();
    expect(await held(1)).toEqual({ packets: 0, held: 1, released: 1 });
    expect(events).toEqual([]);
    forwarded();
    expect(await held(2)).toEqual({ packets: 1, held: 2, released: 1 });
    expect(events).toMatchObject([{ type: 'packets-held', count: 1 }]);
  });

  it.each(['hold', 'release'] as const)('is nothing any more after %s', async (next) => {
    await queue.releaseLocal();
    queue[next]();
    if (next === 'release') {
      await until('it is released', () => events.some(({ type }) => type === 'released'), { everyMs: 1 });
      queue.hold();
    }
    sent();
    expect(await held(1)).toEqual({ packets: 1, held: 1, released: 0 });
  });
});
