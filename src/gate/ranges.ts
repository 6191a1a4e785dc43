import type { Entry } from './ownership.js';
import { formatAddress, lastOf, walkNested, type Family, type Net } from '../core/prefix.js';

type Line = Pick<Entry, 'net' | 'match'>;

/** A range of addresses, both ends included. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * What the entries of one family match, as ranges that don't touch: nftables' sets know no exceptions. As text:
 * `10.0.0.0-10.255.255.255`, or one address.
 */
export function matchedRanges(entries: readonly Line[], family: Family): readonly string[] {
  const own = entries.filter(({ net }) => net.family === family);
  // Where what is matched may begin to differ: the entries' first addresses, and those after their last.
  const ends: { readonly entry: Line; readonly around: Line | undefined }[] = [];
  walkNested<Line, Line>(own, (entry, around) => {
    ends.push({ entry, around });
    return entry;
  });
  const changes = new Map<bigint, boolean>();
  // inner entries come later, and what begins together is decided by the innermost
  for (const { entry } of ends) changes.set(entry.net.bits, entry.match);
  const begins = new Set(changes.keys());
  // what ends together is decided by what goes on, which is the outermost's surroundings
  for (const { entry, around } of [...ends].reverse()) {
    const next = lastOf(entry.net) + 1n;
    if (!begins.has(next)) changes.set(next, around?.match ?? false);
  }
  return merge(changes).map(({ first, last }) => rangeText(first, last, family));
}

function merge(changes: ReadonlyMap<bigint, boolean>): readonly Range[] {
  const ranges: Range[] = [];
  let since: bigint | undefined;
  for (const [at, match] of [...changes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (match) since ??= at;
    else if (since !== undefined) {
      ranges.push({ first: since, last: at - 1n });
      since = undefined;
    }
  }
  return ranges;
}

function rangeText(first: bigint, last: bigint, family: Family): string {
  const text = (bits: bigint): string => formatAddress({ family, bits, length: 0 } satisfies Net);
  return first === last ? text(first) : `${text(first)}-${text(last)}`;
}
