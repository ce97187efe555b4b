/**
 * Puts everything a node starts with into one file a thread. Finding, reading and linking two thousand small modules took
 * two thirds of what a start took before the node listened.
 *
 * The bundles stand where the modules they begin with stood, so that nobody who imports these notices, and a stack trace
 * leads to the sources by the maps beside them (`node --enable-source-maps`). All other files of dist/ stay what they are:
 * the CLI, the client, the tests and the benches import them one by one.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { build } from 'esbuild';

/** What a node loads: its main thread, and each of its index threads. */
const ENTRIES = ['run-node.js', 'modules/shard/adapters/index-worker.js'];

/** Packages that are not part of a bundle: addons look for files beside their own, and Nest looks for those of gRPC by name. */
const APART = ['classic-level', 'hnswlib-node', '@grpc/grpc-js', '@grpc/proto-loader'];

/** Packages of CommonJS ask for built-in modules by `require`, which a module has not. */
const REQUIRE = `import { createRequire as requireOfBundle } from 'node:module'; const require = requireOfBundle(import.meta.url);`;

/**
 * @param {string} dist what tsc wrote
 * @throws {Error} with all that is wrong
 */
export async function bundle(dist) {
  for (const entry of ENTRIES) {
    await build({
      absWorkingDir: dist,
      entryPoints: [entry],
      outfile: entry,
      allowOverwrite: true,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      external: APART,
      banner: { js: REQUIRE },
      sourcemap: true,
      sourcesContent: false,
      logLevel: 'warning',
      plugins: [optionalPackages, ownPlaces(dist, dirname(join(dist, entry)))],
    });
  }
}

/** Nest asks for packages of features that are not used here, when they are: what is not installed stays an import. */
const optionalPackages = {
  name: 'optional packages',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, ({ kind, path, resolveDir }) => {
      if (kind !== 'dynamic-import') return undefined;
      try {
        createRequire(join(resolveDir, 'from.js')).resolve(path);
        return undefined;
      } catch {
        return { path, external: true };
      }
    });
  },
};

/** A module of ours that looks for files beside its own finds them from the bundle, too. */
function ownPlaces(dist, bundleDirectory) {
  return {
    name: 'own places',
    setup(build) {
      build.onLoad({ filter: /\.js$/ }, async ({ path }) => {
        if (!path.startsWith(join(dist, sep))) return undefined;
        const place = `./${relative(bundleDirectory, path).replaceAll(sep, '/')}`;
        const text = await readFile(path, 'utf8');
        return { contents: text.replaceAll('import.meta.url', `new URL('${place}', import.meta.url).href`) };
      });
    },
  };
}
