import { stat } from 'node:fs/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { ManagementListener } from '../../../src/management/index.js';
import { Scope } from './openvpn.js';

const scope = new Scope();
afterEach(scope.undo);

describe('a real OpenVPN in hold', () => {
  it('greets, says that it holds, answers, and ends without EXITING', async () => {
    const path = `${await scope.folder()}/management.sock`;
    const openvpn = scope.openvpn(['--management', path, 'unix', '--management-hold']);
    const client = await scope.connect({ path });
    expect(await firstValueFrom(client.events$)).toMatchObject({ type: 'info', version: 5 });
    expect(await firstValueFrom(client.events$.pipe(filter(({ type }) => type === 'hold')))).toMatchObject({ waitSeconds: 0 });
    await client.stateOn();
    expect(await client.command('hold')).toEqual(['SUCCESS: hold=1']);
    expect(await client.pid()).toBe(openvpn.pid);
    await expect(client.command('status 3')).rejects.toMatchObject({ code: 'MANAGEMENT_REFUSED', response: "ERROR: The 'status' command is not supported by the current daemon mode" });
    await client.signal('SIGTERM');
    expect(await lastValueFrom(client.events$.pipe(toArray()))).toEqual([]);
    expect(await client.closed).toEqual({ by: 'peer' });
    expect((await openvpn).exitCode).toBe(0);
  });

  it('dials a listener, and ends when that hangs up', async () => {
    const path = `${await scope.folder()}/management.sock`;
    const server = await ManagementListener.listen({ path });
    scope.add(() => server.close());
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const openvpn = scope.openvpn(['--management', path, 'unix', '--management-client', '--management-hold']);
    const client = await server.accept({ timeoutMs: 5000 });
    await firstValueFrom(client.events$.pipe(filter(({ type }) => type === 'hold')));
    await server.close();
    await expect(stat(path)).rejects.toThrow('ENOENT');
    expect(await client.pid()).toBe(openvpn.pid);
    await client.close();
    expect((await openvpn).exitCode).toBe(0);
  });
});
