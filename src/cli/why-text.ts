import type { LastWake, Why } from '../control/api.js';
import { durationText } from './render.js';

/** What, why, what next: one sentence a line, then the last wakes. */
export function whyText({ name, state, since, wakes, keptUp, until, lastFailure }: Why, now: number): string {
  const ago = (time: string): string => `${durationText(now - Date.parse(time))} ago`;
  const away = (time: string): string => `in ${durationText(Date.parse(time) - now)}`;
  const lines = [`${name}: ${state} since ${durationText(now - Date.parse(since))}`];
  if (keptUp) lines.push(`  last traffic ${ago(keptUp.lastTraffic)}; ${keptUp.until === undefined ? 'this daemon does not take it down for idleness' : `goes down ${away(keptUp.until)} if there is no more`}`);
  if (lastFailure && (state === 'backoff' || state === 'locked')) lines.push(`  packets are refused: ${lastFailure.detail} (${lastFailure.code})`);
  if (state === 'locked') lines.push(`  tried again by: openvpn-ondemand up ${name}`);
  if (until !== undefined) lines.push(`  until ${until} (${away(until)})`);
  if (wakes.length > 0) lines.push('  last wakes:', ...wakes.map((wake) => `    ${ago(wake.at)}: ${wakeText(wake)}`));
  return lines.join('\n');
}

function wakeText({ packet, steps = [], dialMs, releaseMs, released }: LastWake): string {
  const parts = [packet ? packetText(packet) : 'by command'];
  if (steps.length > 0) parts.push(steps.map(({ name, ms }) => `${name} ${ms} ms`).join(', '));
  if (dialMs !== undefined) parts.push(`up after ${dialMs} ms`);
  if (released !== undefined) parts.push(`${released} packets released in ${releaseMs ?? 0} ms`);
  return parts.join(' · ');
}

function packetText({ source, sourcePort, destination, destinationPort, protocol, interface: device, uid, process }: NonNullable<LastWake['packet']>): string {
  const end = (address: string, port?: number): string => (port === undefined ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
  const who = device === undefined ? ['of this host', ...(uid === undefined ? [] : [`uid ${uid}`]), ...(process === undefined ? [] : [process])].join(', ') : `from ${device}`;
  return `${protocol} ${end(source, sourcePort)} → ${end(destination, destinationPort)} (${who})`;
}
