import { execa } from 'execa';

/** What takes packets of established connections past every hook of the firewall (Documentation/networking/nf_flowtable.rst). */
export interface Flowtable {
  /** `inet fw4`. */
  readonly table: string;
  readonly name: string;
  /** `flags offload`: a network card may forward by itself. */
  readonly hardware: boolean;
}

export interface FlowtableOptions {
  /** A command that is given the program and its arguments, for tests: `['ip', 'netns', 'exec', NAME]`. */
  readonly prefix?: readonly string[];
}

/** The flowtables of this machine; none where `nft` is not installed, or nobody may ask. */
export async function listFlowtables({ prefix = [] }: FlowtableOptions = {}): Promise<readonly Flowtable[]> {
  const [file, ...args] = [...prefix, 'nft', 'list', 'flowtables'];
  const { stdout, failed } = await execa(file, args, { stdin: 'ignore', reject: false, timeout: 10_000, env: { LC_ALL: 'C' } });
  return failed ? [] : parseFlowtables(stdout);
}

/** From the output of `nft list flowtables`. */
export function parseFlowtables(text: string): readonly Flowtable[] {
  const found: Flowtable[] = [];
  let table = '';
  for (const line of text.split('\n')) {
    table = /^table (.*) \{/.exec(line)?.[1] ?? table;
    const name = /^\s*flowtable (\S+) \{/.exec(line)?.[1];
    const last = found.at(-1);
    if (name !== undefined) found.push({ table, name, hardware: false });
    else if (last !== undefined && /^\s*flags .*\boffload\b/.test(line)) found[found.length - 1] = { ...last, hardware: true };
  }
  return found;
}
