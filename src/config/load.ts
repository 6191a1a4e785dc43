import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { domainQueue } from '../core/domains.js';
import { DaemonError, messageOf } from '../core/errors.js';
import type { Prefix } from '../core/ports.js';
import { contains, parseNet } from '../core/prefix.js';
import { readPrefixList } from './prefix-list.js';
import { schema, type Configuration, type TunnelConfiguration } from './schema.js';

export type { Configuration, TunnelConfiguration };

type OpenvpnSettings = NonNullable<TunnelConfiguration['openvpn']>;
type StartedSettings = Extract<OpenvpnSettings, { config: string }>;
type ManagedSettings = Extract<OpenvpnSettings, { management: string }>;
type CommandSettings = NonNullable<TunnelConfiguration['command']>;

/** What brings the link up. */
export type LinkSettings = ({ readonly kind: 'openvpn' } & StartedSettings) | ({ readonly kind: 'attach' } & ManagedSettings) | ({ readonly kind: 'command' } & CommandSettings);

/** A tunnel of the configuration with nothing left to default. */
export type TunnelSettings = Omit<TunnelConfiguration, 'openvpn' | 'command' | 'device' | 'queue' | 'protect' | 'exclude' | 'wakeFrom'> & {
  readonly name: string;
  readonly device: string;
  readonly queue: number;
  readonly link: LinkSettings;
  /** Those of the files that the configuration names are among them. */
  readonly protect: readonly Prefix[];
  /** The host names in `protect`. */
  readonly names: readonly string[];
  readonly exclude: readonly Prefix[];
  readonly wakeFrom?: readonly string[];
};

export interface Settings extends Omit<Configuration, 'tunnels'> {
  readonly tunnels: readonly TunnelSettings[];
}

const FIRST_QUEUE = 7500;
/** Files may clash in every line. */
const TOLD = 5;

/** NFQUEUE numbers by tunnel. */
export type Queues = ReadonlyMap<string, number>;

/**
 * Reads and checks a configuration file. Rejects with CONFIG_UNREADABLE or CONFIG_INVALID; the message names every problem
 * with its line. `present`: the queues of tunnels that run already, which they keep unless the file names others.
 */
export async function loadConfiguration(file: string, present?: Queues): Promise<Settings> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new DaemonError('CONFIG_UNREADABLE', messageOf(cause), { cause, place: file, hint: 'name the configuration with --config FILE' });
  }
  return parseConfiguration(text, file, present);
}

/** The same for text that is already there; `file` is named in errors, and its folder is where relative paths start. */
export function parseConfiguration(text: string, file: string, present: Queues = new Map()): Settings {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems: Problem[] = document.errors.map((error) => ({ line: lines.linePos(error.pos[0]).line, path: '', message: error.message }));
  if (problems.length > 0) throw invalid(file, problems);
  const result = schema.safeParse(document.toJS() ?? {});
  if (!result.success) throw invalid(file, result.error.issues.flatMap((issue) => problemsOf(issue, document, lines)));
  const queues = queuesOf(result.data.tunnels, present);
  const settled = Object.entries(result.data.tunnels).map(([name, tunnel]) => settle(name, tunnel, queues.get(name) ?? FIRST_QUEUE, dirname(file)));
  const tunnels = settled.map(({ settings }) => settings);
  const found = [...settled.flatMap(({ mistakes }) => mistakes), ...clashesOf(tunnels)].map(({ path, ...rest }) => ({ line: lineOf(path, document, lines), path: path.join('.'), ...rest }));
  if (found.length > 0) throw invalid(file, found);
  return { ...result.data, tunnels };
}

interface Problem {
  readonly line: number;
  readonly path: string;
  readonly message: string;
  /** In another file, which this line of the configuration names. */
  readonly place?: { readonly file: string; readonly line: number };
}

/** What only shows when all of a tunnel, or all tunnels, are known. */
interface Mistake extends Omit<Problem, 'line' | 'path'> {
  readonly path: readonly PropertyKey[];
}

