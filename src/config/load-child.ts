import { writeFileSync } from 'node:fs';
import { DaemonError } from '../core/errors.js';
import { loadConfiguration } from './load.js';
import type { Loaded } from './load-apart.js';

// The process of load-apart.ts. What is no DaemonError is a defect, and ends it with a status that says so.
const [, , file = '', queues = '[]'] = process.argv;
const loaded = await loadConfiguration(file, new Map(JSON.parse(queues) as [string, number][])).then((settings): Loaded => ({ settings }), (error: unknown): Loaded => {
  if (!(error instanceof DaemonError)) throw error;
  const { code, message, hint, place } = error;
  return { error: { code, message, hint, place } };
});
writeFileSync(1, JSON.stringify(loaded));
