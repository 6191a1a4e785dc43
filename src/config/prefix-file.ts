import { readFileSync } from 'node:fs';
import { parsePrefix } from './prefix.js';

/** What is wrong in a file of prefixes, and in which line; without a line: with the file. */
export interface FileProblem {
  readonly line?: number;
  readonly message: string;
}

export type PrefixFile = { readonly prefixes: readonly string[] } | { readonly problems: readonly FileProblem[] };

/** A file that is none of prefixes would be wrong in every line. */
const TOLD = 10;

/** Reads a file of prefixes: one a line, in canonical text, each once. `#` begins a comment, blank lines don't count. */
export function readPrefixFile(path: string): PrefixFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    return { problems: [{ message: `can't be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})` }] };
  }
  return parsePrefixFile(text);
}

export function parsePrefixFile(text: string): PrefixFile {
  const prefixes = new Set<string>();
  const problems: FileProblem[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const written = line.replace(/#.*/, '').trim();
    if (written === '') continue;
    const result = parsePrefix(written);
    if ('prefix' in result) prefixes.add(result.prefix);
    else problems.push({ line: index + 1, message: result.problem });
  }
  if (problems.length === 0) return { prefixes: [...prefixes] };
  const more = problems.length - TOLD;
  return { problems: [...problems.slice(0, TOLD), ...(more > 0 ? [{ message: `${more} more lines are wrong` }] : [])] };
}
