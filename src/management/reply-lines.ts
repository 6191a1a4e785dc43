import { decodeEvent } from './decode.js';

export interface LogEntry {
  /** Seconds since 1970. */
  readonly time: number;
  /** Letters of I, F, N, W, D. */
  readonly flags: string;
  readonly text: string;
}

export interface EchoEntry {
  readonly time: number;
  readonly text: string;
}

export interface RemoteEntry {
  readonly index: number;
  readonly host: string;
  readonly port: string;
  readonly protocol: string;
  readonly enabled: boolean;
}

/** A line of the reply to `log`, which is what a `>LOG:` carries. */
export function decodeLog(line: string): LogEntry | undefined {
  const event = decodeEvent(`>LOG:${line}`);
  return event.type === 'log' ? { time: event.time, flags: event.flags, text: event.text } : undefined;
}

export function decodeEcho(line: string): EchoEntry | undefined {
  const event = decodeEvent(`>ECHO:${line}`);
  return event.type === 'echo' ? { time: event.time, text: event.text } : undefined;
}

/** `index,host,port,protocol,enabled|disabled`. */
export function decodeRemoteEntry(line: string): RemoteEntry | undefined {
  const [index, host, port, protocol, status] = line.split(',');
  if (index === undefined || host === undefined || port === undefined || protocol === undefined) return undefined;
  return { index: Number(index), host, port, protocol, enabled: status !== 'disabled' };
}

/** The number behind `name=` in a SUCCESS line; NaN where it is missing. */
export function numberAfter(line: string, name: string): number {
  const at = line.indexOf(name);
  return at < 0 ? Number.NaN : Number(/^\d+/.exec(line.slice(at + name.length))?.[0] ?? Number.NaN);
}
