import { closeSync, openSync } from 'node:fs';
import { NfQueueError, netfilterRequest } from 'node-nfqueue';
import { DaemonError } from '../core/errors.js';
import type { ExecOptions } from './runner.js';

/** linux/netfilter/nfnetlink.h, linux/netfilter/ipset/ip_set.h */
const subsystem = 6;
const swapCommand = 6;
const attribute = { protocol: 1, setName: 2, otherName: 3 } as const;
const protocol = Uint8Array.of(6);
const noSuchSet: readonly (number | undefined)[] = [2, 4101];

/** Two sets change places, in one step, when the call returns. Throws a DaemonError. */
export type SwapSets = (one: string, other: string) => void;

/**
 * What `ipset swap` does, without a process: starting one takes milliseconds, in which packets of a flow that is passing
 * would overtake those that wait for their verdict.
 */
export function createSwapSets({ netns }: ExecOptions = {}): SwapSets {
  return (one, other) => {
    const attributes = [{ type: attribute.protocol, value: protocol }, { type: attribute.setName, value: one }, { type: attribute.otherName, value: other }];
    const namespace = netns === undefined ? undefined : openSync(netns, 'r');
    try {
      netfilterRequest({ subsystem, command: swapCommand, attributes, netns: namespace });
    } catch (cause) {
      throw cause instanceof NfQueueError ? failure(cause, `ipset swap ${one} ${other}`) : cause;
    } finally {
      if (namespace !== undefined) closeSync(namespace);
    }
  };
}

function failure(cause: NfQueueError, place: string): DaemonError {
  if (cause.code === 'EPERM') return new DaemonError('NOT_PERMITTED', `${place} is not permitted`, { cause, place, hint: 'run as root, or with CAP_NET_ADMIN' });
  const said = noSuchSet.includes(cause.errno) ? 'a set of ours is not there any more' : cause.message;
  return new DaemonError('FIREWALL_FAILED', said, { cause, place });
}
