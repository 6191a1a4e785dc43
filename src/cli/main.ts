#!/usr/bin/env node
import { makeV8Small } from '../v8.js';

makeV8Small();

await import('./program.js');
