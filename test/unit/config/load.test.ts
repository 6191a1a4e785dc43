import { describe, expect, it } from '@jest/globals';
import { parseConfiguration } from '../../../src/config/load.js';
import { DaemonError } from '../../../src/core/errors.js';

const minimal = `tunnels:
  office:
    openvpn: {config: office.ovpn}
    protect: [10.99.0.0/16, "fd00:99::/48"]
`;

const parse = (text: string) => parseConfiguration(text, '/etc/x/config.yaml');

function problem(text: string): string {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof DaemonError) return error.describe();
    throw error;
  }
  throw new Error('it was accepted');
}

describe('the smallest configuration', () => {
  it('has a default for everything else', () => {
    expect(parse(minimal)).toEqual({
      control: { socket: '/run/openvpn-ondemand/control.sock' },
      gate: 'auto',
      mark: 0x00c00000,
      offload: 'refuse',
      onStop: 'flush',
      log: 'info',
      stateFile: '/var/lib/openvpn-ondemand/state.json',
      tunnels: [{
        name: 'office',
        link: { kind: 'openvpn', config: '/etc/x/office.ovpn', program: 'openvpn', args: [] },
        protect: ['10.99.0.0/16', 'fd00:99::/48'],
        names: [],
        domains: [],
        exclude: [],
        established: 'kill',
        ignore: [],
        wake: 'both',
        device: 'ovpn-office',
        queue: 7500,
        idle: 300_000,
        standby: 'cold',
        hold: { timeout: 30_000, packets: 1024 },
        onFailure: 'reject',
        backoff: { start: 2000, max: 600_000 },
        linger: 200,
        minUp: 0,
      }],
    });
  });

  it('reads what is ignored, in words or by its parts', () => {
    const lines = ['ignore:', '- udp/123', '- tcp/137-139', '- icmp', '- {protocol: udp, port: 5353}', '- {protocol: tcp, port: 1-65535, to: 10.99.7.0/24}', '- {protocol: icmp, to: "fd00:99::/32"}', '- udp'];
    expect(parse(`${minimal}${lines.map((line) => `    ${line}\n`).join('')}`).tunnels[0]?.ignore).toEqual([
      { protocol: 'udp', ports: { first: 123, last: 123 } }, { protocol: 'tcp', ports: { first: 137, last: 139 } }, { protocol: 'icmp' }, { protocol: 'udp', ports: { first: 5353, last: 5353 } },
      { protocol: 'tcp', ports: { first: 1, last: 65535 }, to: '10.99.7.0/24' }, { protocol: 'icmp', to: 'fd00:99::/32' }, { protocol: 'udp' },
    ]);
  });

  it('reads who may wake', () => {
    expect(parse(`${minimal}    wake: forwarded\n    wakeFrom: [lan0, br-*, eth0.10]\n`).tunnels[0]).toMatchObject({ wake: 'forwarded', wakeFrom: ['lan0', 'br-*', 'eth0.10'] });
  });

  it('finds the files of secrets from its own folder', () => {
    const { credentials } = parse(`${minimal}    credentials: {login: {file: login}, passphrase: {file: /k}, code: {command: [totp]}}\n`).tunnels[0]!;
    expect(credentials).toMatchObject({ login: { file: '/etc/x/login' }, passphrase: { file: '/k' }, code: { command: ['totp'] } });
  });

  it('leaves an absolute path as it is', () => {
    expect(parse(minimal.replace('office.ovpn', '/srv/office.ovpn')).tunnels[0]?.link).toMatchObject({ config: '/srv/office.ovpn' });
  });

  it.each([['idle: never', 'never'], ['idle: 90s', 90_000], ['idle: {after: 1.5h}', { after: 5_400_000, by: 'daemon' }], ['idle: {after: 1h, by: openvpn}', { after: 3_600_000, by: 'openvpn' }]])('reads %s', (line, idle) => {
    expect(parse(`${minimal}    ${line}\n`).tunnels[0]?.idle).toEqual(idle);
  });
});

it('domains may be all that a tunnel protects, and then nobody knows what is ignored', () => {
  const [tunnel] = parse(minimal.replace('protect: [10.99.0.0/16, "fd00:99::/48"]', 'domains: [Corp.Example., intranet.example.com]\n    ignore: [{protocol: udp, to: 10.98.0.0/16}]')).tunnels;
  expect(tunnel).toMatchObject({ protect: [], names: [], domains: ['corp.example', 'intranet.example.com'] });
});

