import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { checkout } from '../../lab/paths.js';

/** Every source file of the daemon; the binding logs nothing. */
const sources = readdirSync(join(checkout, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.startsWith('nfqueue/native/'))
  .map((name) => ({ name, text: readFileSync(join(checkout, 'src', name), 'utf8') }));

it('the README lists every event of the log, and no other', () => {
  const readme = readFileSync(join(checkout, 'README.md'), 'utf8');
  const section = /^### Logs\n(.*?)^### /ms.exec(readme)?.[1] ?? '';
  const listed = [...section.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([a-z_.]+)`/g)].map(([, name]) => name));
  // Nothing else in the sources is written like the name of an event: lower case, one dot, single quotes.
  const logged = new Set(sources.flatMap(({ text }) => [...text.matchAll(/'([a-z]+\.[a-z_]+)'/g)].map(([, name]) => name)));
  expect([...listed].sort()).toEqual([...logged].sort());
});

it('every event has a name that can be searched for', () => {
  expect(sources.filter(({ text }) => /\bevent: `/.test(text)).map(({ name }) => name)).toEqual([]);
});
