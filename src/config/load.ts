import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { DaemonError, messageOf } from '../core/errors.js';
import { schema, type Configuration, type TunnelConfiguration } from './schema.js';

export type { Configuration, TunnelConfiguration };

type OpenvpnSettings = NonNullable<TunnelConfiguration['openvpn']>;
type StartedSettings = Extract<OpenvpnSettings, { config: string }>;
type ManagedSettings = Extract<OpenvpnSettings, { management: string }>;
type CommandSettings = NonNullable<TunnelConfiguration['command']>;

/** What brings the link up. */
export type LinkSettings = ({ readonly kind: 'openvpn' } & StartedSettings) | ({ readonly kind: 'attach' } & ManagedSettings) | ({ readonly kind: 'command' } & CommandSettings);

/** A tunnel of the configuration with nothing left to default. */
export type TunnelSettings = Omit<TunnelConfiguration, 'openvpn' | 'command' | 'device' | 'queue'> & { readonly name: string; readonly device: string; readonly queue: number; readonly link: LinkSettings };

export interface Settings extends Omit<Configuration, 'tunnels'> {
  readonly tunnels: readonly TunnelSettings[];
}

const FIRST_QUEUE = 7500;

/** Reads and checks a configuration file. Rejects with CONFIG_UNREADABLE or CONFIG_INVALID; the message names every problem with its line. */
export async function loadConfiguration(file: string): Promise<Settings> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new DaemonError('CONFIG_UNREADABLE', messageOf(cause), { cause, place: file, hint: 'name the configuration with --config FILE' });
  }
  return parseConfiguration(text, file);
}

/** The same for text that is already there; `file` is named in errors, and its folder is where relative paths start. */
export function parseConfiguration(text: string, file: string): Settings {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems: Problem[] = document.errors.map((error) => ({ line: lines.linePos(error.pos[0]).line, path: '', message: error.message }));
  if (problems.length > 0) throw invalid(file, problems);
  const result = schema.safeParse(document.toJS() ?? {});
  if (!result.success) throw invalid(file, result.error.issues.flatMap((issue) => problemsOf(issue, document, lines)));
  const tunnels = Object.entries(result.data.tunnels).map(([name, tunnel], index) => settle(name, tunnel, index, dirname(file)));
  const clashes = clashesOf(tunnels).map(({ path, message }) => ({ line: lineOf(path, document, lines), path: path.join('.'), message }));
  if (clashes.length > 0) throw invalid(file, clashes);
  return { ...result.data, tunnels };
}

interface Problem {
  readonly line: number;
  readonly path: string;
  readonly message: string;
}

function invalid(file: string, problems: readonly Problem[]): DaemonError {
  const sorted = [...problems].sort((a, b) => a.line - b.line);
  const sentences = sorted.map(({ line, path, message }, index) => `${index === 0 ? '' : `\n${file}:${line}: `}${path === '' ? '' : `${path}: `}${message}`);
  return new DaemonError('CONFIG_INVALID', sentences.join(''), { place: `${file}:${sorted[0]?.line ?? 1}` });
}

function settle(name: string, { openvpn, command, ...tunnel }: TunnelConfiguration, index: number, folder: string): TunnelSettings {
  const credentials = tunnel.credentials && { credentials: credentialsOf(tunnel.credentials, folder) };
  return { ...tunnel, ...credentials, name, device: tunnel.device ?? `ovpn-${name}`, queue: tunnel.queue ?? FIRST_QUEUE + index, link: linkOf(openvpn, command, folder) };
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
function clashesOf(tunnels: readonly TunnelSettings[]): { path: PropertyKey[]; message: string }[] {
  return tunnels.flatMap((tunnel, index) => {
    const earlier = tunnels.slice(0, index);
    const at = (key: string): PropertyKey[] => ['tunnels', tunnel.name, key];
    const sameDevice = earlier.find(({ device }) => device === tunnel.device);
    const sameQueue = earlier.find(({ queue }) => queue === tunnel.queue);
    const found: { path: PropertyKey[]; message: string }[] = [];
    if (tunnel.device.length > 15) found.push({ path: ['tunnels', tunnel.name], message: `the device name "${tunnel.device}" is longer than 15 characters (name a shorter one with \`device\`)` });
    if (sameDevice) found.push({ path: at('device'), message: `"${tunnel.device}" is the device of tunnel ${sameDevice.name}, too` });
    if (sameQueue) found.push({ path: at('queue'), message: `${tunnel.queue} is the queue of tunnel ${sameQueue.name}, too` });
    for (const prefix of tunnel.protect) {
      const other = earlier.find(({ protect }) => protect.includes(prefix));
      if (other) found.push({ path: at('protect'), message: `${prefix} is protected by tunnel ${other.name}, too` });
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
