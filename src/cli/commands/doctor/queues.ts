import type { Settings } from '../../../config/load.js';
import { domainQueue } from '../../../core/domains.js';
import { error, ok, warning, type Finding } from './finding.js';
import type { Machine } from './machine.js';

/** A rule of somebody else that hands packets to a queue. */
interface ForeignRule {
  readonly where: string;
  readonly rule: string;
  readonly from: number;
  readonly to: number;
}

const BUFFER_BYTES = 8 << 20;

/** Whether our queue numbers are free, and whether the sockets behind them get the memory that bursts need. `running`: a daemon has them. */
export async function checkQueues(machine: Machine, settings: Settings, running: boolean): Promise<Finding[]> {
  const numbers = new Map(settings.tunnels.flatMap(({ name, queue, domains }) => [queue, ...(domains.length > 0 ? [domainQueue(queue)] : [])].map((number) => [number, name])));
  const [inUse, rules] = await Promise.all([running ? [] : queuesInUse(machine), foreignRules(machine)]);
  const busy = inUse.filter((number) => numbers.has(number)).map((number) => error('QUEUE_IN_USE', `NFQUEUE ${number} of tunnel ${numbers.get(number) ?? ''} belongs to another program`, 'give the tunnel another with `queue`, or stop that program'));
  const clashes = rules.flatMap((rule) => {
    const hit = [...numbers.keys()].filter((number) => number >= rule.from && number <= rule.to);
    return hit.map((number) => error('QUEUE_RULE_CONFLICT', `a rule that is not ours sends packets to NFQUEUE ${number} of tunnel ${numbers.get(number) ?? ''}: ${rule.where}: ${rule.rule}`, 'remove the rule, or give the tunnel another number with `queue`'));
  });
  const free = busy.length + clashes.length === 0 ? [ok('QUEUES', `NFQUEUE ${[...numbers.keys()].join(', ')}: ${running ? 'the daemon has it' : 'free'}, and no rule of others`)] : [];
  return [...busy, ...clashes, ...free, ...(await checkBuffer(machine))];
}

/** net/netfilter/nfnetlink_queue.c, seq_show: the first column is the number. */
async function queuesInUse(machine: Machine): Promise<number[]> {
  const text = (await machine.read('/proc/net/netfilter/nfnetlink_queue')) ?? '';
  return text.split('\n').filter((line) => line.trim() !== '').map((line) => Number.parseInt(line, 10));
}

/** With CAP_NET_ADMIN outside of a user namespace the buffer may pass rmem_max; elsewhere that is the limit. */
async function checkBuffer(machine: Machine): Promise<Finding[]> {
  const map = (await machine.read('/proc/self/uid_map')) ?? '';
  const initial = /^\s*0\s+0\s+4294967295\s*$/.test(map);
  const limit = Number((await machine.read('/proc/sys/net/core/rmem_max')) ?? Number.NaN);
  if (initial) return [ok('QUEUE_BUFFER', `queue sockets get ${BUFFER_BYTES >> 20} MiB`)];
  // Absent in network namespaces other than the first.
  if (limit >= BUFFER_BYTES) return [ok('QUEUE_BUFFER', 'net.core.rmem_max leaves room for bursts')];
  return [warning('QUEUE_BUFFER_SMALL', `in a user namespace a queue socket gets no more than net.core.rmem_max${Number.isNaN(limit) ? '' : ` (${limit} bytes)`}: a burst of thousands of packets overruns it`, `on the host: sysctl -w net.core.rmem_max=${BUFFER_BYTES}`)];
}

async function foreignRules(machine: Machine): Promise<ForeignRule[]> {
  const saves = ['iptables', 'ip6tables'].flatMap((name) => ['', '-legacy', '-nft'].map((flavour) => `${name}${flavour}-save`));
  const found = await Promise.all([
    ...saves.map(async (program) => parseSave(program, await output(machine, program, []))),
    output(machine, 'nft', ['-n', 'list', 'ruleset']).then(parseRuleset),
  ]);
  const all = found.flat();
  // One rule is told by several programs: iptables, iptables-nft, nft.
  return all.filter(({ from, to }, index) => all.findIndex((other) => other.from === from && other.to === to) === index);
}

async function output(machine: Machine, program: string, args: readonly string[]): Promise<string> {
  const ran = await machine.run(program, args);
  return ran?.succeeded ? ran.stdout : '';
}

function parseSave(program: string, text: string): ForeignRule[] {
  return text.split('\n').flatMap((line) => {
    const [, from, to] = /^(?!-A OOD-).*-j NFQUEUE.*--queue-(?:num|balance) (\d+)(?::(\d+))?/.exec(line) ?? [];
    return from === undefined ? [] : [{ where: program.replace('-save', ''), rule: line, from: Number(from), to: Number(to ?? from) }];
  });
}

/** Rules of nft itself: `queue num 5`, `queue flags bypass to 5-7`. Our own are left out. */
function parseRuleset(text: string): ForeignRule[] {
  const rules: ForeignRule[] = [];
  let table = '';
  let chain = '';
  for (const line of text.split('\n')) {
    table = /^table (.*) \{/.exec(line)?.[1] ?? table;
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain;
    const [, from, to] = /\bqueue\b.*?\b(?:num|to) (\d+)(?:-(\d+))?/.exec(line.replace(/".*"/, '')) ?? [];
    if (from !== undefined && !isOurs(table, chain)) rules.push({ where: `nft ${table} ${chain}`, rule: line.trim(), from: Number(from), to: Number(to ?? from) });
  }
  return rules;
}

function isOurs(table: string, chain: string): boolean {
  return chain.startsWith('OOD-') || / (ood|openvpn-ondemand)\b/.test(table);
}
