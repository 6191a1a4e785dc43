import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** Plays as much of OpenVPN's part as a wake hears, to everybody who connects to the socket at `path`; listens when it resolves. */
export async function playOpenvpn(path: string): Promise<Server> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    // Some servers push IPv6, some don't; and not every OpenVPN tells of its steps.
    serve(socket, connections % 2 === 0 ? ',2001:db8::1' : '', connections % 4 < 2 ? ['WAIT', 'AUTH', 'GET_CONFIG'] : []);
  }).listen(path);
  await once(server, 'listening');
  return server;
}

function serve(socket: Socket, tunIpv6: string, steps: readonly string[]): void {
  const say = (...lines: readonly string[]): void => { socket.write(lines.map((line) => `${line}\r\n`).join('')); };
  const state = (name: string, description = '', [tunIpv4, remote, port]: readonly string[] = ['', '', '']): string => `>STATE:${[1, name, description, tunIpv4, remote, port, '', ''].join(',')}`;
  const hold = '>HOLD:Waiting for hold release:0';
  say('>INFO:OpenVPN Management Interface Version 5', hold);
  socket.on('error', () => undefined);
  socket.on('data', (data) => {
    for (const command of data.toString().split('\n').filter(Boolean)) {
      if (command === 'hold release') say('SUCCESS: hold release succeeded', ...steps.map((name) => state(name)), `${state('CONNECTED', 'SUCCESS', ['192.0.2.1', '192.0.2.2', '1194'])}${tunIpv6}`);
      else if (command === 'signal SIGUSR1') say('SUCCESS: signal SIGUSR1 thrown', state('RECONNECTING', 'SIGUSR1'), hold);
      else say(command === 'state' ? 'END' : 'SUCCESS: done');
    }
  });
}
