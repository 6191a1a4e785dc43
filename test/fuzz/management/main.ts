/**
 * The long run: every law of the management library with at least so many lines in all, from a seed that it names.
 * Usage: npm run fuzz:management [-- LINES [SEED]]
 */
import { properties } from './properties.js';

const wanted = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000_000);
const started = performance.now();
let total = 0;
console.log(`at least ${wanted} lines, seed ${seed}`);
for (const [index, { name, share, check }] of properties.entries()) {
  let lines = 0;
  for (let round = 0; lines < share * wanted; round += 1) lines += await check(1000, seed + 1_000_000 * index + round);
  total += lines;
  console.log(`${String(lines).padStart(8)} lines: ${name}`);
}
console.log(`${total} lines in ${Math.round((performance.now() - started) / 1000)} s, no law broken`);
