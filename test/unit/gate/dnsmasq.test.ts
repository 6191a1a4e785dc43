import { expect, it } from '@jest/globals';
import { dnsmasqLines, dnsmasqOption } from '../../../src/gate/dnsmasq.js';

const office = { name: 'office', domains: ['corp.example', 'lab'] };

it('ipset= names the sets of both families, a line for each domain', () => {
  expect(dnsmasqLines(office, 'ipset')).toEqual(['ipset=/corp.example/ood-office-dns4,ood-office-dns6', 'ipset=/lab/ood-office-dns4,ood-office-dns6']);
});

it('nftset= says of which family each of them is', () => {
  expect(dnsmasqLines({ name: 'a long name', domains: ['lab'] }, 'nftset')).toEqual(['nftset=/lab/4#inet#openvpn_ondemand#ood-alongn-5e9edc-dns4,6#inet#openvpn_ondemand#ood-alongn-5e9edc-dns6']);
  expect(dnsmasqLines({ name: 'none', domains: [] }, 'nftset')).toEqual([]);
});

it('which of them follows from the gate', async () => {
  expect([await dnsmasqOption('iptables'), await dnsmasqOption('condition'), await dnsmasqOption('nft')]).toEqual(['ipset', 'ipset', 'nftset']);
});
