import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { addresses, devices } from '../lab/addresses.js';
import { Capture, watchUnderlay } from '../lab/capture.js';
import { Daemon } from '../lab/daemon.js';
import { Lab, serviceAddress, servicePort } from '../lab/lab.js';
import type { Answer, Probe } from '../lab/probe.js';

const { lan, tunnel } = addresses;

type Ask = (probe: Probe, address: string) => Promise<Answer>;
const asks: Readonly<Record<string, Ask>> = {
  tcp: (probe, address) => probe.connect(address, servicePort),
  udp: (probe, address) => probe.ask(address, servicePort),
  ping: (probe, address) => probe.ping(address),
};

interface Case {
  readonly kind: keyof typeof asks;
  readonly from: 'lan' | 'router';
  readonly family: 'ipv4' | 'ipv6';
  /** The source address that the service sees. */
  readonly source: string;
}

const cases: Case[] = Object.keys(asks).flatMap((kind): Case[] => [
  { kind, from: 'lan', family: 'ipv4', source: lan.host },
  { kind, from: 'lan', family: 'ipv6', source: lan.host6 },
  { kind, from: 'router', family: 'ipv4', source: tunnel.client },
  { kind, from: 'router', family: 'ipv6', source: tunnel.client6 },
]);

describe('the first packet, from idle', () => {
  let lab: Lab;
  let daemon: Daemon;
  let leaks: Capture;
  let delivered: Capture;

  beforeAll(async () => {
    lab = await Lab.open();
    daemon = await Daemon.start(lab);
    leaks = await watchUnderlay(lab.topology, 'leaks');
    delivered = await Capture.start(lab.topology.service, devices.service, `port ${servicePort} or icmp or icmp6`, { folder: lab.folder, label: 'service' });
  });

  afterAll(() => lab.close());

  afterEach(async () => {
    await daemon.down();
    await daemon.reaches('idle');
  });

  it.each(cases)('$kind, $from, $family: answered, by the first packet', async ({ kind, from, family, source }) => {
    expect(await daemon.status()).toMatchObject({ state: 'idle', gate: 'hold', held: { packets: 0 } });
    expect(await daemon.openvpnPids()).toEqual([]);
    const before = (await delivered.seen()).packets.length;

    const answer = await asks[kind]!(lab.probes[from], serviceAddress[family]);
    expect(answer).toMatchObject(kind === 'tcp' ? { ok: true, retransmits: 0 } : { ok: true });

    const { state, gate, counters, lastWake } = await daemon.reaches('up');
    expect({ state, gate }).toEqual({ state: 'up', gate: 'open' });
    expect(counters).toMatchObject({ dropped: 0, rejected: 0, dialFailures: 0 });
    expect(lastWake?.released).toBeGreaterThan(0);
    expect(lastWake).toMatchObject({ packet: { destination: serviceAddress[family], ...(from === 'lan' ? { source: lan[family === 'ipv4' ? 'host' : 'host6'], interface: devices.router.lan } : {}) } });
    const arrived = (await delivered.seen()).packets.slice(before);
    expect(arrived.join('\n')).toContain(` ${source}${kind === 'ping' ? ' ' : '.'}`);
    expect((await leaks.seen()).packets).toEqual([]);
  });

  it('held nothing longer than the dial, and dialled once per wake', async () => {
    const { counters } = await daemon.status();
    expect(counters.wakes).toBe(cases.length);
    expect(counters.released).toBe(counters.held);
  });
});
