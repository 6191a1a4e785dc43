export { ManagementClient, type ClientOptions, type CommandOptions, type ConnectionEnd, type ManagementAddress, type SignalName } from './client.js';
export type { Clock } from './clock.js';
export { decodeEvent, decodeState } from './decode.js';
export type * from './events.js';
export { ManagementListener, type AcceptOptions } from './listen.js';
export { quote } from './parameters.js';
export { CommandRefused } from './refused.js';
export { Secret } from './secret.js';
