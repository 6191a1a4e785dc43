import { mkdtempSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

/** The kernel interface that `iptables` has: nf_tables tells its listeners of every change, the old one tells nothing. */
export type Flavour = 'iptables-nft' | 'iptables-legacy';

/** Environment of a machine whose `iptables` is of that flavour; `folder` goes with the lab. */
export async function environmentOf(flavour: Flavour, folder: string): Promise<Readonly<Record<string, string>>> {
  const kind = flavour.replace('iptables-', '');
  const { stdout: program } = await execa('readlink', ['-f', (await execa('which', [flavour])).stdout]);
  const programs = mkdtempSync(join(folder, `${kind}-`));
  for (const name of ['iptables', 'ip6tables']) for (const verb of ['', '-save', '-restore']) symlinkSync(program, join(programs, `${name}${verb}`));
  return { PATH: `${programs}:${process.env['PATH'] ?? ''}` };
}

const programs: Readonly<Record<Flavour, readonly string[]>> = { 'iptables-nft': ['iptables-nft', 'ip6tables-nft'], 'iptables-legacy': ['iptables-legacy', 'ip6tables-legacy'] };

/** A shell command that empties tables and removes the chains of others. */
export function flushScript(flavour: Flavour, chosen: readonly string[]): string {
  return programs[flavour].flatMap((program) => chosen.flatMap((table) => [`${program} -w -t ${table} -F`, `${program} -w -t ${table} -X`])).join('; ');
}
