import { routeRequest } from 'node-nfqueue';
import { DaemonError, messageOf } from '../core/errors.js';
import type { Family } from '../core/prefix.js';
import { inNetns, refusedForRights } from './kernel-request.js';
import { routeProtocol } from './names.js';
import { closingRuleText, type ClosingRule } from './routes.js';
import type { ExecOptions } from './runner.js';

/** linux/rtnetlink.h, linux/netlink.h (NLM_F_CREATE and NLM_F_EXCL) */
const messages = { add: { type: 32, flags: 0x600 }, del: { type: 33, flags: 0 } } as const;
/** linux/fib_rules.h */
const attribute = { iifName: 3, priority: 6, mark: 10, table: 15, markMask: 16, protocol: 21 } as const;
const toTable = 1;
/** linux/socket.h: AF_INET, AF_INET6 */
const addressFamily = { 4: 2, 6: 10 } as const;

/** A rule comes or goes, when the call returns. Throws a DaemonError, ROUTE_FAILED also if it was so already. */
export type ChangeRule = (change: 'add' | 'del', family: Family, rule: ClosingRule) => void;

/**
 * What `ip rule add` and `ip rule del` do, without a process: a release waits for the rules of its tunnel, and where many
 * tunnels go down together the next wake would wait for two processes of each.
 */
export function createChangeRule(exec: ExecOptions = {}): ChangeRule {
  return (change, family, rule) => {
    const { type, flags } = messages[change];
    // struct fib_rule_hdr; the table does not fit
    const header = Uint8Array.of(addressFamily[family], 0, 0, 0, 0, 0, 0, toTable, 0, 0, 0, 0);
    const attributes = [
      { type: attribute.priority, value: word(rule.priority) },
      { type: attribute.iifName, value: 'lo' },
      { type: attribute.mark, value: word(0) },
      { type: attribute.markMask, value: word(rule.mask) },
      { type: attribute.table, value: word(rule.table) },
      { type: attribute.protocol, value: Uint8Array.of(routeProtocol) },
    ];
    try {
      inNetns(exec, (netns) => { routeRequest({ type, flags, header, attributes, netns }); });
    } catch (cause) {
      const place = `ip -${family} rule ${change} ${closingRuleText(rule)}`;
      throw refusedForRights(cause, place) ?? new DaemonError('ROUTE_FAILED', messageOf(cause), { cause, place });
    }
  };
}

/** In the host's order. */
function word(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
