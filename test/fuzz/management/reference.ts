/** `isspace` of the C locale, and the end of the string. */
const isSpace = (character: string): boolean => character === '' || ' \t\n\v\f\r'.includes(character);

/** Bytes of a command line as OpenVPN keeps them: no control characters (command_line_add() in manage.c). */
function kept(line: string): string {
  return Array.from(line)
    .filter((character) => character >= ' ' && character !== '\u007f')
    .join('');
}

/**
 * parse_line() of OpenVPN 2.6's options.c, state by state, to compare with: the parameters, or undefined where OpenVPN
 * answers with an error. Lengths are not looked at.
 */
export function parseLine(input: string): string[] | undefined {
  const line = kept(input);
  const found: string[] = [];
  let state: 'initial' | 'quoted' | 'unquoted' | 'single' = 'initial';
  let backslash = false;
  let parameter = '';
  const characters = [...Array.from(line), ''];
  for (const character of characters) {
    let out = '';
    let done = false;
    if (!backslash && character === '\\' && state !== 'single') {
      backslash = true;
      continue;
    }
    if (state === 'initial') {
      if (!isSpace(character)) {
        if (character === ';' || character === '#') break;
        if (!backslash && character === '"') state = 'quoted';
        else if (!backslash && character === "'") state = 'single';
        else {
          out = character;
          state = 'unquoted';
        }
      }
    } else if (state === 'unquoted') {
      if (!backslash && isSpace(character)) done = true;
      else out = character;
    } else if (state === 'quoted') {
      if (!backslash && character === '"') done = true;
      else out = character;
    } else if (character === "'") done = true;
    else out = character;
    if (done) {
      found.push(parameter);
      parameter = '';
      state = 'initial';
    }
    if (backslash && out !== '' && out !== '\\' && out !== '"' && !isSpace(out)) return undefined;
    backslash = false;
    parameter += out;
  }
  return state === 'initial' ? found : undefined;
}
