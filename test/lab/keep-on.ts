import { sleep } from './wait.js';

/** Does all of these side by side, each again and again with a pause in between, until it is told to end. Resolves when nothing of it goes on. */
export function keepOn(flows: readonly (() => Promise<unknown>)[], pauseMs: number): () => Promise<void> {
  let ended = false;
  const running = flows.map(async (once) => {
    while (!ended) {
      await once();
      await sleep(pauseMs);
    }
  });
  return async () => {
    ended = true;
    await Promise.all(running);
  };
}