describe('host names in `protect`', () => {
  it('stand beside prefixes, each once, in lower case', () => {
    const { protect, names } = parse(minimal.replace('"fd00:99::/48"', 'intranet.example.com, Intranet.Example.COM., wiki, xn--bcher-kva.example')).tunnels[0]!;
    expect({ protect, names }).toEqual({ protect: ['10.99.0.0/16'], names: ['intranet.example.com', 'wiki', 'xn--bcher-kva.example'] });
  });

  it('are enough', () => {
    expect(parse(minimal.replace('10.99.0.0/16, "fd00:99::/48"', 'wiki')).tunnels[0]).toMatchObject({ protect: [], names: ['wiki'] });
  });

  it.each(['10.99.0.256', '10.99.0', '10.99.0.0/16/8', 'a..b', '-a', 'a-', 'a b', '*.example.com', 'example.com/24', 'a.10', `${'a'.repeat(64)}.b`])('%j is none', (text) => {
    expect(problem(minimal.replace('10.99.0.0/16', `"${text}"`))).toContain('4: tunnels.office.protect.0: ');
  });

  it('have no place in `exclude`', () => {
    expect(problem(`${minimal}    exclude: [wiki]\n`)).toContain('5: tunnels.office.exclude.0: "wiki" is not an IPv4 or IPv6 prefix');
  });
});

