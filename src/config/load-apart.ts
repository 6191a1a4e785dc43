import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { DaemonError, type ErrorCode } from '../core/errors.js';
import type { Queues, Settings } from './load.js';

/** What the process of load-child.ts prints. */
export type Loaded =
  | { readonly settings: Settings }
  | { readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined; readonly place: string | undefined } };

const child = fileURLToPath(new URL('load-child.js', import.meta.url));

/**
 * `loadConfiguration` in a process that ends with it: what reads and checks a configuration (yaml, zod) is nine megabytes
 * that an idle daemon has no use for. Rejects as that does.
 */
export async function loadApart(file: string, queues: Queues = new Map()): Promise<Settings> {
  const { stdout } = await execa(process.execPath, [child, file, JSON.stringify([...queues])], { stdin: 'ignore', stderr: 'inherit', maxBuffer: Infinity });
  const loaded = JSON.parse(stdout) as Loaded;
  if ('settings' in loaded) return loaded.settings;
  const { code, message, hint, place } = loaded.error;
  throw new DaemonError(code, message, { ...(hint === undefined ? {} : { hint }), ...(place === undefined ? {} : { place }) });
}
