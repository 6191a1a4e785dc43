import type { RecordWithTtl } from 'node:dns';
import { lookup, Resolver } from 'node:dns/promises';
import { firstValueFrom, from, map, merge } from 'rxjs';
import { messageOf } from '../core/errors.js';
import type { ClockPort } from '../core/ports.js';

/** What a name stands for, of one family each. */
export interface NameAnswer {
  /** Undefined: nobody could say. None: there are none. */
  readonly ipv4: readonly string[] | undefined;
  readonly ipv6: readonly string[] | undefined;
  /** The shortest time to live of the records; undefined if nothing came from DNS. */
  readonly ttlMs: number | undefined;
  /** Why nobody could say. */
  readonly problem: string | undefined;
}

/** Asks for a name. Never rejects. */
export type AskName = (name: string) => Promise<NameAnswer>;

/** A server that does not answer is asked twice. */
const TIMEOUT_MS = 1500;
const TRIES = 2;
/** For all servers together, and for getaddrinfo(3), which has time-outs of its own. */
const PATIENCE_MS = 4000;

/**
 * Asks the DNS servers of /etc/resolv.conf for the records, since they have a time to live, and, for what is only in
 * /etc/hosts or another source of nsswitch.conf(5), getaddrinfo(3).
 */
export function askName(clock: ClockPort): AskName {
  return async (name) => {
    // A new one knows what resolv.conf says now.
    const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
    const tooLate = clock.at(clock.now() + PATIENCE_MS);
    const local = firstValueFrom(merge(from(lookup(name, { all: true })), tooLate.pipe(map(() => []))));
    const giveUp = tooLate.subscribe(() => { resolver.cancel(); });
    const [four, six, all] = await Promise.allSettled([resolver.resolve4(name, { ttl: true }), resolver.resolve6(name, { ttl: true }), local]);
    giveUp.unsubscribe();
    const found = all.status === 'fulfilled' ? all.value : [];
    const [records4, records6] = [recordsOf(four), recordsOf(six)];
    const addresses = (records: readonly RecordWithTtl[] | undefined, family: 4 | 6): readonly string[] | undefined => {
      const both = new Set([...(records ?? []).map(({ address }) => address), ...found.filter((each) => each.family === family).map(({ address }) => address)]);
      return both.size > 0 || records !== undefined ? [...both] : undefined;
    };
    const [ipv4, ipv6] = [addresses(records4, 4), addresses(records6, 6)];
    const ttls = [...(records4 ?? []), ...(records6 ?? [])].map(({ ttl }) => ttl);
    const failed = [four, six].find((result) => result.status === 'rejected');
    return { ipv4, ipv6, ttlMs: ttls.length === 0 ? undefined : Math.min(...ttls) * 1000, problem: (ipv4 ?? []).length + (ipv6 ?? []).length > 0 ? undefined : failed === undefined ? 'it has no address' : messageOf(failed.reason) };
  };
}

/** Undefined where there was no answer; a name without such records is one. */
function recordsOf(result: PromiseSettledResult<readonly RecordWithTtl[]>): readonly RecordWithTtl[] | undefined {
  if (result.status === 'fulfilled') return result.value;
  return (result.reason as NodeJS.ErrnoException).code === 'ENODATA' ? [] : undefined;
}
