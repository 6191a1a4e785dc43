import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { execa } from 'execa';
import { checkout } from '../../lab/paths.js';

const init = join(checkout, 'conf', 'openwrt', 'openvpn-ondemand.init');

/** What the script asks of procd, and of the program, when OpenWrt's rc.common calls one of its functions. */
async function call(name: string, program: string): Promise<{ exitCode: number | undefined; said: readonly string[] }> {
  const stubs = ['open_instance', 'set_param', 'close_instance'].map((verb) => `procd_${verb}() { echo "${verb} $*"; }`);
  const script = [`. ${init}`, ...stubs, 'restart() { echo restart; }', program, 'PROGRAM=program', name].join('\n');
  const { exitCode, stdout } = await execa('sh', ['-c', script], { reject: false });
  return { exitCode, said: stdout.split('\n').filter(Boolean) };
}

const well = 'program() { [ "$1" = check ] || echo "program $*"; }';
const ill = 'program() { return 2; }';

describe('the init script of OpenWrt', () => {
  it('has procd run the daemon, in the foreground, and start it again', async () => {
    const { exitCode, said } = await call('start_service', well);
    expect(exitCode).toBe(0);
    expect(said[0]).toBe('open_instance ');
    expect(said).toEqual(expect.arrayContaining(['set_param command program run --config /etc/openvpn-ondemand/config.yaml', 'set_param respawn 3600 5 5', 'set_param term_timeout 20']));
    expect(said.at(-1)).toBe('close_instance ');
  });

  it('does not start with a configuration that `check` refuses', async () => {
    expect(await call('start_service', ill)).toEqual({ exitCode: 1, said: [] });
  });

  it('reloads, and restarts where that fails', async () => {
    expect((await call('reload_service', well)).said).toEqual(['program reload --socket /var/run/openvpn-ondemand/control.sock']);
    expect((await call('reload_service', ill)).said).toEqual(['restart']);
  });
});
