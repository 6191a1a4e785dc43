import { connect } from 'node:net';
import split2 from 'split2';
import { DaemonError, messageOf } from '../core/errors.js';
import type { Reply, Request, Status } from './api.js';

/** Asks the daemon for its status. Rejects with CONTROL_UNREACHABLE, or with the daemon's own error. */
export async function requestStatus(path: string): Promise<Status> {
  return (await request(path, { command: 'status' })) as Status;
}

/** One request, one reply: the reply's data, or the daemon's error. */
export async function request(path: string, message: Request): Promise<unknown> {
  const reply = await exchange(path, message);
  if (reply.ok) return reply.data;
  const { code, message: text, hint, place } = reply.error;
  throw new DaemonError(code, text, { ...(hint === undefined ? {} : { hint }), ...(place === undefined ? {} : { place }) });
}

/** Whether a daemon answers there. */
export async function isServed(path: string): Promise<boolean> {
  return exchange(path, { command: 'status' }).then(() => true, () => false);
}

function exchange(path: string, message: Request): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const unreachable = (cause?: unknown): void => {
      const reason = cause === undefined ? 'it hung up' : messageOf(cause);
      reject(new DaemonError('CONTROL_UNREACHABLE', `no daemon answers: ${reason}`, { cause, place: path, hint: 'is it running (`openvpn-ondemand run`)? Name its socket with --socket' }));
    };
    socket.on('error', unreachable);
    socket.on('close', () => { unreachable(); });
    socket.on('connect', () => { socket.write(`${JSON.stringify(message)}\n`); });
    socket.pipe(split2()).on('data', (line: string) => {
      resolve(JSON.parse(line) as Reply);
      socket.end();
    });
  });
}
