import { closeSync, openSync } from 'node:fs';
import { netfilterRequest } from 'node-nfqueue';
import { DaemonError, messageOf } from '../core/errors.js';
import type { CarryOut, RuleChange } from '../core/ports.js';
import type { ExecOptions } from './runner.js';

/** linux/netfilter/nfnetlink.h, linux/netfilter/ipset/ip_set.h */
const subsystem = 6;
const swapCommand = 6;
const attribute = { protocol: 1, setName: 2, otherName: 3 } as const;
const protocol = Uint8Array.of(6);
/** ENOENT for the first set, IPSET_ERR_EXIST_SETNAME2 for the other. */
const noSuchSet: readonly unknown[] = [2, 4101];
const notPermitted = 1;

/** Two sets change places, in one step, when the call returns. Throws a DaemonError. */
export type SwapSets = (one: string, other: string, carryOut?: CarryOut) => void;

/**
 * What `ipset swap` does, without a process: starting one takes milliseconds, in which packets of a flow that is passing
 * would overtake those that wait for their verdict.
 */
export function createSwapSets(exec: ExecOptions = {}): SwapSets {
  return (one, other, carryOut = (change) => { send(change, exec); }) => {
    const attributes = [{ type: attribute.protocol, value: protocol }, { type: attribute.setName, value: one }, { type: attribute.otherName, value: other }];
    try {
      carryOut({ subsystem, command: swapCommand, attributes });
    } catch (cause) {
      throw failure(cause, `ipset swap ${one} ${other}`);
    }
  };
}

function send(change: RuleChange, { netns }: ExecOptions): void {
  const namespace = netns === undefined ? undefined : openSync(netns, 'r');
  try {
    netfilterRequest({ ...change, netns: namespace });
  } finally {
    if (namespace !== undefined) closeSync(namespace);
  }
}

function failure(cause: unknown, place: string): DaemonError {
  const { errno } = cause as { errno?: unknown };
  if (errno === notPermitted) return new DaemonError('NOT_PERMITTED', `${place} is not permitted`, { cause, place, hint: 'run as root, or with CAP_NET_ADMIN' });
  return new DaemonError('FIREWALL_FAILED', noSuchSet.includes(errno) ? 'a set of ours is not there any more' : messageOf(cause), { cause, place });
}
