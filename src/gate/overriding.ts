import type { GatePort } from '../core/ports.js';

/** The same gate but for some of its methods. */
export function overriding(gate: GatePort, changed: Partial<GatePort>): GatePort {
  return {
    install: (...args) => gate.install(...args),
    set: (...args) => gate.set(...args),
    expect: (...args) => { gate.expect(...args); },
    catchFirst: (...args) => gate.catchFirst(...args),
    route: (...args) => gate.route(...args),
    keepAddresses: (...args) => gate.keepAddresses(...args),
    routes: (...args) => gate.routes(...args),
    unlearned: (...args) => gate.unlearned(...args),
    counters: () => gate.counters(),
    events$: gate.events$,
    look: () => { gate.look(); },
    mendRoutes: () => gate.mendRoutes(),
    held: () => { gate.held(); },
    remove: (...args) => gate.remove(...args),
    ...changed,
  };
}
