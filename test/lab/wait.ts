/** Resolves after so many milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How many times as long as usual everything may take: on an emulated machine, more than once. */
export const patience = Number(process.env['OOD_PATIENCE'] ?? 1);

export interface WaitOptions {
  /** How long to try before failing; default 10 s. */
  readonly timeoutMs?: number;
  /** The pause between two looks; default 10 ms. */
  readonly everyMs?: number;
}

/** Looks again and again until `look` gives something else than undefined or false; rejects after the time. */
export async function until<T>(what: string, look: () => T | Promise<T>, { timeoutMs = 10_000, everyMs = 10 }: WaitOptions = {}): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + timeoutMs * patience;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen as Exclude<T, undefined | false>;
    if (performance.now() > deadline) throw new Error(`not seen within ${timeoutMs * patience} ms: ${what}`);
    await sleep(everyMs);
  }
}
