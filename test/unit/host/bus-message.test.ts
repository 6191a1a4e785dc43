import { describe, expect, it } from '@jest/globals';
import { decodeMessage, encodeCall, firstBoolean, messageLength } from '../../../src/host/bus-message.js';
import { systemBusSocket } from '../../../src/host/bus.js';

describe('D-Bus messages', () => {
  it('a call comes back as it was encoded', () => {
    const call = encodeCall({ serial: 7, destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', member: 'AddMatch', texts: ["type='signal'"] });
    expect(messageLength(call)).toBe(call.length);
    expect(messageLength(call.subarray(0, 15))).toBeUndefined();
    expect(decodeMessage(call)).toMatchObject({ type: 'call', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', member: 'AddMatch', signature: 's', littleEndian: true });
    expect(decodeMessage(call).body.toString('latin1', 4)).toBe("type='signal'\0");
    // the whole of it is a multiple of 8 up to the body
    expect((call.length - decodeMessage(call).body.length) % 8).toBe(0);
  });

  it.each([['neither byte order', '7800000000000000000000000000000000'], ['longer than any', '6c0401010000000000000000ffffffff00']])('%s is refused', (_, hex) => {
    expect(() => messageLength(Buffer.from(hex, 'hex'))).toThrow(RangeError);
  });

  it('a cut message is refused', () => {
    const call = encodeCall({ serial: 1, destination: 'a.b', path: '/', interface: 'a.b', member: 'C', texts: [] });
    expect(() => decodeMessage(call.subarray(0, 40))).toThrow();
  });

  it('a boolean is read in its byte order, and only if it is one', () => {
    const base = { type: 'signal' as const, signature: 'b' };
    expect(firstBoolean({ ...base, body: Buffer.from([1, 0, 0, 0]), littleEndian: true })).toBe(true);
    expect(firstBoolean({ ...base, body: Buffer.from([0, 0, 0, 1]), littleEndian: false })).toBe(true);
    expect(firstBoolean({ ...base, body: Buffer.alloc(4), littleEndian: true })).toBe(false);
    expect(firstBoolean({ ...base, signature: 's', body: Buffer.alloc(4), littleEndian: true })).toBeUndefined();
  });
});

describe('the system bus', () => {
  it.each([
    [undefined, '/run/dbus/system_bus_socket'], ['unix:path=/a/b', '/a/b'], ['unix:guid=1,path=/a/b', '/a/b'], ['tcp:host=x;unix:path=/c,guid=1', '/c'], ['unix:abstract=/x', '/run/dbus/system_bus_socket'],
  ])('%s', (address, path) => {
    expect(systemBusSocket(address)).toBe(path);
  });
});
