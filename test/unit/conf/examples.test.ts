import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { jsonSchema } from '../../../src/config/json-schema.js';
import { parseConfiguration } from '../../../src/config/load.js';
import { DaemonError } from '../../../src/core/errors.js';
import { checkout } from '../../lab/paths.js';

const folder = join(checkout, 'conf', 'examples');
const examples = [...readdirSync(folder).filter((name) => name.endsWith('.yaml')), '../openwrt/config.yaml'];
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

/** What an editor would judge by. */
const schemaFile = join(checkout, 'conf', 'openvpn-ondemand.schema.json');
const shipped = JSON.parse(readFileSync(schemaFile, 'utf8')) as Record<string, unknown>;
const editor = new Ajv2020({ allErrors: true }).compile(shipped);

/** What the loader says, without the part that it reads for itself. */
function complaint(text: string): string {
  try {
    parseConfiguration(text, 'config.yaml');
    return '';
  } catch (error) {
    if (error instanceof DaemonError) return error.describe();
    throw error;
  }
}

it('the JSON schema is the one of this version (npm run schema writes it)', () => {
  expect(shipped).toEqual(jsonSchema());
});

describe.each(examples)('%s', (name) => {
  const text = read(name);

  it('is accepted, by the loader and by the JSON schema', () => {
    expect(complaint(text)).toBe('');
    expect({ valid: editor(parse(text)), errors: editor.errors }).toEqual({ valid: true, errors: null });
  });

  it('names the schema on its first line, for editors', () => {
    expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=../openvpn-ondemand.schema.json');
  });
});

/** A change of one line that both must refuse. */
const broken: readonly { name: string; from: RegExp; to: string; says: string }[] = [
  { name: 'laptop.yaml', from: /idle: 5m/, to: 'idle: 5 mins', says: 'tunnels.office.idle: "5 mins" is not a duration (try 5m)' },
  { name: 'laptop.yaml', from: /exclude:/, to: 'excludes:', says: 'tunnels.office.excludes: is not an option here' },
  { name: 'laptop.yaml', from: /- 10\.99\.0\.0\/16/, to: '- office/example', says: 'tunnels.office.protect.0: "office/example" is not an IPv4 or IPv6 prefix' },
  { name: 'router.yaml', from: /standby: warm/, to: 'standby: hot', says: 'tunnels.site.standby: Invalid option' },
  { name: 'router.yaml', from: /device: site0/, to: 'device: the-device-of-the-site', says: 'tunnels.site.device: is not a device name' },
  { name: 'router.yaml', from: /packets: 4096/, to: 'packets: 0', says: 'tunnels.site.hold.packets: Too small' },
  { name: 'router.yaml', from: /mark: 0x00c00000/, to: 'mark: c00000', says: 'mark: is not a mark' },
  { name: 'full-tunnel.yaml', from: /onFailure: drop/, to: 'onFailure: explode', says: 'tunnels.all.onFailure: Invalid option' },
  { name: 'two-offices.yaml', from: /by: openvpn/, to: 'by: nobody', says: 'tunnels.madrid.idle' },
  { name: 'two-offices.yaml', from: /max: 30m/, to: 'max: 30', says: 'tunnels.madrid.backoff.max' },
  { name: 'attach.yaml', from: /passwordFile:/, to: 'password:', says: 'tunnels.office.openvpn' },
  { name: 'attach.yaml', from: /timeout: 5s\}/, to: 'timeout: soon}', says: 'tunnels.office.credentials.code' },
  { name: 'route.yaml', from: /up: \[ip, route, add, 192\.168\.1\.1\/32, dev, eth1\]/, to: 'up: ip route add 192.168.1.1/32 dev eth1', says: 'tunnels.lan2.command.up: Invalid input' },
  { name: 'wireguard.yaml', from: /down: \[wg-quick, down, wg0\]/, to: 'down: []', says: 'tunnels.office.command.down' },
  { name: '../openwrt/config.yaml', from: /device: office0/, to: 'device: office/0', says: 'tunnels.office.device: is not a device name' },
  { name: 'two-offices.yaml', from: /^log: info/m, to: 'log: loud', says: 'log: Invalid option' },
];

/** What only the loader can know: it computes with what stands there. */
const brokenForTheLoader: typeof broken = [
  { name: 'laptop.yaml', from: /10\.99\.250\.0\/24/, to: '10.99.250.7/24', says: 'tunnels.office.exclude.0: "10.99.250.7/24" has bits set behind its length (did you mean 10.99.250.0/24?)' },
  { name: 'router.yaml', from: /mark: 0x00c00000/, to: 'mark: 0x00500000', says: 'mark: must have exactly two neighbouring bits set' },
  { name: 'two-offices.yaml', from: /protect: \[10\.40\.0\.0\/16/, to: 'protect: [10.30.0.0/16', says: 'tunnels.madrid.protect: 10.30.0.0/16 is protected by tunnel berlin, too' },
];

function breakLine(name: string, from: RegExp, to: string): { text: string; line: number } {
  const before = read(name);
  const at = before.search(from);
  expect(at).toBeGreaterThan(0);
  return { text: before.replace(from, to), line: before.slice(0, at).split('\n').length };
}

describe('a broken example is refused', () => {
  it.each(broken)('$name with $to, by the JSON schema and with its line by the loader', ({ name, from, to, says }) => {
    const { text, line } = breakLine(name, from, to);
    expect(complaint(text)).toContain(`config.yaml:${line}: ${says}`);
    expect(editor(parse(text))).toBe(false);
  });

  it.each(brokenForTheLoader)('$name with $to, with its line by the loader', ({ name, from, to, says }) => {
    const { text, line } = breakLine(name, from, to);
    expect(complaint(text)).toContain(`config.yaml:${line}: ${says}`);
  });
});
