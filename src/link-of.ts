import { dirname, join } from 'node:path';
import type { TunnelSettings } from './config/load.js';
import type { ClockPort, LinkPort, LogPort, Marks, Prefix } from './core/ports.js';
import { credentialsOf, type TunnelCredentials } from './credentials-of.js';
import { AttachLink } from './link/attach.js';
import { CommandLink } from './link/command.js';
import { OpenvpnLink } from './link/openvpn.js';
import type { ManagementAddress } from './management/client.js';
import { fromFile } from './management/sources.js';

export interface LinkMeans {
  readonly marks: Marks;
  /** A folder of ours that nobody else can look into; what is beside it outlives us. */
  readonly folder: string;
  readonly log: LogPort;
  readonly clock: ClockPort;
  /** What the link of a tunnel must route into its device. */
  readonly routes: (tunnel: string) => readonly Prefix[];
  /** The servers of a tunnel have other addresses; resolves when the gate knows them. Never rejects. */
  readonly moved: () => Promise<void>;
}

/** A link and what else its tunnel asks of it. */
export interface TunnelLink {
  readonly port: LinkPort;
  /** Addresses of the servers, as far as they are known. */
  remotes(): readonly string[];
  /** Whether the files that its settings name still say what they said. */
  isCurrent(): Promise<boolean>;
  /** The command says that it is up. False if nothing waited for that. */
  ready(): boolean;
  /** How many routes it makes that it is given; absent: it has its own. */
  readonly routes?: number;
  readonly credentials?: TunnelCredentials;
}

/** The link that a tunnel's settings describe. Nothing is started yet. Rejects with a DaemonError. */
export async function linkOf(settings: TunnelSettings, { marks, folder, log, clock, routes, moved }: LinkMeans): Promise<TunnelLink> {
  const { name, device, link, standby, idle, hold } = settings;
  const answers = credentialsOf(name, settings.credentials);
  const { credentials, signOn } = answers;
  switch (link.kind) {
    case 'openvpn': {
      const inactiveMs = typeof idle === 'object' && idle.by === 'openvpn' ? { inactiveMs: idle.after } : {};
      const port = await OpenvpnLink.create({ name, device, config: link.config, program: link.program, args: link.args, mark: marks.transport, credentials, signOn, standby, folder, routes: () => routes(name), moved, dialTimeoutMs: hold.timeout, holdPackets: hold.packets, ...inactiveMs }, clock, log);
      return { port, remotes: () => port.remotes, isCurrent: () => port.isCurrent(), ready: () => false, credentials: answers, routes: port.mostRoutes };
    }
    case 'attach': {
      const password = link.passwordFile === undefined ? undefined : fromFile(link.passwordFile);
      const port = new AttachLink({ name, device, address: managementAddress(link.management), password, credentials, remotes: link.remotes }, clock, log);
      return { port, remotes: () => port.remotes, isCurrent: () => Promise.resolve(true), ready: () => false, credentials: answers };
    }
    case 'command': {
      const port = new CommandLink({ name, device, up: link.up, down: link.down, ready: link.ready, remotes: link.remotes, downTimeoutMs: link.downTimeout, marker: join(dirname(folder), `${name}.up`) }, clock, log);
      return { port, remotes: () => port.remotes, isCurrent: () => port.isCurrent(), ready: () => port.ready() };
    }
  }
}

/** `/path` or `HOST:PORT`, an IPv6 host in brackets. */
function managementAddress(text: string): ManagementAddress {
  if (text.startsWith('/')) return { path: text };
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}