function invalid(file: string, problems: readonly Problem[]): DaemonError {
  const sorted = [...problems].sort((a, b) => a.line - b.line);
  const placeOf = ({ line, place }: Problem): string => (place === undefined ? `${file}:${line}` : `${place.file}:${place.line}`);
  const sentences = sorted.map((problem, index) => `${index === 0 ? '' : `\n${placeOf(problem)}: `}${problem.path === '' ? '' : `${problem.path}: `}${problem.message}`);
  return new DaemonError('CONFIG_INVALID', sentences.join(''), { place: sorted[0] === undefined ? file : placeOf(sorted[0]) });
}

/** Where none is named, the one that the tunnel has already (a reload must not part it from its own), or the first that is free. */
function queuesOf(tunnels: Readonly<Record<string, TunnelConfiguration>>, present: Queues): Queues {
  const entries = Object.entries(tunnels);
  const queues = new Map(entries.flatMap(([name, { queue }]) => (queue === undefined ? [] : [[name, queue] as const])));
  const taken = new Set(queues.values());
  const give = (name: string, queue: number): void => {
    queues.set(name, queue);
    taken.add(queue);
  };
  const without = entries.flatMap(([name]) => (queues.has(name) ? [] : [name]));
  for (const name of without) {
    const queue = present.get(name);
    if (queue !== undefined && !taken.has(queue)) give(name, queue);
  }
  let next = FIRST_QUEUE;
  for (const name of without.filter((each) => !queues.has(each))) {
    while (taken.has(next)) next += 1;
    give(name, next);
  }
  return queues;
}

function settle(name: string, { openvpn, command, wakeFrom, ...tunnel }: TunnelConfiguration, queue: number, folder: string): { readonly settings: TunnelSettings; readonly mistakes: readonly Mistake[] } {
  const credentials = tunnel.credentials && { credentials: credentialsOf(tunnel.credentials, folder) };
  const protect = readPrefixList(tunnel.protect, folder);
  const exclude = readPrefixList(tunnel.exclude, folder);
  const mistakes = Object.entries({ protect, exclude }).flatMap(([key, { problems }]) => problems.map(({ index: element, ...problem }): Mistake => ({ path: ['tunnels', name, key, element], ...problem })));
  const outside = tunnel.ignore.flatMap(({ to }, element): Mistake[] => (to === undefined || mistakes.length + protect.names.length + tunnel.domains.length > 0 || overlaps(to, protect.prefixes) ? [] : [{ path: ['tunnels', name, 'ignore', element, 'to'], message: `${to} is not among what \`protect\` names: there is nothing to ignore` }]));
  const empty: Mistake[] = mistakes.length + protect.prefixes.length + protect.names.length + tunnel.domains.length === 0 ? [{ path: ['tunnels', name, 'protect'], message: 'names no prefix: nothing would be protected' }] : [];
  const settings = { ...tunnel, ...credentials, ...(wakeFrom === undefined ? {} : { wakeFrom }), protect: protect.prefixes, names: protect.names, exclude: exclude.prefixes, name, device: tunnel.device ?? `ovpn-${name}`, queue, link: linkOf(openvpn, command, folder) };
  return { settings, mistakes: [...mistakes, ...outside, ...empty] };
}

function overlaps(prefix: Prefix, others: readonly Prefix[]): boolean {
  const net = parseNet(prefix);
  return others.map(parseNet).some((other) => contains(net, other) || contains(other, net));
}

/** Files that secrets come from, as absolute paths. */
function credentialsOf(credentials: NonNullable<TunnelConfiguration['credentials']>, folder: string): TunnelConfiguration['credentials'] {
  const entries = Object.entries(credentials).map(([key, value]) => [key, typeof value === 'object' && 'file' in value ? { ...value, file: resolve(folder, value.file) } : value]);
  return Object.fromEntries(entries) as TunnelConfiguration['credentials'];
}

function linkOf(openvpn: OpenvpnSettings | undefined, command: CommandSettings | undefined, folder: string): LinkSettings {
  if (command) return { kind: 'command', ...command };
  if (!openvpn) throw new Error('the schema lets no tunnel through that has no link');
  if ('management' in openvpn) return { kind: 'attach', ...openvpn, ...(openvpn.passwordFile === undefined ? {} : { passwordFile: resolve(folder, openvpn.passwordFile) }) };
  return { kind: 'openvpn', ...openvpn, config: resolve(folder, openvpn.config) };
}

