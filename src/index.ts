/** What an embedding program may import. */
export { createDaemon, type Daemon } from './daemon.js';
export { loadConfiguration, parseConfiguration, type Settings, type TunnelSettings } from './config/load.js';
export type { Status, TunnelStatus } from './control/api.js';
export { DaemonError, type ErrorCode } from './core/errors.js';
export type { Step } from './core/join.js';
export type { LogPort } from './core/ports.js';
