import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';
import { root } from '../prepare.mjs';

/** What the image service never loads; the map of drivers names it all the same. */
const foreignKinds = /^\.\.\/(?:verifiers|policies|token-issuers|upstreams|state-stores)\//;
/** What packages do without where it is not there, as `debug` without colours. */
const optional = ['supports-color'];
/** Looks beside itself only where the bundle does not say the version: what esbuild warns of is never reached. */
const readsPackageFile = 'src/bin/version.ts';

/**
 * Bundles `kubelet-image-service` with all that it imports into one CommonJS script, which is what a single executable
 * application takes. What the sources import lazily still runs when it is first asked for.
 *
 * @param {string} commit what `--version` tells
 * @returns its text
 * @throws an Error where it would need a file at run time
 */
export async function bundle(commit) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { warnings, outputFiles, metafile } = await build({
    entryPoints: [join(root, 'src/bin/kubelet-image-service.ts')],
    outfile: 'kubelet-image-service.js',
    // Names in the bundle are relative to it: the same bytes wherever the checkout is.
    absWorkingDir: root,
    bundle: true,
    metafile: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    // One byte a character in memory, too.
    charset: 'ascii',
    // Names stay, for stack traces and for what is told by the name of a class.
    minifyWhitespace: true,
    minifySyntax: true,
    // Node shows the line of an uncaught error.
    lineLimit: 160,
    legalComments: 'none',
    define: { builtVersion: JSON.stringify(version), builtCommit: JSON.stringify(commit) },
    plugins: [withoutForeignKinds],
    logLevel: 'silent',
    write: false,
  });
  const heeded = warnings.filter(({ location }) => location?.file !== readsPackageFile);
  if (heeded.length > 0) throw new Error(heeded.map(inWords).join('\n'));
  const foreign = externalImports(metafile);
  if (foreign.length > 0) throw new Error(`not in the bundle: ${foreign.join(', ')}`);
  return outputFiles[0].text;
}

/** @type {import('esbuild').Plugin} */
const withoutForeignKinds = {
  name: 'without-foreign-kinds',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: foreignKinds }, ({ path, importer }) =>
      importer.endsWith('/src/plugins/built-in.ts') ? { path, namespace: 'foreign' } : undefined,
    );
    onLoad({ filter: /./, namespace: 'foreign' }, () => ({
      contents: "throw new Error('it is no part of kubelet-image-service');",
    }));
  },
};

/** Also what only newer ones have than the one that builds. */
const isOfNode = (name) => name.startsWith('node:') || isBuiltin(name);

/** What the bundle would ask the disk for. */
function externalImports({ outputs }) {
  const names = Object.values(outputs)
    .flatMap(({ imports }) => imports)
    .filter(({ external, path }) => external === true && !isOfNode(path) && !optional.includes(path))
    .map(({ path }) => path);
  return [...new Set(names)];
}

function inWords({ text, location }) {
  return location === null ? text : `${location.file}:${location.line}: ${text}`;
}
