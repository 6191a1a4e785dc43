import { isIP } from 'node:net';
import { z } from 'zod';
import { durationHint, durationMs } from '../core/duration.js';
import { DEFAULT_MARK } from '../core/marks.js';
import type { IgnoredPackets } from '../core/ports.js';
import { parseIgnored, parsePorts, protocols } from './ignored.js';
import { parsePrefix } from './prefix.js';

const duration = z
  .string({ error: 'is not a duration (like 500ms, 5s, 5m, 1h)' })
  .transform((text, context) => {
    const value = durationMs(text);
    if (value !== undefined) return value;
    const hint = durationHint(text);
    context.addIssue({ code: 'custom', message: `"${text}" is not a duration (${hint === undefined ? 'like 500ms, 5s, 5m, 1h' : `try ${hint}`})` });
    return z.NEVER;
  })
  .meta({ description: 'A duration: 500ms, 5s, 5m, 1h', pattern: '^\\d+(\\.\\d+)?(ms|s|m|h|d)$' });

const prefix = z
  .string({ error: 'is not a prefix (like 10.99.0.0/16 or fd00:99::/48)' })
  .transform((text, context) => {
    const result = parsePrefix(text);
    if ('prefix' in result) return result.prefix;
    context.addIssue({ code: 'custom', message: result.problem });
    return z.NEVER;
  })
  .meta({ description: 'An IPv4 or IPv6 prefix, or an address alone', pattern: '^[0-9a-fA-F:.]+(/\\d{1,3})?$' });

const prefixFile = z.strictObject({ file: z.string().min(1) }).describe('A file of prefixes, one a line; # begins a comment');

