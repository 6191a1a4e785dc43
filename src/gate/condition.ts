import { readFileSync, writeFileSync } from 'node:fs';
import type { Gate } from '../core/ports.js';
import { DaemonError, messageOf } from '../core/errors.js';
import { gateCondition } from './names.js';
import type { ExecOptions } from './runner.js';
import type { Switching } from './switching.js';

/** What rules ask for, the strictest first; `open` is when none of them is on. */
const conditions: readonly Gate[] = ['hold', 'reject', 'bypass'];

/**
 * Rules that stay, each with a switch of its own: the match `condition` of Xtables-addons. A condition is a file of
 * /proc/net/nf_condition with 0 or 1 in it, there as long as a rule asks for it; both families ask for the same. To
 * change a gate is to write one of them, or two: then both are on for a moment, and the stricter one decides.
 */
export function conditionSwitching({ procNet = '/proc/self/net' }: ExecOptions = {}): Switching {
  const is = (gate: Gate, id: string): readonly string[] => ['-m', 'condition', '--condition', gateCondition(id, gate)];
  const isNot = (gate: Gate, id: string): readonly string[] => ['-m', 'condition', '!', '--condition', gateCondition(id, gate)];
  const fileOf = (id: string, gate: Gate): string => `${procNet}/nf_condition/${gateCondition(id, gate)}`;
  const write = (id: string, gate: Gate, on: boolean): void => {
    writeFileSync(fileOf(id, gate), on ? '1' : '0', { flag: 'r+' });
  };
  const become = (id: string, to: Gate): void => {
    if (conditions.includes(to)) write(id, to, true);
    for (const gate of conditions) if (gate !== to) write(id, gate, false);
  };
  return {
    suffix: ' with condition',
    gateLists: false,
    matchGate: (gate, { tunnels }, own) => tunnels.map(({ id }) => [...own(id), ...(gate === 'open' ? conditions.flatMap((other) => isNot(other, id)) : is(gate, id))]),
    needs: {
      match: ['-m', 'condition', '--condition', gateCondition('probe', 'hold')],
      missing: 'iptables or the kernel has no match `condition`',
      hint: 'it is part of Xtables-addons (in Debian: apt install xtables-addons-common xtables-addons-dkms); or take another backend with `gate`',
    },
    close: (ids) => {
      for (const id of ids) {
        try {
          become(id, 'hold');
        } catch (cause) {
          if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw failure(cause, fileOf(id, 'hold'));
        }
      }
    },
    change: ({ id }, _from, to) => {
      try {
        become(id, to);
      } catch (cause) {
        throw failure(cause, fileOf(id, to === 'open' ? 'hold' : to));
      }
    },
    read: ({ id }) => {
      try {
        const on = conditions.find((gate) => readFileSync(fileOf(id, gate), 'utf8').startsWith('1'));
        return Promise.resolve(on ?? 'open');
      } catch (cause) {
        return (cause as NodeJS.ErrnoException).code === 'ENOENT' ? Promise.resolve(undefined) : Promise.reject(failure(cause, fileOf(id, 'hold')));
      }
    },
  };
}

function failure(cause: unknown, place: string): DaemonError {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') return new DaemonError('NOT_PERMITTED', `${place} can't be written`, { cause, place, hint: 'run as root' });
  return new DaemonError('FIREWALL_FAILED', code === 'ENOENT' ? 'a rule of ours is not there any more, and its condition with it' : messageOf(cause), { cause, place });
}
