/** One thing that was looked at. */
export interface Finding {
  /** Stable, to be matched by programs: `RP_FILTER_STRICT`. */
  readonly code: string;
  /** `error`: the daemon can't do what it promises; `warning`: it can, but something will surprise. */
  readonly severity: 'ok' | 'warning' | 'error';
  readonly message: string;
  /** What to do about it: a sentence or a command. Absent where all is well. */
  readonly fix?: string;
}

export function ok(code: string, message: string): Finding {
  return { code, severity: 'ok', message };
}

export function warning(code: string, message: string, fix: string): Finding {
  return { code, severity: 'warning', message, fix };
}

export function error(code: string, message: string, fix: string): Finding {
  return { code, severity: 'error', message, fix };
}
