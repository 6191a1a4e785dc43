import { join, resolve } from 'node:path';

/** The top of the checkout. */
export const checkout = resolve(import.meta.dirname, '..', '..');

/** A file of test/lab/programs. */
export function programPath(name: string): string {
  return join(import.meta.dirname, 'programs', name);
}
