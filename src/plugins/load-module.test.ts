import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { importHint, loadModule } from './load-module.js';

const root = mkdtempSync(join(tmpdir(), 'modules-'));
after(() => rmSync(root, { recursive: true }));
const baseDirectory = join(root, 'etc');

const driver = 'export const driver = { type: import.meta.url };';
const files: Readonly<Record<string, string>> = {
  'etc/own.mjs': driver,
  'etc/default.mjs': 'export default { type: 1 };',
  'etc/common.cjs': 'module.exports = { type: 1 };',
  'etc/named.cjs': 'exports.driver = { type: 1 };',
  'etc/throws.mjs': 'throw new Error("no database\\nat all");',
  'etc/broken.mjs': 'export const driver = {;',
  'etc/lacks.mjs': "import 'left-pad-of-nobody';",
  'etc/unseen.mjs': "import { defineVerifier } from 'docker-registry-proxy/plugin';",
  'etc/lib/index.js': '',
  'outside.mjs': driver,
  'etc/node_modules/near/package.json': '{ "type": "module", "exports": "./near.js" }',
  'etc/node_modules/near/near.js': driver,
  'etc/node_modules/@acme/verifier/package.json':
    '{ "type": "module", "exports": { ".": { "import": "./m.js", "default": "./m.js" }, "./two": "./m.js" } }',
  'etc/node_modules/@acme/verifier/m.js': driver,
  'etc/node_modules/old/package.json': '{ "main": "lib.js" }',
  'etc/node_modules/old/lib.js': 'exports.driver = { type: 1 };',
  'etc/node_modules/import-only/package.json': '{ "exports": { ".": { "import": "./m.mjs" } } }',
  'etc/node_modules/import-only/m.mjs': driver,
  'node_modules/far/package.json': '{ "type": "module", "exports": "./far.js" }',
  'node_modules/far/far.js': driver,
};
for (const [name, text] of Object.entries(files)) {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), text);
}

describe('a module', () => {
  for (const module of [
    './own.mjs',
    '../outside.mjs',
    join(root, 'outside.mjs'),
    './lib/../own.mjs',
    'near',
    'far',
    '@acme/verifier',
    '@acme/verifier/two',
    './named.cjs',
    'old',
  ]) {
    it(`is found as ${module.replace(root, '')}`, async () => {
      assert.ok('driver' in (await loadModule(module, baseDirectory)), 'another module');
    });
  }

  for (const module of ['./default.mjs', './common.cjs']) {
    it(`has a default in ${module}`, async () => {
      assert.deepEqual((await loadModule(module, baseDirectory)).default, { type: 1 });
    });
  }

  for (const [module, message] of [
    ['./absent.mjs', /^there is no file .*\/etc\/absent\.mjs$/],
    ['./lib', /^.*\/etc\/lib is a directory; name the file in it$/],
    ['own.mjs', /^a file is written with its directory: \.\/own\.mjs$/],
    ['nobody', /^no package nobody is installed for .*\/etc; a file is written \.\/nobody$/],
    ['near/inner', /^the package exports nothing under near\/inner: /],
    [
      'import-only',
      /^the package exports nothing under import-only: its "exports" need a text, or a "default"$/,
    ],
    ['node:fs', /^expected a file such as \.\/my-verifier\.js, or a package$/],
    ['data:text/javascript,1', /^expected a file/],
    ['file:///etc/own.mjs', /^expected a file/],
    ['https://example.com/x.mjs', /^expected a file/],
    ['#inner', /^expected a file/],
    ['', /^a file is written|^expected a file/],
    ['./throws.mjs', /^no database at all$/],
    ['./broken.mjs', /^[^\n]+$/],
    ['./lacks.mjs', /^Cannot find package 'left-pad-of-nobody' imported from .*\/lacks\.mjs$/],
    [
      './unseen.mjs',
      /'docker-registry-proxy'.*; install docker-registry-proxy in its folder, or in one above it$/,
    ],
  ] as const) {
    it(`is refused where it is ${JSON.stringify(module)}`, async () => {
      await assert.rejects(loadModule(module, baseDirectory), { message });
    });
  }
});

describe('a hint', () => {
  const outside = new SyntaxError('Cannot use import statement outside a module');
  for (const [file, error, hint] of [
    ['/x.ts', new Error('Unknown file extension'), /TypeScript: compile it/],
    ['/x.mts', new Error('Unknown file extension'), /TypeScript/],
    ['/x.js', outside, /name it \.mjs, or write "type": "module"/],
    ['/x.js', new SyntaxError("Unexpected token 'export'"), /name it \.mjs/],
    ['/x.mjs', outside, undefined],
    ['/x.js', new Error('Cannot use import statement outside a module'), undefined],
    ['/x.js', new SyntaxError("Unexpected token ';'"), undefined],
  ] as const) {
    it(`of ${error.message} in ${file} is ${hint?.source ?? 'nothing'}`, () => {
      if (hint === undefined) assert.equal(importHint(file, error), undefined);
      else assert.match(importHint(file, error) ?? '', hint);
    });
  }
});
