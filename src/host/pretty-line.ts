const levels: Readonly<Record<string, { readonly word: string; readonly colour: number }>> = {
  debug: { word: 'debug    ', colour: 2 },
  info: { word: '', colour: 0 },
  warn: { word: 'warning: ', colour: 33 },
  error: { word: 'error: ', colour: 31 },
  fatal: { word: 'error: ', colour: 31 },
};
const DIM = 2;

interface Line {
  readonly level: string;
  /** ISO 8601. */
  readonly time: string;
  readonly msg: string;
  readonly event: string;
  readonly tunnel?: string;
  readonly [field: string]: unknown;
}

/** A line of the JSON log for a person: time of day, sentence, then event and fields. Nothing in it moves the cursor. */
export function prettyLine(json: string, colours: boolean): string {
  const paint = (text: string, code: number): string => (colours && code !== 0 && text !== '' ? `\x1b[${code}m${text}\x1b[0m` : text);
  const { level, time, msg, event, tunnel, ...fields } = JSON.parse(json) as Line;
  const { word, colour } = levels[level] ?? { word: '', colour: 0 };
  const details = [event, ...Object.entries({ tunnel, ...fields }).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${fieldText(value)}`)];
  return `${paint(timeOfDay(time), DIM)} ${paint(`${word}${printable(msg)}`, colour)}  ${paint(details.join(' ').trim(), DIM)}`.trimEnd();
}

/** As the clock on the wall has it. */
function timeOfDay(iso: string): string {
  const date = new Date(iso);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' && /^[\w.:/@%+-]+$/.test(value) ? value : JSON.stringify(value);
  return printable(text);
}

/** What a server, or a process name, puts into a message must not steer the terminal. */
function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