describe('what is wrong is told with its line and the way out', () => {
  it.each([
    ['    idle: 5 mins', '5: tunnels.office.idle: "5 mins" is not a duration (try 5m)'],
    ['    idle: 90', '5: tunnels.office.idle: is not a duration (like 5m), "never", or {after, by}'],
    ['    hold: {timeout: soon}', '5: tunnels.office.hold.timeout: "soon" is not a duration (like 500ms, 5s, 5m, 1h)'],
    ['    hold:\n      packets: 0', '6: tunnels.office.hold.packets: Too small'],
    ['    ignore: [ntp]', '5: tunnels.office.ignore.0: "ntp": "ntp" is none of tcp, udp, icmp (write it like udp/123)'],
    ['    ignore:\n    - icmp\n    - udp/0', '7: tunnels.office.ignore.1: "udp/0": "0" is no port or range of ports, 1 to 65535 (write it like udp/123 or udp/137-138)'],
    ['    ignore: [udp/138-137]', '5: tunnels.office.ignore.0: "udp/138-137": "138-137" is no port or range of ports'],
    ['    ignore: [tcp/1/2]', '5: tunnels.office.ignore.0: "tcp/1/2": "1/2" is no port'],
    ['    ignore: [icmp/8]', '5: tunnels.office.ignore.0: "icmp/8": icmp has no ports'],
    ['    ignore: [123]', '5: tunnels.office.ignore.0: is not PROTOCOL/PORT (like udp/123) or {protocol, port, to}'],
    ['    ignore: [{protocol: udp, port: 138-137}]', '5: tunnels.office.ignore.0.port: "138-137" is no port or range of ports, 1 to 65535 (like 123 or 137-138)'],
    ['    ignore: [{protocol: udp, port: 65536}]', '5: tunnels.office.ignore.0.port: "65536" is no port or range of ports, 1 to 65535 (like 123 or 137-138)'],
    ['    ignore: [{protocol: icmp, port: 8}]', '5: tunnels.office.ignore.0.port: icmp has no ports'],
    ['    ignore: [{protocol: udp, ports: 8}]', '5: tunnels.office.ignore.0'],
    ['    ignore: [{protocol: udp, to: 10.99.1.1/24}]', '5: tunnels.office.ignore.0.to: "10.99.1.1/24" has bits set behind its length (did you mean 10.99.1.0/24?)'],
    ['    ignore:\n    - {protocol: udp, to: 10.98.0.0/16}', '6: tunnels.office.ignore.0.to: 10.98.0.0/16 is not among what `protect` names: there is nothing to ignore'],
    ['    domains: [corp.example, "*.lab.example"]', '5: tunnels.office.domains.1: is not a domain name'],
    ['    domains: [corp.example]\n  b: {openvpn: {config: a}, domains: [Corp.Example.]}', '6: tunnels.b.domains.0: corp.example is a domain of tunnel office, too'],
    ['    domains: [corp.example]\n  b: {openvpn: {config: a}, protect: [1.2.3.4], queue: 40268}', '6: tunnels.b.queue: 40268 is the queue for the domains of tunnel office (made from its own, 7500)'],
    ['    domains: [corp.example]\noffload: end', '5: tunnels.office.domains: not beside flowtables'],
    ['  b: {openvpn: {config: a}}', '5: tunnels.b.protect: names no prefix'],
    ['    wake: never', '5: tunnels.office.wake: Invalid option: expected one of "both"|"forwarded"|"local"'],
    ['    wakeFrom: []', '5: tunnels.office.wakeFrom: names no device: for none of them, say `wake: local`'],
    ['    wakeFrom: [lan0, "*"]', '5: tunnels.office.wakeFrom.1: is not the name of a device, nor the beginning of names and a * (like lan0 or br-*)'],
    ['    wake: local\n    wakeFrom: [lan0]', '6: tunnels.office.wakeFrom: is about forwarded packets, and with `wake: local` none of them wakes'],
    ['  b: {command: {up: [a], down: [b]}, device: c, protect: [1.2.3.4], standby: warm}', '5: tunnels.b.standby: is about an OpenVPN that this daemon starts'],
    ['  b: {openvpn: {management: "/run/b"}, device: c, protect: [1.2.3.4], standby: warm}', '5: tunnels.b.standby: is about an OpenVPN that this daemon starts'],
    ['  b: {command: {up: [a], down: [b]}, device: c, protect: [1.2.3.4], idle: {after: 5m, by: openvpn}}', '5: tunnels.b.idle: is left to OpenVPN, and a `command` has none'],
    ['  b: {command: {up: [a], down: [b]}, device: c, protect: [1.2.3.4], credentials: {prompt: true}}', '5: tunnels.b.credentials: answer what OpenVPN asks, and a `command` has none'],
    ['    standby: hot', '5: tunnels.office.standby: Invalid option: expected one of "cold"|"warm"'],
    ['    dial: now', '5: tunnels.office.dial: is not an option here'],
    ['    exclude: [10.99.1.1/24]', '5: tunnels.office.exclude.0: "10.99.1.1/24" has bits set behind its length (did you mean 10.99.1.0/24?)'],
    ['  b: {protect: [1.2.3.4]}', '5: tunnels.b: needs either `openvpn` or `command`'],
    ['  b: {command: {up: [a], down: [b]}, protect: [1.2.3.4]}', '5: tunnels.b.device: is missing'],
    ['  b: {command: {up: [], down: [b]}, device: c, protect: [1.2.3.4]}', '5: tunnels.b.command.up: names no program'],
    ['    device: a/b', '5: tunnels.office.device: is not a device name'],
    ['mark: 0x00500000', '5: mark: must have exactly two neighbouring bits set (like 0x00c00000)'],
    ['  a-name-that-is-long: {openvpn: {config: a}, protect: [1.2.3.4]}', '5: tunnels.a-name-that-is-long: the device name "ovpn-a-name-that-is-long" is longer than 15 characters'],
    ['  b: {openvpn: {config: a}, protect: [10.99.0.0/16]}', '5: tunnels.b.protect: 10.99.0.0/16 is protected by tunnel office, too'],
    ['    queue: 9\n  b: {openvpn: {config: a}, protect: [1.2.3.4], queue: 9}', '6: tunnels.b.queue: 9 is the queue of tunnel office, too'],
    ['  b: {openvpn: {config: a}, protect: []}', '5: tunnels.b.protect: names no prefix'],
    ['  b: {openvpn: {}, protect: [1.2.3.4]}', '5: tunnels.b.openvpn.config: is missing'],
    ['  "": {openvpn: {config: a}, protect: [1.2.3.4]}', '5: tunnels.: is not a tunnel name'],
    ['  b: [', 'Flow sequence'],
  ])('%s', (line, said) => {
    expect(problem(`${minimal}${line}\n`)).toContain(said);
  });

  it('names every problem at once, in the order of the lines', () => {
    const lines = problem(`${minimal}    idle: 5 mins\n    onFailure: explode\ngate: maybe\n`).split('\n');
    expect(lines.map((line) => /config\.yaml:(\d+)/.exec(line)?.[1])).toEqual(['5', '6', '7']);
  });

  it.each(['', 'tunnels: {}', 'tunnels:', '[]', 'just words'])('an empty or strange document: %j', (text) => {
    expect(problem(text)).toMatch(/^CONFIG_INVALID: \/etc\/x\/config\.yaml:1: /);
  });
});

describe('queue numbers', () => {
  const tunnel = (name: string, more = ''): string => `  ${name}: {openvpn: {config: a}, device: d-${name}, protect: [10.0.0.${name.charCodeAt(0)}]${more}}\n`;
  const queues = (text: string, present?: ReadonlyMap<string, number>): unknown => Object.fromEntries(parseConfiguration(`tunnels:\n${text}`, 'x.yaml', present).tunnels.map(({ name, queue }) => [name, queue]));

  it('are the first that nobody names', () => {
    expect(queues(tunnel('a') + tunnel('b', ', queue: 7500') + tunnel('c'))).toEqual({ a: 7501, b: 7500, c: 7502 });
  });

  it('stay with the tunnels that run already', () => {
    const present = new Map([['a', 7500], ['b', 7501], ['c', 9]]);
    expect(queues(tunnel('new') + tunnel('b') + tunnel('c'), present)).toEqual({ new: 7500, b: 7501, c: 9 });
    expect(queues(tunnel('a') + tunnel('b') + tunnel('new', ', queue: 7501'), present)).toEqual({ a: 7500, b: 7502, new: 7501 });
  });
});
