import { formatNet, networkOf, readPrefix, type PrefixProblem } from '../core/prefix.js';

/** A prefix in canonical text, or what is wrong with it. */
export type PrefixResult = { readonly prefix: string } | { readonly problem: string };

/**
 * Reads `10.99.0.0/16`, `fd00:99::/48`, or an address alone (a /32 or /128). Bits behind the length must be 0: a typing
 * error in `protect` would otherwise protect something else in silence.
 */
export function parsePrefix(text: string): PrefixResult {
  const written = readPrefix(text);
  if ('problem' in written) return { problem: describe(text, written) };
  const network = networkOf(written);
  const canonical = formatNet(network);
  return network.bits === written.bits ? { prefix: canonical } : { problem: `"${text}" has bits set behind its length (did you mean ${canonical}?)` };
}

function describe(text: string, found: PrefixProblem): string {
  switch (found.problem) {
    case 'address':
      return `"${text}" is not an IPv4 or IPv6 prefix (like 10.99.0.0/16 or fd00:99::/48)`;
    case 'length':
      return `"${text}": the length behind / is not a number`;
    case 'too-long':
      return `"${text}": an IPv${found.family} prefix has at most ${found.family === 4 ? 32 : 128} bits`;
  }
}
