import { z } from 'zod';
import { schema } from './schema.js';

/**
 * The configuration's form as a JSON schema (draft 2020-12), for editors: what a user may write, before defaults. It
 * says less than the loader, which also checks prefixes, marks, and what tunnels say beside one another.
 */
export function jsonSchema(): Record<string, unknown> {
  return { title: 'openvpn-ondemand configuration', ...z.toJSONSchema(schema, { io: 'input' }) };
}
