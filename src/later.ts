import { Observable, type MonoTypeOperatorFunction } from 'rxjs';

/**
 * For those who only look on: what happens, in its order, as soon as there was a good moment after it; at the end at
 * once. `goodMoment` is called when something has happened that is still to be told; it must not reject.
 */
export function later<T>(goodMoment: () => Promise<void>): MonoTypeOperatorFunction<T> {
  return (source) => new Observable((subscriber) => {
    let waiting: T[] = [];
    const tell = (): void => {
      const told = waiting;
      waiting = [];
      for (const each of told) subscriber.next(each);
    };
    return source.subscribe({
      next: (value) => {
        if (waiting.push(value) === 1) void goodMoment().then(tell);
      },
      error: (error: unknown) => {
        tell();
        subscriber.error(error);
      },
      complete: () => {
        tell();
        subscriber.complete();
      },
    });
  });
}
