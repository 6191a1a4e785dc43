import { endianness } from 'node:os';
import { netfilterRequest } from 'node-nfqueue';
import { DaemonError, messageOf } from '../core/errors.js';
import type { CarryOut, RuleChange } from '../core/ports.js';
import { formatAddress, type Net } from '../core/prefix.js';
import { inNetns, refusedForRights } from './kernel-request.js';
import type { ExecOptions } from './runner.js';

/** linux/netfilter/nfnetlink.h, linux/netfilter/ipset/ip_set.h, linux/netlink.h */
const subsystem = 6;
const commands = { add: 9, del: 10 } as const;
const attribute = { protocol: 1, setName: 2, data: 7 | 0x8000 } as const;
const memberName = 18;
/** An address, in the network's order, inside of an attribute. */
const address = { ip: 1 | 0x8000, family4: 1 | 0x4000, family6: 2 | 0x4000 } as const;
const protocol = Uint8Array.of(6);
/** ENOENT for the list, IPSET_ERR_NAME for the set. */
const noSuchSet: readonly unknown[] = [2, 4352];

/** A set becomes a member of a list of sets, or no longer is one, when the call returns; if it is so already, nothing happens. Throws a DaemonError. */
export type ChangeList = (change: 'add' | 'del', list: string, set: string, carryOut?: CarryOut) => void;

/**
 * What `ipset add` and `ipset del` do, without a process: starting one takes milliseconds, in which packets of a flow that
 * is passing would overtake those that wait for their verdict.
 */
export function createChangeList(exec: ExecOptions = {}): ChangeList {
  return (change, list, set, carryOut = (request) => { send(request, exec); }) => {
    changeSet({ change, set: list, data: nested(memberName, Buffer.from(`${set}\0`)), place: `ipset ${change} ${list} ${set}` }, carryOut);
  };
}

/** An address becomes an element of a set, when the call returns; if it is one already, nothing happens. Throws a DaemonError. */
export type AddAddress = (set: string, net: Net, carryOut?: CarryOut) => void;

/** The same for `ipset add` of an address. */
export function createAddAddress(exec: ExecOptions = {}): AddAddress {
  return (set, net, carryOut = (request) => { send(request, exec); }) => {
    const bytes = Buffer.from(net.bits.toString(16).padStart(net.family === 4 ? 8 : 32, '0'), 'hex');
    const data = nested(address.ip, nested(net.family === 4 ? address.family4 : address.family6, bytes));
    changeSet({ change: 'add', set, data, place: `ipset add ${set} ${formatAddress(net)}` }, carryOut);
  };
}

interface SetChange {
  readonly change: 'add' | 'del';
  readonly set: string;
  readonly data: Uint8Array;
  /** The command that would do it. */
  readonly place: string;
}

function changeSet({ change, set, data, place }: SetChange, carryOut: CarryOut): void {
  const attributes = [{ type: attribute.protocol, value: protocol }, { type: attribute.setName, value: set }, { type: attribute.data, value: data }];
  try {
    carryOut({ subsystem, command: commands[change], attributes });
  } catch (cause) {
    throw failure(cause, place);
  }
}

/** struct nlattr: length and type in the host's order, then the content. */
function nested(type: number, content: Uint8Array): Uint8Array {
  const header = endianness() === 'LE' ? [4 + content.length, 0, type & 0xff, type >> 8] : [0, 4 + content.length, type >> 8, type & 0xff];
  return Buffer.concat([Uint8Array.from(header), content]);
}

function send(change: RuleChange, exec: ExecOptions): void {
  inNetns(exec, (netns) => { netfilterRequest({ ...change, netns }); });
}

function failure(cause: unknown, place: string): DaemonError {
  const { errno } = cause as { errno?: unknown };
  return refusedForRights(cause, place) ?? new DaemonError('FIREWALL_FAILED', noSuchSet.includes(errno) ? 'a set of ours is not there any more' : messageOf(cause), { cause, place });
}
