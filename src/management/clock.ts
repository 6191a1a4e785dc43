/** Where the time comes from, so that tests can be their own clock. */
export interface Clock {
  /** Milliseconds; only differences count. */
  now(): number;
  /** Calls back once after that many milliseconds; the returned function cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};
