// `npm run schema`: the JSON schema that editors complete configurations by, made from the one that the loader uses.
import { writeFileSync } from 'node:fs';
import { jsonSchema } from '../src/config/json-schema.ts';

writeFileSync(new URL('../conf/openvpn-ondemand.schema.json', import.meta.url), `${JSON.stringify(jsonSchema(), null, 2)}\n`);
