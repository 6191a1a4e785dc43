const unitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `500ms`, `5s`, `5m`, `1h`, `1.5d` in milliseconds; undefined if it is not a duration. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  return match ? Number(match[1]) * unitsMs[match[2] as keyof typeof unitsMs] : undefined;
}

/** What the writer of `5 mins` or `90` most likely meant; undefined if there is nothing to guess from. */
export function durationHint(text: string): string | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)/i.exec(text);
  if (!match) return undefined;
  const unit = (match[2] ?? '').toLowerCase();
  const known = unit.startsWith('ms') || unit.startsWith('mil') ? 'ms' : (['s', 'm', 'h', 'd'].find((letter) => unit.startsWith(letter)) ?? 's');
  return `${match[1] ?? ''}${known}`;
}
