import { systemClock, type Clock } from './clock.js';
import type { ManagementClient } from './client.js';
import type { OpenVpnEnd } from './ends.js';

export interface ProcessExit {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
}

/** A dead process's socket is closed by the kernel at once; only a child that inherited it could keep it open. */
const LAST_WORDS_MS = 200;

/**
 * The end of OpenVPN by whichever shows it first: EXITING, FATAL, the end of the connection, or the process's exit.
 * The latter two say less than what may still be on its way from the other, which is given a moment. Never rejects.
 * @param exited resolves when the process has ended, where we are its parent
 */
export async function endOf(client: ManagementClient, exited?: Promise<ProcessExit>, clock: Clock = systemClock): Promise<OpenVpnEnd> {
  if (exited === undefined) return client.ending;
  const status = exited.catch((): ProcessExit => ({}));
  const first = await Promise.race([client.ending, status]);
  if ('by' in first && first.by !== 'connection') return first;
  const both = await within(LAST_WORDS_MS, Promise.all([client.ending, status]), clock);
  if (both === undefined) return 'by' in first ? first : exitOf(first, undefined);
  const [said, exit] = both;
  return said.by === 'connection' ? exitOf(exit, said) : said;
}

async function within<T>(limitMs: number, promise: Promise<T>, clock: Clock): Promise<T | undefined> {
  let cancel: (() => void) | undefined;
  const limit = new Promise<undefined>((resolve) => {
    cancel = clock.after(limitMs, () => {
      resolve(undefined);
    });
  });
  const first = await Promise.race([promise, limit]);
  cancel?.();
  return first;
}

function exitOf({ exitCode, signal }: ProcessExit, said: OpenVpnEnd | undefined): OpenVpnEnd {
  return {
    by: 'exit',
    reason: signal ?? `exit status ${exitCode ?? 'unknown'}`,
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(said?.refused === undefined ? {} : { refused: said.refused }),
  };
}
