import { expect, it } from '@jest/globals';
import { offloadedAmong, type TrackedConnection } from '../../../src/core/established.js';
import { parseNet } from '../../../src/core/prefix.js';

const parts = ['10.99.0.0/16', '192.0.2.7/32'].map(parseNet);
const connection = (source: string, destination: string, replySource = destination, replyDestination = source, offloaded = true): TrackedConnection => ({ family: 4, source, destination, replySource, replyDestination, offloaded });
const forget = { family: 4, offloaded: true };

it.each([
  ['to a protected address', connection('10.77.1.2', '10.99.3.1'), [{ ...forget, destination: '10.99.0.0/16' }]],
  ['to one that is a host alone', connection('10.77.1.2', '192.0.2.7'), [{ ...forget, destination: '192.0.2.7' }]],
  ['from a protected address: its replies go there', connection('10.99.3.1', '10.77.1.2'), [{ ...forget, source: '10.99.0.0/16' }]],
  ['to what is NATed to a protected address', connection('10.77.1.2', '203.0.113.80', '10.99.3.1'), [{ ...forget, replySource: '10.99.3.1' }]],
  ['from what is NATed to a protected address', connection('10.77.1.2', '203.0.113.80', '203.0.113.80', '10.99.3.2'), [{ ...forget, replyDestination: '10.99.3.2' }]],
  ['elsewhere', connection('10.77.1.2', '203.0.113.80'), []],
  ['to a protected address, by the firewall', connection('10.77.1.2', '10.99.3.1', '10.99.3.1', '10.77.1.2', false), []],
])('of what flowtables forward, is ended what goes %s', (_, tracked, expected) => {
  expect(offloadedAmong([tracked], parts)).toEqual(expected);
});

it('each prefix is named once', () => {
  expect(offloadedAmong([connection('10.77.1.2', '10.99.3.1'), connection('10.77.1.3', '10.99.3.2')], parts)).toEqual([{ ...forget, destination: '10.99.0.0/16' }]);
});
