import { resolve } from 'node:path';
import type { Prefix } from '../core/ports.js';
import { readPrefixFile } from './prefix-file.js';

/** An element of `protect` or `exclude`, as the schema lets it through. */
export type ListElement = Prefix | { readonly file: string } | { readonly name: string };

export interface ListProblem {
  /** Which element of the list. */
  readonly index: number;
  /** Where it is wrong in the file that it names. */
  readonly place?: { readonly file: string; readonly line: number };
  readonly message: string;
}

export interface PrefixList {
  readonly prefixes: readonly Prefix[];
  /** Host names, each once. */
  readonly names: readonly string[];
  readonly problems: readonly ListProblem[];
}

/** All prefixes and host names that a list has, each once; relative paths start in `folder`. */
export function readPrefixList(elements: readonly ListElement[], folder: string): PrefixList {
  const prefixes = new Set<Prefix>();
  const names = new Set<string>();
  const problems: ListProblem[] = [];
  for (const [index, element] of elements.entries()) {
    if (typeof element === 'string') {
      prefixes.add(element);
      continue;
    }
    if ('name' in element) {
      names.add(element.name);
      continue;
    }
    const file = resolve(folder, element.file);
    const read = readPrefixFile(file);
    if ('prefixes' in read) for (const prefix of read.prefixes) prefixes.add(prefix);
    else problems.push(...read.problems.map(({ line, message }) => ({ index, ...(line === undefined ? { message: `${file}: ${message}` } : { place: { file, line }, message }) })));
  }
  return { prefixes: [...prefixes], names: [...names], problems };
}
