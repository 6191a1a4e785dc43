import { pino, type Logger } from 'pino';

/** JSON lines on standard error, written at once: nothing is left to flush, and no timer runs. */
export function createLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } }, pino.destination({ dest: 2, sync: true }));
}
