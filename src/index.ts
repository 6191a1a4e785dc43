/** What an embedding program may import. */
export { createDaemon, type Daemon, type DaemonOptions } from './daemon.js';
export { loadConfiguration, parseConfiguration, type Settings, type TunnelSettings } from './config/load.js';
export type { Question, ReloadReport, Status, TunnelStatus, Why } from './control/api.js';
export { DaemonError, type ErrorCode } from './core/errors.js';
export type { Step } from './core/join.js';
export type { LogPort } from './core/ports.js';
