import { open } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { NfQueue } from 'node-nfqueue';
import { Netns } from '../../lab/netns.js';
import { collect, Fixture } from './fixture.js';
import { RECEIVER4, until } from './lab.js';

const fixture = new Fixture(16);
const NUM = 17;

const GSO_SENDER = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, 64)  # UDP_SEGMENT
s.sendto(bytes(6400), ('${RECEIVER4}', 9))
`;

describe('packets', () => {
  it.each([
    ['PREROUTING', { hook: 'prerouting', hookNumber: 0, inDevice: 'lan0', outDevice: undefined }],
    ['FORWARD', { hook: 'forward', hookNumber: 2, inDevice: 'lan0', outDevice: 'wan0' }],
    ['POSTROUTING', { hook: 'postrouting', hookNumber: 4, outDevice: 'wan0' }],
    ['INPUT', { hook: 'input', hookNumber: 1, inDevice: 'lan0', outDevice: undefined }],
    ['OUTPUT', { hook: 'output', hookNumber: 3, inDevice: undefined, outDevice: 'wan0' }],
  ])('of the hook %s are told apart', async (chain, expected) => {
    const rule = `${chain} -p udp --dport 9 -m mark ! --mark 1 -j NFQUEUE --queue-num ${NUM}`;
    await fixture.lab.iptables(`-t mangle -I ${rule}`);
    // what the lab queues goes on at once, unmarked
    const first = await fixture.open();
    first.on('packets', (batch) => first.verdictUpTo(batch.lastId, { verdict: 'accept' }));
    const queue = await fixture.open({ num: NUM });
    const packets = collect(queue);
    await fixture.lab.send(1, { host: chain === 'INPUT' ? '10.1.0.1' : RECEIVER4, from: chain === 'OUTPUT' ? fixture.lab.router : fixture.lab.sender });
    await until('a packet', () => packets.length === 1);
    expect(packets[0]).toMatchObject(expected);
    await fixture.lab.iptables(`-t mangle -D ${rule}`);
  });

  it('that are large come whole if asked for, or in frames', async () => {
    for (const [gso, count, length] of [[true, 1, 6428], [false, 100, 92]] as const) {
      const queue = await fixture.open({ flags: { gso } });
      const packets = collect(queue);
      await fixture.lab.router.run('python3', ['-c', GSO_SENDER]);
      await until(`${count} packets`, () => packets.length === count);
      expect(packets[0]).toMatchObject({ length, gso });
      await queue.close();
    }
  });

  it('of a bridge name its ports', async () => {
    const [bridge, left, right] = await Promise.all([Netns.create('nfq-b'), Netns.create('nfq-1'), Netns.create('nfq-2')]);
    try {
      await Netns.join({ netns: bridge, device: 'port1', addresses: [] }, { netns: left, device: 'eth0', addresses: ['10.3.0.1/24'] });
      await Netns.join({ netns: bridge, device: 'port2', addresses: [] }, { netns: right, device: 'eth0', addresses: ['10.3.0.2/24'] });
      await bridge.ip('link add br0 type bridge');
      for (const port of ['port1', 'port2']) await bridge.ip(`link set ${port} master br0`);
      await bridge.ip('link set br0 up');
      // physdev brings br_netfilter, and that the sysctl
      await bridge.run('iptables', ['-w', '-t', 'mangle', '-A', 'FORWARD', '-p', 'udp', '-m', 'physdev', '--physdev-is-bridged', '-j', 'NFQUEUE', '--queue-num', '1']);
      await bridge.run('sysctl', ['-qw', 'net.bridge.bridge-nf-call-iptables=1']);
      const file = await open(`/run/netns/${bridge.name}`);
      const queue = await NfQueue.open({ num: 1, netns: file.fd });
      await file.close();
      const packets = collect(queue);
      await fixture.lab.send(1, { from: left, host: '10.3.0.2' });
      await until('a packet', () => packets.length === 1);
      expect(packets[0]).toMatchObject({ hook: 'forward', inDevice: 'br0', outDevice: 'br0', physicalInDevice: 'port1', physicalOutDevice: 'port2' });
      await queue.close();
    } finally {
      await Promise.all([bridge.dispose(), left.dispose(), right.dispose()]);
    }
  });
});
