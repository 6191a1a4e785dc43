import { describe, expect, it } from '@jest/globals';
import { planOf } from '../../../src/gate/plan.js';
import { formatNet } from '../../../src/core/prefix.js';
import { catchRoutes, closingRoutes, closingRuleText, nameRoute, parseKept, parseLans, parseNexthops, parseRoutes, parseRules, renderRoute } from '../../../src/gate/routes.js';

const marks = { mask: 0xc00000, transport: 0x400000, release: 0x800000, reject: 0xc00000 };
const planned = planOf([{ name: 'a', device: 'tun-a', queue: 1, protect: ['10.0.0.0/8', '::/0'], exclude: ['10.0.0.0/9'], remotes: ['10.200.0.1', '192.0.2.1'], onFailure: 'drop' }], { marks, lans: [], closingTable: 500 }).tunnels[0]!;

describe('routes', () => {
  it('lead to lo with a bad metric, and have the kept address as source', () => {
    const routes = catchRoutes(planned, 4000, { ipv4: '10.8.0.6' });
    expect(routes.filter(({ family }) => family === 4)).toHaveLength(23);
    expect(renderRoute(routes[0]!, 'dev lo')).toBe('10.128.0.0/10 dev lo metric 4000 proto 208 src 10.8.0.6');
    expect(renderRoute(routes.at(-1)!, 'nhid 5')).toBe('::/0 nhid 5 metric 4000 proto 208');
  });

  it('of the closing table go on to the next table for what is exempt', () => {
    expect(closingRoutes(planned, 4000, { ipv4: '10.8.0.6' }).map((route) => renderRoute(route, 'dev lo'))).toEqual([
      '10.0.0.0/8 dev lo metric 4000 table 500 proto 208 src 10.8.0.6',
      'throw 10.0.0.0/9 metric 4000 table 500 proto 208',
      '::/0 dev lo metric 4000 table 500 proto 208',
      'throw ::1/128 metric 4000 table 500 proto 208',
      'throw fe80::/10 metric 4000 table 500 proto 208',
      'throw ff00::/8 metric 4000 table 500 proto 208',
      'throw 10.200.0.1/32 metric 4000 table 500 proto 208',
    ]);
    expect(closingRuleText({ priority: 90, mask: marks.mask, table: planned.closingTable })).toBe('pref 90 iif lo fwmark 0x0/0xc00000 lookup 500 protocol 208');
  });

  it('are found again by what names them', () => {
    const json = JSON.stringify([
      { type: 'unicast', dst: 'default', dev: 'lo', protocol: '208', metric: 4000, prefsrc: 'fd00::6', table: 'main' },
      { type: 'throw', dst: '10.0.0.1', protocol: '208', table: '500', metric: 4000 },
    ]);
    expect(parseRoutes(json, 4).map(nameRoute)).toEqual(['0.0.0.0/0 metric 4000 proto 208', 'throw 10.0.0.1/32 metric 4000 table 500 proto 208']);
    expect(parseRoutes('', 4)).toEqual([]);
  });

  it('on link are what the kernel made for addresses, and no tunnel of ours', () => {
    const json = JSON.stringify([
      { dst: 'default', dev: 'ppp0' },
      { dst: '10.1.0.0/16', dev: 'eth0' },
      { dst: '10.3.0.0/16', dev: 'tun-a' },
      { dst: '10.4.0.0/16', dev: 'lo' },
      { dst: '10.5.0.0/16', dev: 'eth0', gateway: '10.1.0.1' },
    ]);
    expect(parseLans(json, 4, new Set(['tun-a'])).map(formatNet)).toEqual(['10.1.0.0/16']);
  });

  it('leave rules, addresses and nexthops of others alone', () => {
    const rules = JSON.stringify([{ priority: 90, fwmark: '0x1', table: '500' }, { priority: 90, fwmark: '0', fwmask: '0xc00000', iif: 'lo', table: '500', protocol: '208' }]);
    expect(parseRules(rules, 4).map(({ spec }) => spec)).toEqual(['pref 90 iif lo fwmark 0/0xc00000 lookup 500 protocol 208']);
    const addresses = JSON.stringify([{ addr_info: [
      { family: 'inet', local: '127.0.0.1', prefixlen: 8, label: 'lo' },
      { family: 'inet', local: '10.8.0.6', prefixlen: 32, label: 'lo:ood' },
      { family: 'inet6', local: 'fd00::6', prefixlen: 128 },
      { family: 'inet6', local: 'fd00::7', prefixlen: 128 },
    ] }]);
    const source = { family: 6, type: 'unicast', prefix: '::/0', metric: 1, table: undefined, source: 'fd00::6' } as const;
    expect(parseKept(addresses, [source]).map(({ address }) => address)).toEqual(['10.8.0.6', 'fd00::6']);
    expect([parseNexthops('[{"id":20800,"protocol":"208"}]'), parseNexthops('[{"id":20800,"protocol":"zebra"}]'), parseNexthops('')]).toEqual([true, false, false]);
  });
});
