/** What the user decided for one tunnel. All times in milliseconds. */
export interface Policy {
  /** The tunnel goes down after so long without traffic; Infinity: never, or OpenVPN's `--inactive` does it. */
  readonly idleMs: number;
  /** A packet is held for so long at most; then the dial has failed. */
  readonly holdTimeoutMs: number;
  /** Between closing the gate and stopping the link: replies in flight come home. */
  readonly lingerMs: number;
  readonly backoffStartMs: number;
  readonly backoffMaxMs: number;
}

/** How long to refuse after so many failures in a row (1 is the first): exponential, plus up to a quarter of jitter. */
export function backoffMs(policy: Policy, failures: number, random: number): number {
  const base = Math.min(policy.backoffMaxMs, policy.backoffStartMs * 2 ** (failures - 1));
  return Math.round(base * (1 + random / 4));
}

/** How often the counters are read while up: the tunnel then ends at most an eighth (and at most 1 s) late. */
export function idleCheckMs(policy: Policy): number {
  return Math.min(1000, Math.max(100, policy.idleMs / 8));
}
