import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { z } from 'zod';
import { duration, printDuration } from './duration.js';
import { serverUrl } from './http-url.js';
import { listenAddress, parseListenAddress, printListenAddress } from './listen-address.js';
import { registryHostName } from './registry-host-name.js';
import { repositoryPrefix } from './repository-prefix.js';
import { isSecretSource, secretSource } from './secret-source.js';

/** What each text parses to; undefined where it is refused. */
function table(
  name: string,
  schema: z.ZodType,
  rows: readonly (readonly [input: unknown, output: unknown])[],
) {
  describe(name, () => {
    for (const [input, output] of rows) {
      it(`${JSON.stringify(input)} -> ${output === undefined ? 'refused' : JSON.stringify(output)}`, () => {
        const parsed = schema.safeParse(input);
        assert.deepEqual(parsed.data, output);
        for (const issue of parsed.error?.issues ?? []) assert.match(issue.message, /^expected /);
      });
    }
  });
}

table('listenAddress', listenAddress(), [
  ['0.0.0.0:5000', { host: '0.0.0.0', port: 5000 }],
  [':5000', { host: '::', port: 5000 }],
  ['[::]:5000', { host: '::', port: 5000 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['localhost:65535', { host: 'localhost', port: 65_535 }],
  ['127.0.0.1:65536', undefined],
  ['127.0.0.1', undefined],
  ['::1:5000', undefined],
  ['[127.0.0.1]:80', undefined],
  ['example.com:80', undefined],
  ['300.0.0.1:80', undefined],
  ['', undefined],
  [5000, undefined],
]);

table('serverUrl', serverUrl(), [
  ['https://docker.example.com', new URL('https://docker.example.com')],
  ['http://[::1]:5000/', new URL('http://[::1]:5000')],
  ['HTTPS://Docker.Example.com', new URL('https://docker.example.com')],
  ['https://docker.example.com/v2', undefined],
  ['https://user@docker.example.com', undefined],
  ['https://docker.example.com?x', undefined],
  ['https://docker.example.com#', undefined],
  ['https:docker.example.com', undefined],
  ['https:\\\\docker.example.com', undefined],
  ['https://docker.example.com:99999', undefined],
  ['ftp://docker.example.com', undefined],
  ['docker.example.com', undefined],
]);
table('serverUrl of https', serverUrl(['https']), [['http://docker.example.com', undefined]]);

table('repositoryPrefix', repositoryPrefix(), [
  ['', ''],
  ['hub/', 'hub/'],
  ['a/b_c/d-e/', 'a/b_c/d-e/'],
  ['hub', undefined],
  ['/', undefined],
  ['/hub/', undefined],
  ['Hub/', undefined],
  ['a//', undefined],
  ['../', undefined],
  ['a%2fb/', undefined],
]);

table('registryHostName', registryHostName(), [
  ['Docker.io', 'docker.io'],
  ['localhost:5000', 'localhost:5000'],
  ['https://docker.io', undefined],
  ['docker.io/library', undefined],
  ['', undefined],
]);

table('duration', duration({ min: '1s', max: '1h' }), [
  ['1s', 1000],
  ['60m', 3_600_000],
  ['999ms', undefined],
  ['2h', undefined],
  ['1.5s', undefined],
  [30, undefined],
]);

table('secretSource', secretSource(), [
  [{ env: 'A_1' }, { env: 'A_1' }],
  [{ env: '1A' }, undefined],
  [{ env: 'A', file: 'b' }, undefined],
  [{ file: '' }, undefined],
  ['hunter2', undefined],
]);

it('knows what is a secret source and what only looks like one', () => {
  assert.ok(
    isSecretSource(secretSource().parse({ env: 'A' })),
    "isSecretSource(secretSource().parse({ env: 'A' }))",
  );
  assert.ok(!isSecretSource({ env: 'A' }), "!isSecretSource({ env: 'A' })");
});

for (const [value, text] of [
  [0, '0ms'],
  [1500, '1500ms'],
  [90_000, '90s'],
  [300_000, '5m'],
  [7_200_000, '2h'],
  [2_592_000_000, '30d'],
] as const) {
  it(`prints ${value} as ${text}`, () => assert.equal(printDuration(value), text));
}

for (const text of ['0.0.0.0:5000', '[::1]:80', '[::]:0']) {
  it(`prints ${text} as it was`, () => {
    const address = parseListenAddress(text);
    assert.ok(address, 'address');
    assert.equal(printListenAddress(address), text);
  });
}
