import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, posix, relative, sep } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

// The direction of imports: an inner layer knows nothing of an outer one, drivers and services know nothing of each
// other, and production code does not know `testing`.

type Layer =
  | 'base'
  | 'contracts'
  | 'decorators'
  | 'cache'
  | 'outgoing'
  | 'routing'
  | 'driver'
  | 'service'
  | 'edge'
  | 'plugins'
  | 'bin'
  | 'for plugins'
  | 'testing';

/** What stands directly under `src`, by layer. */
const members: Readonly<Record<Layer, readonly string[]>> = {
  base: ['reference', 'protocol', 'settings', 'errors.ts', 'secret.ts'],
  contracts: ['contracts'],
  decorators: ['decorators'],
  cache: ['pull-through'],
  outgoing: ['outgoing'],
  routing: ['routing', 'revocation'],
  driver: [
    'verifiers',
    'credential-sources',
    'policies',
    'token-issuers',
    'upstreams',
    'runtimes',
    'blob-stores',
    'state-stores',
  ],
  service: ['proxy', 'token', 'sign-in', 'image-service', 'node-installer'],
  edge: ['http', 'grpc', 'systemd', 'config', 'observability'],
  plugins: ['plugins'],
  bin: ['bin'],
  'for plugins': ['plugin.ts'],
  testing: ['testing'],
};

/** Beside its own folder, what a layer may import. */
const mayImport: Readonly<Record<Layer, readonly Layer[]>> = {
  base: ['base'],
  contracts: ['base'],
  decorators: ['base', 'contracts'],
  cache: ['base', 'contracts', 'decorators'],
  outgoing: ['base', 'contracts', 'decorators'],
  driver: ['base', 'contracts', 'decorators', 'outgoing'],
  routing: ['base', 'contracts'],
  service: ['base', 'contracts', 'decorators', 'outgoing', 'routing'],
  edge: ['base', 'contracts', 'decorators', 'routing', 'service', 'edge', 'plugins'],
  plugins: ['base', 'contracts', 'decorators', 'service', 'edge', 'driver'],
  bin: [
    'base',
    'contracts',
    'decorators',
    'cache',
    'outgoing',
    'routing',
    'driver',
    'service',
    'edge',
    'plugins',
  ],
  // What a plugin imports must not bring the server along.
  'for plugins': ['base', 'contracts', 'decorators', 'outgoing'],
  testing: ['base', 'contracts', 'decorators'],
};

/** Single arrows beside the table, each with its reason. */
const exceptions: readonly { readonly from: string; readonly to: Layer; readonly because: string }[] = [
  { from: 'bin/demo.ts', to: 'testing', because: 'the demo runs against the in-memory registry' },
];

/** An import from one file to another; both relative to `src`. */
interface Arrow {
  readonly from: string;
  readonly to: string;
}

/** @returns why the arrow is not allowed, or undefined */
function violation({ from, to }: Arrow): string | undefined {
  const source = layerOf(from);
  const target = layerOf(to);
  if (source === undefined) return `${from}: ${member(from)} stands in no layer`;
  if (target === undefined) return `${from} -> ${to}: ${member(to)} stands in no layer`;
  if (member(from) === member(to)) return undefined;
  if (mayImport[source].includes(target)) return undefined;
  if (exceptions.some((exception) => exception.from === from && exception.to === target)) return undefined;
  return `${from} -> ${to}: ${source} may not import ${target}`;
}

function member(file: string): string {
  return file.split('/')[0] ?? file;
}

function layerOf(file: string): Layer | undefined {
  return (Object.keys(members) as Layer[]).find((layer) => members[layer].includes(member(file)));
}

/** @returns the files of one cycle, the first one repeated at the end, or undefined */
function findCycle(arrows: readonly Arrow[]): readonly string[] | undefined {
  const imports = new Map<string, string[]>();
  for (const { from, to } of arrows) imports.set(from, [...(imports.get(from) ?? []), to]);
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (finished.has(file)) return undefined;
    for (const next of imports.get(file) ?? []) {
      const cycle = visit(next, [...path, file]);
      if (cycle) return cycle;
    }
    finished.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}

