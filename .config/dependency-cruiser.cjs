// The import direction: main and index → adapters → core. Adapters don't know one another.
const adapters = ['nfqueue', 'management', 'link', 'gate', 'config', 'control', 'metrics', 'host'];

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'core-is-pure', comment: 'core imports rxjs and nothing else', severity: 'error', from: { path: '^src/core/' }, to: { pathNot: ['^src/core/', 'node_modules/rxjs/'] } },
    ...adapters.map((name) => ({
      name: `${name}-stands-alone`,
      comment: 'an adapter knows core and itself',
      severity: 'error',
      from: { path: `^src/${name}/`, pathNot: '^src/nfqueue/native/' },
      // link speaks to OpenVPN over its management interface: the one library among the adapters
      to: { path: `^src/(?!core/|${name}/${name === 'link' ? '|management/' : ''})` },
    })),
    { name: 'binding-stands-alone', severity: 'error', from: { path: '^src/nfqueue/native/' }, to: { path: '^src/(?!nfqueue/native/)' } },
    { name: 'cli-speaks-to-control', severity: 'error', from: { path: '^src/cli/', pathNot: '^src/cli/commands/(run|check|dnsmasq|flush|doctor)' }, to: { path: '^src/(?!cli/|control/|core/|version|v8)' } },
    { name: 'daemon-is-small', comment: 'what reads a configuration is loaded by those who read one, not by every daemon: 7 MB', severity: 'error', from: { path: '^src/(?!cli/|config/|index)' }, to: { path: '^src/config/(load|schema)\\.ts$', dependencyTypesNot: ['type-only'] } },
    { name: 'not-to-dev-dep', severity: 'error', from: { path: '^src/', pathNot: '^src/nfqueue/native/' }, to: { dependencyTypes: ['npm-dev'] } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: 'src/nfqueue/native/(dist|build|prebuilds)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['types', 'import', 'require', 'node', 'default'] },
  },
};
