import type { Handlers, Question, Status } from './control/api.js';
import { DaemonError } from './core/errors.js';
import type { GatePort } from './core/ports.js';
import type { StateFile } from './host/state-file.js';
import { systemClock } from './host/clock.js';
import type { CredentialRequest } from './management/requests.js';
import { Secret } from './management/secret.js';
import { tunnelStatus, tunnelWhy } from './status.js';
import type { TunnelSet } from './tunnel-set.js';
import { version } from './version.js';

/** What the daemon does for each request of the command line. */
export function createHandlers(tunnels: TunnelSet, stateFile: StateFile, gate: Pick<GatePort, 'look'>): Omit<Handlers, 'reload'> {
  const status = (): Status => ({ version, tunnels: [...tunnels].map((running) => ({ ...tunnelStatus(running.settings, running.tunnel, running.queueStats, running.standing), ...(running.question ? { asks: questionOf(running.question).text } : {}) })) });
  return {
    status: () => {
      gate.look();
      return Promise.resolve(status());
    },
    why: async (name) => Promise.resolve({ version, ...tunnelWhy(tunnels.get(name).settings, tunnels.get(name).tunnel) }),
    up: async (name) => {
      const tunnel = tunnels.get(name);
      await stateFile.forget(name);
      tunnel.tryAgain();
      const state = await tunnel.command({ type: 'command', command: 'up' }, ({ at }) => at !== 'dialing' && at !== 'draining');
      const place = `tunnel ${name}`;
      if (state.at === 'backoff' || state.at === 'locked') throw new DaemonError('LINK_FAILED', state.failure.detail, { place, hint: 'the log has what OpenVPN said' });
      if (state.at !== 'up') throw new DaemonError('CONTROL_REFUSED', `somebody wanted it down meanwhile: it is ${state.at}`, { place });
    },
    down: async (name) => {
      await tunnels.get(name).command({ type: 'command', command: 'down' }, ({ at }) => at !== 'draining' && at !== 'up');
    },
    pause: async ({ tunnel: name, forMs, bypass = false, persist = false }) => {
      const tunnel = tunnels.get(name);
      const lasts = forMs === undefined ? {} : { forMs };
      if (persist) await stateFile.keep(name, { bypass, ...(forMs === undefined ? {} : { until: systemClock.now() + forMs }) });
      else await stateFile.forget(name);
      await tunnel.command({ type: 'command', command: 'pause', bypass, ...lasts }, ({ at }) => at === 'paused');
    },
    resume: async (name) => {
      const tunnel = tunnels.get(name);
      await stateFile.forget(name);
      await tunnel.command({ type: 'command', command: 'resume' }, ({ at }) => at !== 'paused');
    },
    question: async (name) => {
      const request = tunnels.get(name).question;
      return Promise.resolve(request && questionOf(request));
    },
    answer: async ({ tunnel: name, username, secret, ok }) => {
      const answer = ok === undefined ? { ...(username === undefined ? {} : { username }), secret: new Secret(secret ?? '') } : { ok };
      tunnels.get(name).answer(answer);
      return Promise.resolve();
    },
    ready: async (name) => {
      if (!tunnels.get(name).ready()) throw new DaemonError('USAGE', 'nothing waits to be told that the link is up', { place: `tunnel ${name}`, hint: 'this is for `command: {ready: signal}`, while `up` is under way' });
      return Promise.resolve();
    },
  };
}

function questionOf(request: CredentialRequest): Question {
  switch (request.kind) {
    case 'login':
    case 'username':
      return { kind: request.kind, text: `user name for ${request.realm}`, echo: true };
    case 'passphrase':
      return { kind: 'passphrase', text: `password of ${request.realm}`, echo: false };
    case 'response':
      return { kind: 'response', text: request.text, echo: request.echo };
    case 'open-url':
      return { kind: 'open-url', text: request.url, echo: true };
    case 'confirm':
    case 'string':
      return { kind: request.kind, text: `${request.name}: ${request.text}`, echo: true };
  }
}