/** What each tunnel says well on its own, but not beside the others. */
function clashesOf(tunnels: readonly TunnelSettings[]): Mistake[] {
  const owners = new Map<Prefix, string>();
  return tunnels.flatMap((tunnel, index) => {
    const earlier = tunnels.slice(0, index);
    const at = (key: string): PropertyKey[] => ['tunnels', tunnel.name, key];
    const sameDevice = earlier.find(({ device }) => device === tunnel.device);
    const sameQueue = earlier.find(({ queue }) => queue === tunnel.queue);
    const found: Mistake[] = [];
    if (tunnel.device.length > 15) found.push({ path: ['tunnels', tunnel.name], message: `the device name "${tunnel.device}" is longer than 15 characters (name a shorter one with \`device\`)` });
    if (sameDevice) found.push({ path: at('device'), message: `"${tunnel.device}" is the device of tunnel ${sameDevice.name}, too` });
    if (sameQueue) found.push({ path: at('queue'), message: `${tunnel.queue} is the queue of tunnel ${sameQueue.name}, too` });
    const shared = tunnel.protect.filter((prefix) => owners.has(prefix));
    found.push(...shared.slice(0, TOLD).map((prefix) => ({ path: at('protect'), message: `${prefix} is protected by tunnel ${owners.get(prefix) ?? ''}, too` })));
    if (shared.length > TOLD) found.push({ path: at('protect'), message: `${shared.length - TOLD} more prefixes are protected by other tunnels, too` });
    for (const prefix of tunnel.protect) owners.set(prefix, tunnel.name);
    const ofDomains = tunnels.find((other) => other.domains.length > 0 && domainQueue(other.queue) === tunnel.queue);
    if (ofDomains) found.push({ path: at('queue'), message: `${tunnel.queue} is the queue for the domains of tunnel ${ofDomains.name} (made from its own, ${ofDomains.queue})` });
    for (const [element, domain] of tunnel.domains.entries()) {
      const owner = earlier.find(({ domains }) => domains.includes(domain));
      if (owner) found.push({ path: [...at('domains'), element], message: `${domain} is a domain of tunnel ${owner.name}, too` });
    }
    return found;
  });
}

function problemsOf(issue: z.core.$ZodIssue, document: Document, lines: LineCounter): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ line: lineOf([...issue.path, key], document, lines), path: [...issue.path, key].join('.'), message: 'is not an option here' }));
  }
  const missing = issue.code === 'invalid_type' && document.getIn(issue.path) === undefined;
  const message = missing ? 'is missing' : issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  // A union that failed in one form only speaks of that form.
  const inner = issue.code === 'invalid_union' ? bestOfUnion(issue) : undefined;
  const path = [...issue.path, ...(inner?.path ?? [])];
  const absent = inner?.code === 'invalid_type' && document.getIn(path) === undefined;
  return [{ line: lineOf(path, document, lines), path: path.join('.'), message: absent ? 'is missing' : (inner?.message ?? message) }];
}

function bestOfUnion(issue: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue | undefined {
  return issue.errors.map(([first]) => first).find((first) => first !== undefined && (first.code === 'custom' || first.code === 'unrecognized_keys' || first.path.length > 0));
}

/** The line of the nearest node on the path that is really there; for a key, the line where the key stands. */
function lineOf(path: readonly PropertyKey[], document: Document, lines: LineCounter): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const key of path) {
    const pair: unknown = isMap(node) ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key)) : undefined;
    if (isPair(pair) && isNode(pair.key)) {
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else {
      node = isNode(node) && 'get' in node ? (node as { get: (key: unknown, keep: boolean) => unknown }).get(key, true) : undefined;
      if (isNode(node)) offset = node.range?.[0] ?? offset;
    }
    if (node === undefined || node === null) break;
  }
  return lines.linePos(offset).line;
}
