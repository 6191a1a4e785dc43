#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';

// An idle daemon shall be small: V8 trades speed for memory where it can, and the young generation starts, and stays, at
// one megabyte; measured: 18 of 87 MB resident. Its optimizing compiler, whose own memory stays, works only for what runs much
// longer than a wake: 8 of 72 MB. Only what is said before anything else is loaded counts.
for (const flag of ['--optimize-for-size', '--interrupt-budget=2000000', '--max-semi-space-size=1', '--semi-space-growth-factor=1']) setFlagsFromString(flag);

await import('./program.js');
