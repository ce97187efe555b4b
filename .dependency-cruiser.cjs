/**
 * Which part may import which, as data. Each rule's comment is what a reviewer would say; docs/architecture.md tells why.
 * Specs may reach for test tools, but keep to the order of the parts.
 */
const SPEC = '\\.spec\\.ts$';

/** A module of src/modules must not import the named ones. */
function layer(name, forbidden, comment) {
  return {
    name,
    comment,
    severity: 'error',
    from: { path: `^src/modules/${name.split('-')[0]}/` },
    to: { path: `^src/modules/(${forbidden.join('|')})/` },
  };
}

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'These files need each other to be understood. Move what both use below them, or pass it in.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'Nothing is there: a misspelt path, a missing `.js`, or a package that is not in package.json.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'kernel-imports-nothing',
      comment:
        'The kernel is the words everybody shares. If it needs something, that something belongs in the kernel or the word does not.',
      severity: 'error',
      from: { path: '^src/kernel/', pathNot: SPEC },
      to: { pathNot: '^src/kernel/' },
    },
    {
      name: 'core-is-pure',
      comment:
        'A core decides and does no I/O: it imports the kernel, other cores and the types of ports, and gets the rest through its inputs.',
      severity: 'error',
      from: { path: '^src/modules/[^/]+/core/', pathNot: SPEC },
      to: { pathNot: '^src/(kernel/|modules/[^/]+/core/)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'core-types-are-our-own',
      comment:
        'Not even the types of a library, of the wire or of the platform: a core says what it needs in its own words.',
      severity: 'error',
      from: { path: '^src/modules/[^/]+/core/', pathNot: SPEC },
      to: { pathNot: '^src/(kernel|modules)/' },
    },
    {
      name: 'platform-knows-no-module',
      comment: 'The platform is I/O that any node could use. Let the module pass in what the platform should know.',
      severity: 'error',
      from: { path: '^src/platform/' },
      to: { path: '^src/(modules/|client/|cli/|[^/]+\\.ts$)' },
    },
    layer(
      'log-is-the-floor',
      ['shard', 'ring', 'membership', 'replication', 'coordinator', 'api'],
      'The log knows bytes, not documents, shards of a ring or requests. Pass it bytes.',
    ),
    layer(
      'shard-stands-on-the-log',
      ['ring', 'membership', 'replication', 'coordinator', 'api'],
      'A shard knows nothing of the ring or of other nodes: the ownership test is passed in as sorted token ranges.',
    ),
    layer(
      'membership-knows-who-is-alive',
      ['log', 'shard', 'ring', 'replication', 'coordinator', 'api'],
      'Membership is who is alive; what they hold is decided above it.',
    ),
    layer(
      'ring-plans',
      ['log', 'shard', 'replication', 'coordinator', 'api'],
      'The ring and the map are planned, not executed, here: replication drives operations.',
    ),
    layer(
      'replication-owns-the-write',
      ['coordinator', 'api'],
      'Replication does not know who asked: the coordinator calls it, never the other way.',
    ),
    layer(
      'coordinator-knows-no-protocol',
      ['api'],
      'REST and gRPC are the edge: the coordinator takes validated requests and answers values.',
    ),
    {
      name: 'modules-know-no-program',
      comment:
        'app.module, main and the command line put modules together; a module that reaches for them cannot be put together otherwise.',
      severity: 'error',
      from: { path: '^src/(kernel|platform|modules)/' },
      to: { path: '^src/(cli/|client/|[^/]+\\.ts$)' },
    },
    {
      name: 'only-the-log-opens-leveldb',
      comment: 'The database has one owner: go through the LogStore port.',
      severity: 'error',
      from: { pathNot: '^src/modules/log/adapters/' },
      to: { path: '(^|/)(classic-level|abstract-level)(/|$)' },
    },
    {
      name: 'only-the-shard-searches-hnsw',
      comment: 'The vector index has one owner: go through the VectorIndex port.',
      severity: 'error',
      from: { pathNot: '^src/modules/shard/adapters/' },
      to: { path: '(^|/)hnswlib-node(/|$)' },
    },
    {
      name: 'wire-types-stay-at-the-edge',
      comment:
        'Generated protobuf is the wire, not the model: map it in a mapper, a controller, a client or platform/grpc; only the program that starts the server names services.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: [
          '^src/gen/',
          '^src/platform/grpc/',
          '^src/modules/[^/]+/(grpc|testing)/',
          '\\.(mapper|controller|client)\\.ts$',
          '^src/start\\.ts$',
          SPEC,
        ],
      },
      to: { path: '^src/gen/' },
    },
    {
      name: 'client-stands-alone',
      comment: 'The client runs wherever fetch does: it imports its own files and nothing else.',
      severity: 'error',
      from: { path: '^src/client/', pathNot: SPEC },
      to: { pathNot: '^src/client/' },
    },
    {
      name: 'no-development-packages',
      comment:
        'That package is not there when the node runs: it is a devDependency, or only the dependency of another package.',
      severity: 'error',
      from: { path: '^src/', pathNot: SPEC },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json', '.d.ts'],
    },
  },
};
