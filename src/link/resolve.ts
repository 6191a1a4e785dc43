import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { DaemonError, messageOf } from '../core/errors.js';

/** The last known addresses of the servers' names. */
export class Resolver {
  readonly #known = new Map<string, readonly string[]>();

  /** Addresses of a name, as getaddrinfo(3) orders them. Rejects with RESOLVE_FAILED if it has none, now or before. */
  async resolve(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    try {
      const addresses = (await lookup(host, { all: true })).map(({ address }) => address);
      this.#known.set(host, [...new Set(addresses)]);
    } catch (cause) {
      if (!this.#known.has(host)) throw new DaemonError('RESOLVE_FAILED', `no address of ${host}: ${messageOf(cause)}`, { cause, hint: 'give the remote as an address, or make the name known to this host' });
    }
    return this.known(host);
  }

  /** Without asking anybody. */
  known(host: string): readonly string[] {
    return isIP(host) === 0 ? (this.#known.get(host) ?? []) : [host];
  }
}
