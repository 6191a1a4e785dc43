import type { Report, Target } from './report.js';

const WIDTH = 720;
const ROW = 34;
const LABEL = 330;
const BAR = WIDTH - LABEL - 170;

/** The targets of a report as an SVG: each bar is the measured median, the line is the limit. */
export function chart({ bench, machine, rounds, targets }: Report): string {
  const height = 40 + targets.length * ROW + 24;
  const rows = targets.map((target, i) => row(target, 40 + i * ROW));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="24" font-weight="bold">${escape(bench)}: median of ${rounds} rounds; the line is the limit</text>`,
    ...rows,
    `<text x="12" y="${height - 8}" fill="#666" font-size="11">${escape(`Linux ${machine.kernel}, Node ${machine.node}, ${machine.cores} cores`)}</text>`,
    '</svg>',
    '',
  ].join('\n');
}

function row({ what, measured, bound, limit, unit, met }: Target, y: number): string {
  const scale = BAR / (Math.max(measured.median, limit) || 1) / 1.1;
  const [bar, line] = [Math.max(1, measured.median * scale), LABEL + limit * scale];
  return [
    `<text x="12" y="${y + 17}">${escape(what)}</text>`,
    `<rect x="${LABEL}" y="${y + 4}" width="${bar.toFixed(1)}" height="18" fill="${met ? '#3a7' : '#c43'}"/>`,
    `<path d="M${line.toFixed(1)} ${y}v26" stroke="#333" stroke-width="2"/>`,
    `<text x="${LABEL + BAR + 8}" y="${y + 17}">${escape(`${Number(measured.median.toPrecision(3))}${unit === undefined ? '' : ` ${unit}`} (${bound === 'at most' ? '≤' : '≥'} ${limit})`)}</text>`,
  ].join('\n');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
