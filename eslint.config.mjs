import tseslint from 'typescript-eslint';

/** What the deterministic cores may not touch: they must run the same under NestJS and under a seeded simulator. */
const IMPURE_GLOBALS = [
  ['Date', 'take the time from a Clock port or from the input'],
  ['performance', 'take the time from a Clock port or from the input'],
  ['setTimeout', 'a core has no timers: answer with an effect'],
  ['setInterval', 'a core has no timers: answer with an effect'],
  ['setImmediate', 'a core has no timers: answer with an effect'],
  ['queueMicrotask', 'a core is synchronous'],
  ['process', 'a core knows no process'],
  ['Buffer', 'use Uint8Array and DataView'],
  ['fetch', 'a core does no I/O'],
  ['crypto', 'hash through a Hasher port, draw through a Random port'],
  ['console', 'a core does not log: answer with a value'],
].map(([name, message]) => ({ name, message }));

const IMPURE_SYNTAX = [
  [':function[async=true]', 'a core is synchronous: answer with an effect'],
  ['AwaitExpression', 'a core is synchronous: answer with an effect'],
  ['ForOfStatement[await=true]', 'a core is synchronous: answer with an effect'],
  ['Decorator', 'a core knows no framework'],
].map(([selector, message]) => ({ selector, message }));

const HOUSE_SYNTAX = [
  { selector: 'TSEnumDeclaration', message: 'Use a union of literals.' },
  { selector: 'ExportDefaultDeclaration', message: 'Export by name: a thing has one name everywhere.' },
  { selector: 'ExportAllDeclaration', message: 'No barrels: import a thing from where it is.' },
];

export default tseslint.config(
  {
    ignores: ['dist/', 'dist.*/', 'src/gen/', 'node_modules/', 'coverage/', 'data/', '**/*.mjs', '**/*.cjs', '**/*.js'],
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.check.json', tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numbers, booleans and the like print as anybody expects.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true, allowNever: true },
      ],
      // Nest asks for classes that hold nothing but decorators.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      // `() => resolve()` and `() => void x` read well.
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidOperator: true },
      ],
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      // An async method of a port may have nothing to wait for in one implementation.
      '@typescript-eslint/require-await': 'off',
      // Reading by index is typed as always there, so the rule would call every check of a missing element needless.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // Libraries type options and port shapes as classes that nobody constructs.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      'no-restricted-syntax': ['error', ...HOUSE_SYNTAX],
      'no-empty': ['error', { allowEmptyCatch: false }],
      'no-console': 'error',
      eqeqeq: 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
    },
  },
  {
    files: ['src/kernel/**/*.ts', 'src/modules/*/core/**/*.ts'],
    ignores: ['**/*.spec.ts'],
    rules: {
      'no-restricted-globals': ['error', ...IMPURE_GLOBALS],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'draw through a Random port' },
      ],
      'no-restricted-imports': ['error', { patterns: [{ group: ['node:*'], message: 'a core does no I/O' }] }],
      'no-restricted-syntax': ['error', ...HOUSE_SYNTAX, ...IMPURE_SYNTAX],
    },
  },
  {
    // What the package exports is listed in one place.
    files: ['src/client/index.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    // The command line speaks to people.
    files: ['src/cli/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    // Tests look into answers whose shape they then check, and hand over methods as values.
    files: ['**/*.spec.ts', 'src/modules/*/testing/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
);
