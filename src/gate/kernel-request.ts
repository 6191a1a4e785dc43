import { closeSync, openSync } from 'node:fs';
import { DaemonError } from '../core/errors.js';
import type { ExecOptions } from './runner.js';

/** linux/errno-base.h: EPERM */
const notPermitted = 1;

/** Calls with the descriptor of the network namespace, or without one in this process's own. */
export function inNetns({ netns }: ExecOptions, call: (netns: number | undefined) => void): void {
  const namespace = netns === undefined ? undefined : openSync(netns, 'r');
  try {
    call(namespace);
  } finally {
    if (namespace !== undefined) closeSync(namespace);
  }
}

/** The error of a request that the kernel refused for lack of rights; undefined if that was not why. `place`: the command that would do it. */
export function refusedForRights(cause: unknown, place: string): DaemonError | undefined {
  if ((cause as { errno?: unknown }).errno !== notPermitted) return undefined;
  return new DaemonError('NOT_PERMITTED', `${place} is not permitted`, { cause, place, hint: 'run as root, or with CAP_NET_ADMIN' });
}
