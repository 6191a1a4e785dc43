import { closeSync, openSync } from 'node:fs';
import { endianness } from 'node:os';
import { netfilterRequest } from 'node-nfqueue';
import { DaemonError, messageOf } from '../core/errors.js';
import type { CarryOut, RuleChange } from '../core/ports.js';
import type { ExecOptions } from './runner.js';

/** linux/netfilter/nfnetlink.h, linux/netfilter/ipset/ip_set.h, linux/netlink.h */
const subsystem = 6;
const commands = { add: 9, del: 10 } as const;
const attribute = { protocol: 1, setName: 2, data: 7 | 0x8000 } as const;
const memberName = 18;
const protocol = Uint8Array.of(6);
/** ENOENT for the list, IPSET_ERR_NAME for the set. */
const noSuchSet: readonly unknown[] = [2, 4352];
const notPermitted = 1;

/** A set becomes a member of a list of sets, or no longer is one, when the call returns; if it is so already, nothing happens. Throws a DaemonError. */
export type ChangeList = (change: 'add' | 'del', list: string, set: string, carryOut?: CarryOut) => void;

/**
 * What `ipset add` and `ipset del` do, without a process: starting one takes milliseconds, in which packets of a flow that
 * is passing would overtake those that wait for their verdict.
 */
export function createChangeList(exec: ExecOptions = {}): ChangeList {
  return (change, list, set, carryOut = (request) => { send(request, exec); }) => {
    const attributes = [{ type: attribute.protocol, value: protocol }, { type: attribute.setName, value: list }, { type: attribute.data, value: nested(memberName, set) }];
    try {
      carryOut({ subsystem, command: commands[change], attributes });
    } catch (cause) {
      throw failure(cause, `ipset ${change} ${list} ${set}`);
    }
  };
}

/** struct nlattr: length and type in the host's order, the text with a NUL at its end. */
function nested(type: number, text: string): Uint8Array {
  const content = Buffer.from(`${text}\0`);
  const header = endianness() === 'LE' ? [4 + content.length, 0, type, 0] : [0, 4 + content.length, 0, type];
  return Buffer.concat([Uint8Array.from(header), content]);
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
