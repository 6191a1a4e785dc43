import { describe, expect, it } from '@jest/globals';
import { properties } from '../../fuzz/management/properties.js';

// The bounded run, the same every time; `npm run fuzz:management` is the long one, with seeds of its own.
describe('for generated input', () => {
  it.each(properties.map((property) => [property.name, property] as const))('%s', async (_, property) => {
    expect(await property.check(300, 20_260_614)).toBeGreaterThan(0);
  });
});