/** `from '…'` of imports and exports, a bare `import '…'`, and `import('…')` of values and of types. */
const specifier = /(?:\bfrom|\bimport)\s*\(?\s*(['"])(?<path>[^'"\n]+)\1/g;

/** @returns the relative imports of a file's text as paths under `src`, written with `.ts` */
function importsOf(file: string, text: string): readonly string[] {
  const code = text.replace(/^\s*(?:\/\/|\/?\*).*$/gm, '');
  return [...code.matchAll(specifier)]
    .map((match) => match.groups?.path ?? '')
    .filter((path) => path.startsWith('.'))
    .map((path) => posix.join(posix.dirname(file), path).replace(/\.js$/, '.ts'));
}

const root = dirname(fileURLToPath(import.meta.url));

function productionArrows(): readonly Arrow[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
    .map((entry) => relative(root, `${entry.parentPath}${sep}${entry.name}`).split(sep).join('/'))
    .flatMap((from) =>
      importsOf(from, readFileSync(`${root}/${from}`, 'utf8')).map((to): Arrow => ({ from, to })),
    );
}

describe('the imports of src', () => {
  const arrows = productionArrows();

  test('are found', () => {
    assert.ok(arrows.length > 50, `only ${arrows.length} imports`);
    const missing = arrows.filter(({ to }) => !existsSync(`${root}/${to}`));
    assert.deepEqual(missing, []);
  });

  test('all point inwards', () => {
    assert.deepEqual(arrows.map(violation).filter(Boolean), []);
  });

  test('have no cycle', () => {
    assert.equal(findCycle(arrows)?.join(' -> '), undefined);
  });
});

describe('the check of an import', () => {
  const cases: readonly (readonly [from: string, to: string, allowed: boolean])[] = [
    ['reference/scope.ts', 'reference/tag.ts', true],
    ['reference/scope.ts', 'errors.ts', true],
    ['protocol/range.ts', 'reference/tag.ts', true],
    ['errors.ts', 'contracts/log.ts', false],
    ['contracts/upstream.ts', 'reference/digest.ts', true],
    ['contracts/upstream.ts', 'decorators/cached.ts', false],
    ['decorators/cached.ts', 'contracts/verifier.ts', true],
    ['decorators/cached.ts', 'verifiers/ldap.ts', false],
    ['verifiers/ldap.ts', 'contracts/verifier.ts', true],
    ['verifiers/ldap.ts', 'decorators/cached.ts', true],
    ['verifiers/ldap.ts', 'outgoing/http-caller.ts', true],
    ['outgoing/http-caller.ts', 'decorators/cached.ts', true],
    ['decorators/cached.ts', 'outgoing/http-caller.ts', false],
    ['upstreams/registry.ts', 'upstreams/presets/docker-hub.ts', true],
    ['verifiers/ldap.ts', 'credential-sources/static.ts', false],
    ['verifiers/ldap.ts', 'token/endpoint.ts', false],
    ['verifiers/ldap.ts', 'plugins/open.ts', false],
    ['verifiers/ldap.ts', 'testing/clock.ts', false],
    ['token/endpoint.ts', 'contracts/policy.ts', true],
    ['token/endpoint.ts', 'proxy/router.ts', false],
    ['token/endpoint.ts', 'policies/rules.ts', false],
    ['token/endpoint.ts', 'http/server.ts', false],
    ['token/endpoint.ts', 'routing/route-table.ts', true],
    ['routing/route-table.ts', 'proxy/router.ts', false],
    ['verifiers/ldap.ts', 'routing/route-table.ts', false],
    ['http/server.ts', 'proxy/router.ts', true],
    ['http/server.ts', 'config/load.ts', true],
    ['http/server.ts', 'verifiers/ldap.ts', false],
    ['http/server.ts', 'bin/docker-registry-proxy.ts', false],
    ['plugins/built-in.ts', 'verifiers/ldap.ts', true],
    ['plugins/built-in.ts', 'testing/clock.ts', false],
    ['bin/docker-registry-proxy.ts', 'plugins/open.ts', true],
    ['bin/docker-registry-proxy.ts', 'testing/memory-registry.ts', false],
    ['bin/demo.ts', 'testing/memory-registry.ts', true],
    ['testing/memory-registry.ts', 'protocol/range.ts', true],
    ['testing/memory-registry.ts', 'proxy/router.ts', false],
    ['plugin.ts', 'contracts/index.ts', true],
    ['plugin.ts', 'outgoing/open-secret.ts', true],
    ['plugin.ts', 'verifiers/ldap.ts', false],
    ['plugin.ts', 'proxy/router.ts', false],
    ['verifiers/ldap.ts', 'plugin.ts', false],
    ['elsewhere/file.ts', 'errors.ts', false],
    ['proxy/router.ts', 'elsewhere/file.ts', false],
  ];
  for (const [from, to, allowed] of cases) {
    test(`${from} -> ${to} is ${allowed ? 'allowed' : 'refused'}`, () => {
      assert.equal(violation({ from, to }) === undefined, allowed);
    });
  }

  test('finds a cycle through several files', () => {
    const arrow = (from: string, to: string): Arrow => ({ from, to });
    const line = [arrow('a.ts', 'b.ts'), arrow('b.ts', 'c.ts'), arrow('a.ts', 'c.ts')];
    assert.equal(findCycle(line), undefined);
    assert.deepEqual(findCycle([...line, arrow('c.ts', 'b.ts')]), ['b.ts', 'c.ts', 'b.ts']);
    assert.deepEqual(findCycle([arrow('a.ts', 'a.ts')]), ['a.ts', 'a.ts']);
  });

  test('sees every form of import, and no comment', () => {
    const text = [
      "import { a } from '../a.js';",
      "import type {\n  B,\n} from './b.js';",
      "export * from './c.js';",
      "import '../d.js';",
      "const e = () => import('./e.js');",
      "type F = import('./f.js').F;",
      "import fs from 'node:fs';",
      "// import { g } from './g.js';",
      " * import { h } from './h.js';",
    ].join('\n');
    assert.deepEqual(importsOf('x/y.ts', text), ['a.ts', 'x/b.ts', 'x/c.ts', 'd.ts', 'x/e.ts', 'x/f.ts']);
  });
});
