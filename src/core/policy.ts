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
  /** A tunnel that came up stays at least so long. */
  readonly minUpMs: number;
  /** More wakes by packets than this in an hour are refused; Infinity: no bound. */
  readonly wakesPerHour: number;
  /** It protects names, which are to be asked for. Default false. */
  readonly hasNames?: boolean;
}

const HOUR_MS = 3_600_000;

/** Those of the last hour. */
export function withinHour(times: readonly number[], now: number): readonly number[] {
  return times.filter((time) => time > now - HOUR_MS);
}

/** When the budget of wakes has room again; undefined: it has now. */
export function budgetFreeAt(policy: Policy, wakeTimes: readonly number[], now: number): number | undefined {
  const counted = withinHour(wakeTimes, now);
  const oldest = counted.at(-policy.wakesPerHour);
  return counted.length >= policy.wakesPerHour && oldest !== undefined ? oldest + HOUR_MS : undefined;
}

/** How long to refuse after so many failures in a row (1 is the first): exponential, plus up to a quarter of jitter. */
export function backoffMs(policy: Policy, failures: number, random: number): number {
  const base = Math.min(policy.backoffMaxMs, policy.backoffStartMs * 2 ** (failures - 1));
  return Math.round(base * (1 + random / 4));
}

/**
 * How often the counters are read while up: the tunnel then ends at most an eighth (and at most 10 s) late. A reading is a
 * program for each family, so more of them would be felt by the traffic that they count.
 */
export function idleCheckMs(policy: Policy): number {
  return Math.min(10_000, Math.max(100, policy.idleMs / 8));
}
