import { execa } from 'execa';

/** What takes packets of established connections past every hook of the firewall (Documentation/networking/nf_flowtable.rst). */
export interface Flowtable {
  /** `inet fw4`, or `iptables filter` and its chain. */
  readonly table: string;
  readonly name: string;
  /** `flags offload`: a network card may forward by itself. */
  readonly hardware: boolean;
}

export interface FlowtableOptions {
  /** A command that is given the program and its arguments, for tests: `['ip', 'netns', 'exec', NAME]`. */
  readonly prefix?: readonly string[];
}

/** Who tells of flowtables, and how it is read. */
const witnesses = [
  { program: 'nft', args: ['list', 'flowtables'], parse: parseFlowtables },
  ...['iptables', 'ip6tables'].map((family) => ({ program: `${family}-save`, args: ['-t', 'filter'], parse: (text: string) => parseOffloadRules(text, family) })),
] as const;

/** The flowtables of which `run` hears; it resolves with what a program prints, undefined if that failed or is not installed. */
export async function flowtablesBy(run: (program: string, args: readonly string[]) => Promise<string | undefined>): Promise<readonly Flowtable[]> {
  return (await Promise.all(witnesses.map(async ({ program, args, parse }) => parse((await run(program, args)) ?? '')))).flat();
}

/** The flowtables of this machine; none where no program tells of them, or nobody may ask. */
export function listFlowtables({ prefix = [] }: FlowtableOptions = {}): Promise<readonly Flowtable[]> {
  return flowtablesBy(async (program, rest) => {
    const [file = program, ...args] = [...prefix, program, ...rest];
    const { stdout, failed } = await execa(file, args, { stdin: 'ignore', reject: false, timeout: 10_000, env: { LC_ALL: 'C' } });
    return failed ? undefined : stdout;
  });
}

/** From the output of `iptables-save`: OpenWrt's iptables has a target that does it, with a flowtable of its own (xt_FLOWOFFLOAD). */
export function parseOffloadRules(text: string, program: string): readonly Flowtable[] {
  return [...text.matchAll(/^-A (\S+) (?:.* )?-j FLOWOFFLOAD\b(.*)$/gm)].map(([, chain = '', options = '']) => ({ table: `${program} filter`, name: chain, hardware: / --hw\b/.test(options) }));
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
