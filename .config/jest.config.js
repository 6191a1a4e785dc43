const common = {
  rootDir: `${import.meta.dirname}/..`,
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }] },
  // Sources name their imports by what they are after the build; tests run from the sources.
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
};

const project = (displayName, extra = {}) => ({ ...common, displayName, testMatch: [`<rootDir>/test/${displayName}/**/*.test.ts`], ...extra });

export default {
  projects: [project('unit'), project('contract'), project('e2e'), project('more'), project('chaos'), project('vm'), project('tools')],
  // an emulated machine is many times slower
  testTimeout: 60_000 * Number(process.env.OOD_PATIENCE ?? 1),
};
