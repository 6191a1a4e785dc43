import { setTimeout as sleep } from 'node:timers/promises';
import type { Status, TunnelStatus } from '../control/api.js';
import { durationText, statusText } from './render.js';

/** What a terminal does with these (ECMA-48 and xterm): another screen without a cursor, and back; clear from the top. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

const EVERY_MS = 500;

export interface WatchOptions {
  readonly read: () => Promise<Status>;
  readonly output: { readonly isTTY?: boolean; write(text: string): unknown };
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly everyMs?: number;
}

/**
 * Shows the status until `signal`: on a terminal as a table in place, elsewhere as a line for each change of a tunnel's
 * state. Rejects when the daemon no longer answers.
 */
export async function watch({ read, output, now, signal, everyMs = EVERY_MS }: WatchOptions): Promise<void> {
  const show = output.isTTY === true ? screen(output, now) : lines(output, now);
  if (output.isTTY === true) output.write(ENTER);
  try {
    while (!signal.aborted) {
      show(await read());
      await sleep(everyMs, undefined, { signal }).catch(() => undefined); // the end is no error
    }
  } finally {
    if (output.isTTY === true) output.write(LEAVE);
  }
}

function screen(output: WatchOptions['output'], now: () => number): (status: Status) => void {
  return (status) => {
    output.write(`${HOME}${statusTable(status, now()).split('\n').map((line) => line + CLEAR_LINE).join('\n')}\n${CLEAR_BELOW}`);
  };
}

function lines(output: WatchOptions['output'], now: () => number): (status: Status) => void {
  const last = new Map<string, string>();
  return ({ version, tunnels }) => {
    for (const tunnel of tunnels) {
      const state = `${tunnel.state} ${tunnel.since}`;
      if (last.get(tunnel.name) === state) continue;
      last.set(tunnel.name, state);
      output.write(`${new Date(now()).toISOString()} ${statusText({ version, tunnels: [tunnel] }, now())}\n`);
    }
  };
}

const columns: readonly { readonly title: string; readonly value: (tunnel: TunnelStatus, now: number) => string }[] = [
  { title: 'TUNNEL', value: ({ name }) => name },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'FOR', value: ({ since }, now) => durationText(now - Date.parse(since)) },
  { title: 'GATE', value: ({ gate }) => gate },
  { title: 'HELD', value: ({ held }) => String(held.packets) },
  { title: 'WAKES', value: ({ counters }) => String(counters.wakes) },
  { title: 'RELEASED', value: ({ counters }) => String(counters.released) },
  { title: 'DROPPED', value: ({ counters }) => String(counters.dropped) },
  { title: 'REJECTED', value: ({ counters }) => String(counters.rejected) },
  { title: 'DIAL', value: ({ lastWake }) => (lastWake?.dialMs === undefined ? '–' : `${lastWake.dialMs} ms`) },
];

/** One row a tunnel, and below it what `status` says of each. */
export function statusTable(status: Status, now: number): string {
  const rows = [columns.map(({ title }) => title), ...status.tunnels.map((tunnel) => columns.map(({ value }) => value(tunnel, now)))];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const table = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd());
  return [...table, '', statusText(status, now)].join('\n');
}
