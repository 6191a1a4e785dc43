import type { Family } from './prefix.js';

/** Types of ICMP and ICMPv6 messages that tell of an error: unreachable, too big, quench, redirect, time exceeded, parameter problem. */
export const icmpErrors: Readonly<Record<Family, readonly number[]>> = { 4: [3, 4, 5, 11, 12], 6: [1, 2, 3, 4] };
