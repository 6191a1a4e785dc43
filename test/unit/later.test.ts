import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { later } from '../../src/later.js';

const turn = async (): Promise<void> => { await new Promise((resolve) => { setImmediate(resolve); }); };

describe('who looks on', () => {
  /** Good moments come when `come` is called. */
  function watched() {
    const source$ = new Subject<string>();
    const seen: string[] = [];
    const moments: (() => void)[] = [];
    source$.pipe(later(() => new Promise((resolve) => { moments.push(resolve); }))).subscribe({ next: (each) => { seen.push(each); }, error: (error) => { seen.push(`failed: ${String(error)}`); }, complete: () => { seen.push('the end'); } });
    return { source$, seen, asked: () => moments.length, come: async () => {
      moments.at(-1)?.();
      await turn();
    } };
  }

  it('is told in order, at the first good moment after something happened', async () => {
    const { source$, seen, asked, come } = watched();
    expect(asked()).toBe(0);
    source$.next('a');
    source$.next('b');
    await turn();
    expect([asked(), ...seen]).toEqual([1]);
    await come();
    expect(seen).toEqual(['a', 'b']);
    source$.next('c');
    expect([asked(), ...seen]).toEqual([2, 'a', 'b']);
    await come();
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  it('is told all that is left at the end, once', async () => {
    const { source$, seen, come } = watched();
    source$.next('a');
    source$.complete();
    await come();
    expect(seen).toEqual(['a', 'the end']);
  });

  it('hears of a failure after all that came before it', () => {
    const { source$, seen } = watched();
    source$.next('a');
    source$.error('no');
    expect(seen).toEqual(['a', 'failed: no']);
  });
});