/** RFC 1123, section 2.1; the last label is not a number alone, so that no mistyped address passes for a name (WHATWG URL, 3.5). */
const hostName = /^(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*(?=[A-Za-z0-9-]*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$/;

const name = z
  .string()
  .regex(hostName, 'is not a host name')
  .transform((text) => ({ name: text.toLowerCase().replace(/\.$/, '') }))
  .meta({ description: 'A host name: what it stands for is protected' });

const domain = z
  .string()
  .regex(hostName, 'is not a domain name')
  .transform((text) => text.toLowerCase().replace(/\.$/, ''))
  .meta({ description: 'A domain name: it stands for itself and all names below it' });

const protectedElement = z.union([prefix, name, prefixFile], { error: 'is not a prefix (like 10.99.0.0/16 or fd00:99::/48), a host name or {file}' });

const excluded = z.union([prefix, prefixFile], { error: 'is not a prefix (like 10.99.0.0/16 or fd00:99::/48) or {file}' });

const device = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/, 'is not a device name (1 to 15 letters, digits, "_", "." or "-")')
  .describe('The tunnel device; only packets that leave by it may go to `protect`. Default: ovpn-NAME');

const idle = z
  .union([
    z.literal('never'),
    duration,
    z.strictObject({ after: duration, by: z.enum(['daemon', 'openvpn']).default('daemon').describe('daemon: our own counters; openvpn: its --inactive') }),
  ], { error: 'is not a duration (like 5m), "never", or {after, by}' })
  .describe('How long without traffic until the tunnel goes down');

const address = z.string().refine((text) => isIP(text) !== 0, 'is not an IPv4 or IPv6 address');

const started = z
  .strictObject({
    config: z.string().min(1).describe('OpenVPN client configuration (.ovpn)'),
    program: z.string().min(1).default('openvpn').describe('The openvpn program'),
    args: z.array(z.string()).default([]).describe('More options for openvpn, as on its command line'),
  })
  .describe('A tunnel that this daemon starts and stops');

const sourceForms = [
  z.strictObject({ file: z.string().min(1).describe('A file that its owner alone may read') }),
  z.strictObject({ systemd: z.string().min(1).describe('A credential of the systemd unit (LoadCredential=)') }),
  z.strictObject({ env: z.string().min(1).describe('An environment variable of the daemon; no child inherits it') }),
  z.strictObject({ command: z.array(z.string()).min(1), timeout: duration.prefault('10s') }).describe('What a command writes to its standard output; no shell'),
] as const;

const source = z.union(sourceForms, { error: 'is not a source: {file}, {systemd}, {env} or {command}' }).describe('Where a secret comes from; it is read anew whenever it is needed');

const credentials = z
  .strictObject({
    login: source.optional().describe('User name and password, in two lines'),
    username: z.string().min(1).optional(),
    password: source.optional().describe('The password of `username`'),
    passphrase: source.optional().describe('Of the private key'),
    code: source.optional().describe('One-time codes, for every kind of challenge'),
    openUrl: z.strictObject({ command: z.array(z.string()).min(1), timeout: duration.prefault('10s') }).optional().describe('Shows the address in OPEN_URL to somebody (web authentication)'),
    prompt: z.boolean().default(false).describe('What is not given here is asked of a person: `openvpn-ondemand answer NAME`'),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), { error: 'needs both `username` and `password`, or neither', path: ['username'] })
  .refine(({ login, username }) => login === undefined || username === undefined, { error: 'stands beside `login`, which has the user name already', path: ['username'] });

const managed = z
  .strictObject({
    management: z.string().regex(/^(\/.+|\[?[^[\]]+\]?:\d{1,5})$/, 'is not HOST:PORT or the path of a unix socket').describe('HOST:PORT, or the path of a unix socket'),
    passwordFile: z.string().min(1).optional().describe('The password of the management interface; its owner alone may read it'),
    remotes: z.array(address).default([]).describe('Addresses of the servers, which this host reaches outside of the tunnel; or give OpenVPN `mark` (README)'),
  })
  .describe('An OpenVPN that somebody else starts, with --management and --management-hold');

const ignoredText = z
  .string()
  .transform((text, context): IgnoredPackets => {
    const result = parseIgnored(text);
    if ('ignored' in result) return result.ignored;
    context.addIssue({ code: 'custom', message: result.problem });
    return z.NEVER;
  })
  .meta({ description: 'PROTOCOL, PROTOCOL/PORT or PROTOCOL/PORT-PORT: udp/123, udp/137-138, icmp', pattern: '^(icmp|(tcp|udp)(/\\d{1,5}(-\\d{1,5})?)?)$' });

const ports = z
  .union([z.int().meta({ minimum: 1, maximum: 65_535 }), z.string().regex(/^\d{1,5}(-\d{1,5})?$/)], { error: 'is no port or range of ports, 1 to 65535 (like 123 or 137-138)' })
  .transform((value, context) => {
    const range = parsePorts(String(value));
    if (range !== undefined) return range;
    context.addIssue({ code: 'custom', message: `"${value}" is no port or range of ports, 1 to 65535 (like 123 or 137-138)` });
    return z.NEVER;
  });

const ignoredParts = z
  .strictObject({ protocol: z.enum(protocols), port: ports.optional(), to: prefix.optional().describe('Only what is spoken to in this prefix') })
  .refine(({ protocol, port }) => protocol !== 'icmp' || port === undefined, { error: 'icmp has no ports', path: ['port'] })
  .transform(({ protocol, port, to }): IgnoredPackets => ({ protocol, ...(port === undefined ? {} : { ports: port }), ...(to === undefined ? {} : { to }) }));

const ignored = z
  .union([ignoredText, ignoredParts], { error: 'is not PROTOCOL/PORT (like udp/123) or {protocol, port, to}' })
  .describe('By the port of the side that is spoken to, and that side\'s address');

const inputDevice = z
  .string()
  .regex(/^([A-Za-z0-9][A-Za-z0-9_.-]{0,14}|[A-Za-z0-9][A-Za-z0-9_.-]{0,13}\*)$/, 'is not the name of a device, nor the beginning of names and a * (like lan0 or br-*)');

const argument = z.string().refine((text) => !text.includes('\0'), 'has a NUL byte, which no argument can have');

const argv = z.array(argument).min(1, 'names no program').describe('A program and its arguments; no shell');

const command = z
  .strictObject({
    up: argv.describe('Brings the link up'),
    down: argv.describe('Takes it down'),
    ready: z.enum(['exit', 'signal']).default('exit').describe('The link is up when `up` ends with status 0, or when the daemon is told: SIGUSR1, or `openvpn-ondemand ready NAME`'),
    remotes: z.array(address).default([]).describe('Addresses that the link itself must reach outside of it (a WireGuard endpoint)'),
    downTimeout: duration.prefault('10s').describe('A `down` that takes longer is ended'),
  })
  .describe('Any two commands in place of OpenVPN');

const tunnel = z.strictObject({
  openvpn: z.union([started, managed], { error: 'needs `config` (we start it) or `management` (somebody else does)' }).optional(),
  credentials: credentials.optional().describe('What OpenVPN asks for'),
  command: command.optional(),
  protect: z.array(protectedElement).default([]).describe('The prefixes and hosts that may be reached through this tunnel only'),
  domains: z.array(domain).default([]).describe('Domains whose addresses are protected, too, as dnsmasq finds them; `openvpn-ondemand dnsmasq` prints what it needs for that'),
  exclude: z.array(excluded).default([]).describe('Prefixes inside `protect` that are not protected'),
  established: z.enum(['kill', 'keep']).default('kill').describe('Connections to `protect` that went another way before the start: kill forgets them in conntrack, so that they go through the tunnel without the NAT of the other way'),
  ignore: z.array(ignored).default([]).describe('Packets that never wake nor keep up, and are dropped in silence while the tunnel is not up: udp/123, icmp, {protocol, port, to}'),
  wake: z.enum(['both', 'forwarded', 'local']).default('both').describe('Whose packets may wake; the others are refused until the tunnel is up'),
  wakeFrom: z.array(inputDevice).min(1, 'names no device: for none of them, say `wake: local`').optional().describe('Devices by which forwarded packets may come to wake, such as lan0 or br-*. Default: any'),
  device: device.optional(),
  queue: z.int().min(0).max(65535).optional().describe('NFQUEUE number. Default: 7500 and up'),
  idle: idle.prefault('5m'),
  standby: z.enum(['cold', 'warm']).default('cold').describe('What is left of OpenVPN while idle: cold no process, warm one that waits in hold'),
  hold: z
    .strictObject({
      timeout: duration.prefault('30s').describe('How long a packet is held at most'),
      packets: z.int().min(1).max(65535).default(1024).describe('How many packets are held at most; more are dropped and counted'),
    })
    .prefault({}),
  onFailure: z.enum(['reject', 'drop']).default('reject').describe('Held packets of a failed dial: answered with an error, or dropped in silence'),
  backoff: z.strictObject({ start: duration.prefault('2s'), max: duration.prefault('10m') }).prefault({}).describe('After a failed dial packets are refused for so long, doubling'),
  minUp: duration.prefault('0s').describe('A tunnel that came up stays at least so long'),
  wakesPerHour: z.int().min(1).max(1000).optional().describe('More wakes by packets than this in an hour are refused. Default: no bound'),
  linger: duration.prefault('200ms').describe('Between closing the gate and stopping OpenVPN, for replies in flight'),
}).superRefine(({ openvpn, command, device, wake, wakeFrom, idle: quiet, standby, credentials: answers }, context) => {
  if (wake === 'local' && wakeFrom !== undefined) context.addIssue({ code: 'custom', path: ['wakeFrom'], message: 'is about forwarded packets, and with `wake: local` none of them wakes' });
  if ((openvpn === undefined) === (command === undefined)) context.addIssue({ code: 'custom', message: 'needs either `openvpn` or `command`' });
  if (openvpn !== undefined && 'management' in openvpn && device === undefined) context.addIssue({ code: 'custom', path: ['device'], message: 'is missing: with `management` we do not name the device, its configuration does (`dev`)' });
  const startedByUs = openvpn !== undefined && 'config' in openvpn;
  if (!startedByUs && standby === 'warm') context.addIssue({ code: 'custom', path: ['standby'], message: 'is about an OpenVPN that this daemon starts: `warm` says nothing of another link' });
  if (command !== undefined && typeof quiet === 'object' && quiet.by === 'openvpn') context.addIssue({ code: 'custom', path: ['idle'], message: 'is left to OpenVPN, and a `command` has none: it would never go down' });
  if (command !== undefined && answers !== undefined) context.addIssue({ code: 'custom', path: ['credentials'], message: 'answer what OpenVPN asks, and a `command` has none' });
  if (command !== undefined && device === undefined) context.addIssue({ code: 'custom', path: ['device'], message: 'is missing: a `command` needs the device that its packets leave by' });
});

const markMask = z
  .union([z.int(), z.string().regex(/^0x[0-9a-fA-F]{1,8}$/).transform(Number)], { error: 'is not a mark (like 0x00c00000)' })
  .refine((mask) => mask > 0 && mask <= 0xffffffff && isTwoBits(mask), 'must have exactly two neighbouring bits set (like 0x00c00000)')
  .describe('Two neighbouring bits of the packet mark that are ours');

const loopback = z.string().regex(/^(127(\.\d{1,3}){3}|::1)$/, 'is not a loopback address (127.0.0.1 or ::1): whoever asks for metrics is not asked who he is');

const metrics = z
  .union([
    z.strictObject({ host: loopback.default('127.0.0.1'), port: z.int().min(1).max(65535) }),
    z.strictObject({ socket: z.string().min(1).describe('A unix socket; its owner and group may connect') }),
  ], { error: 'is not {port}, {host, port} or {socket}' })
  .describe('Where Prometheus asks for metrics. Default: nowhere');

export const schema = z.strictObject({
  control: z.strictObject({ socket: z.string().min(1).default('/run/openvpn-ondemand/control.sock') }).prefault({}).describe('The socket that the command line speaks to'),
  gate: z.enum(['auto', 'iptables', 'nft', 'condition']).default('auto').describe('The firewall that is used'),
  mark: markMask.default(DEFAULT_MARK),
  offload: z.enum(['refuse', 'end']).default('refuse').describe('Where flowtables forward packets past the firewall: refuse to start, or end what they forward to `protect` whenever the gate closes (needs conntrack)'),
  stateFile: z.string().min(1).default('/var/lib/openvpn-ondemand/state.json').describe('Where `pause --persist` is kept across restarts'),
  onStop: z.enum(['flush', 'keep']).default('flush').describe('What a stopped daemon leaves: flush nothing, protected traffic then goes as if it had never been there; keep the guard, protected traffic is dropped until the next start'),
  metrics: metrics.optional(),
  log: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info').describe('The least severe level that is logged'),
  tunnels: z
    .record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/, 'is not a tunnel name (1 to 32 letters, digits, "_" or "-")'), tunnel)
    .refine((tunnels) => Object.keys(tunnels).length > 0, 'names no tunnel'),
}).superRefine(({ offload, tunnels }, context) => {
  if (offload !== 'end') return;
  for (const [name, { domains }] of Object.entries(tunnels)) {
    if (domains.length > 0) context.addIssue({ code: 'custom', path: ['tunnels', name, 'domains'], message: 'not beside flowtables (`offload: end`): what they forward passes the rules that look for new addresses' });
  }
});

export type Configuration = z.output<typeof schema>;
export type TunnelConfiguration = z.output<typeof tunnel>;

function isTwoBits(mask: number): boolean {
  const low = mask & -mask;
  return mask >>> 0 === (low * 3) >>> 0;
}
