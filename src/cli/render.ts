import type { Finding } from './commands/doctor/finding.js';
import type { LastWake, Status, TunnelStatus } from '../control/api.js';

/** One line a tunnel: what, why, what next. */
export function statusText({ tunnels }: Status, now: number): string {
  return tunnels.map((tunnel) => tunnelText(tunnel, now)).join('\n');
}

function tunnelText({ name, state, since, protect, held, asks, lastWake, lastFailure, gateBroken, lastRepair }: TunnelStatus, now: number): string {
  const age = durationText(now - Date.parse(since));
  const parts = [`${name}: ${state} ${age}`];
  if (state === 'idle') parts.push(`wakes on ${listText(protect)}`);
  if (held.packets > 0) parts.push(`${held.packets} packets held, the oldest for ${durationText(held.oldestMs)}`);
  if ((state === 'backoff' || state === 'locked') && lastFailure) parts.push(`refusing packets: ${lastFailure.detail}`);
  if (gateBroken) parts.push(`the gate was taken away by somebody else and does not stand again yet${gateBroken.detail === undefined ? '' : `: ${gateBroken.detail}`}`);
  // What went in clear is never old news; a repair in time is none.
  if (lastRepair && lastRepair.escaped > 0) parts.push(`${durationText(now - Date.parse(lastRepair.at))} ago somebody else took the gate away for ${durationText(lastRepair.afterMs)}: at most ${lastRepair.escaped} packets went in clear`);
  if (asks !== undefined) parts.push(`asks for: ${asks} (openvpn-ondemand answer ${name})`);
  if (lastWake) parts.push(`last wake ${wakeText(lastWake)}`);
  return parts.join(' · ');
}

/** Prefixes may come from a file of thousands. */
function listText(items: readonly string[]): string {
  const told = 8;
  return items.length <= told ? items.join(', ') : `${items.slice(0, told - 1).join(', ')} and ${items.length - told + 1} more`;
}

function wakeText({ packet, dialMs, released }: LastWake): string {
  const cause = packet ? `${packet.source} → ${packet.destination} ${packet.protocol}${packet.destinationPort === undefined ? '' : `/${packet.destinationPort}`}` : 'by command';
  const took = dialMs === undefined ? '' : ` (up in ${dialMs} ms, ${released ?? 0} released)`;
  return `${cause}${took}`;
}

/** One line a finding, with what to do about it below. */
export function findingsText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ code }) => code.length));
  const lines = findings.flatMap(({ severity, code, message, fix }) => [`${severity.padEnd(8)} ${code.padEnd(width)}  ${message}`, ...(fix === undefined ? [] : [`${' '.repeat(width + 11)}fix: ${fix}`])]);
  const counted = (wanted: Finding['severity']): string => {
    const count = findings.filter(({ severity }) => severity === wanted).length;
    return `${count} ${wanted}${count === 1 || wanted === 'ok' ? '' : 's'}`;
  };
  return [...lines, `${counted('error')}, ${counted('warning')}, ${counted('ok')}`].join('\n');
}

/** The largest unit that says enough: `250ms`, `14s`, `3m`, `2h`, `5d`. */
export function durationText(ms: number): string {
  const units = [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000]] as const;
  const unit = units.find(([, size]) => ms >= size);
  return unit ? `${Math.floor(ms / unit[1])}${unit[0]}` : `${Math.max(0, Math.round(ms))}ms`;
}
