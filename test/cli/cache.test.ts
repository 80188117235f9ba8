import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { generatedBlob, startMemoryRegistry } from '../../src/testing/index.js';
import { type Front, startFront } from '../harness/index.js';
import { runProgram } from './running.js';

// `cache stats`, `verify` and `prune` beside a proxy that runs.

async function openFront(t: TestContext, cache: string): Promise<{ front: Front; config: string }> {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  for (const seed of [1, 2]) registry.putBlob('app', await generatedBlob(100_000, seed));
  const front = await startFront(
    t,
    `
upstreams: { one: { url: "${registry.url}"${cache} } }
routes: [{ prefix: "", upstream: one }]
`,
  );
  for (const seed of [1, 2]) {
    const { digest } = await generatedBlob(100_000, seed);
    assert.equal((await front.sendAs('alice', `/v2/app/blobs/${digest}`)).status, 200);
  }
  return { front, config: join(front.directory, 'proxy.yaml') };
}

function blobFiles(front: Front): readonly string[] {
  const root = join(front.directory, 'cache/blobs');
  return readdirSync(root, { recursive: true })
    .map((name) => join(root, String(name)))
    .filter((name) => statSync(name).isFile());
}

test('the commands of a cache', async (t) => {
  const { front, config } = await openFront(t, ', cache: { path: cache, maxSize: 1GB }');
  await t.test('stats says what there is', async () => {
    const { code, stdout } = await runProgram('cache', 'stats', '--config', config);
    assert.equal(code, 0);
    assert.match(stdout, /^CACHE +BLOBS +SIZE +OF +LINKS +LEAST RECENT USE\n/);
    assert.match(stdout, /\nupstreams\.one\.cache +2 +195\.3 KiB +953\.7 MiB +2 +1m ago\n$/);
    const asJson = await runProgram('cache', 'stats', '--json', '--config', config);
    const [status] = JSON.parse(asJson.stdout);
    assert.deepEqual([status.setting, status.blobs, status.bytes], ['upstreams.one.cache', 2, 200_000]);
  });
  await t.test('verify finds what is damaged, and the proxy fetches it anew', async () => {
    assert.deepEqual(await runProgram('cache', 'verify', '--config', config), {
      code: 0,
      stdout: 'upstreams.one.cache: 2 blobs read, 0 damaged\n',
      stderr: '',
    });
    const [file = assert.fail()] = blobFiles(front);
    const bytes = readFileSync(file);
    bytes.writeUInt8(bytes.readUInt8(99) ^ 1, 99);
    writeFileSync(file, bytes);
    const { code, stdout, stderr } = await runProgram('cache', 'verify', '--config', config);
    assert.equal(code, 1);
    assert.match(stdout, /sha256:[0-9a-f]{64} was damaged: removed\n.*2 blobs read, 1 damaged\n$/);
    assert.match(stderr, /blobs were damaged on disk\n$/);
    assert.equal(blobFiles(front).length, 1);
    const digest = `sha256:${file.split('/').at(-1)}`;
    const again = await front.sendAs('alice', `/v2/app/blobs/${digest}`);
    assert.equal(again.headers['cache-status'], 'docker-registry-proxy; fwd=miss');
  });
  await t.test('prune removes what was not used', async () => {
    const [file = assert.fail()] = blobFiles(front);
    utimesSync(file, 1000, 1000);
    const { code, stdout } = await runProgram('cache', 'prune', '--unused-for', '30d', '--config', config);
    assert.equal(code, 0);
    assert.equal(stdout, 'upstreams.one.cache: 1 blobs with 97.7 KiB removed, and 1 links\n');
    assert.equal(blobFiles(front).length, 1);
  });
  await t.test('wrong usage', async () => {
    const { code, stderr } = await runProgram('cache', 'prune', '--unused-for', '30', '--config', config);
    assert.equal(code, 2);
    assert.match(stderr, /expected a duration such as 12h or 30d/);
  });
});

test('check opens no cache, and names one that cannot be', async (t) => {
  const { front, config } = await openFront(t, '');
  const other = join(front.directory, 'other.yaml');
  const cached = readFileSync(config, 'utf8').replace('" } }', '", cache: { path: never, maxSize: 1GB } } }');
  writeFileSync(other, cached);
  assert.match(cached, /path: never/);
  assert.equal((await runProgram('check', '--config', other)).code, 0);
  assert.ok(!existsSync(join(front.directory, 'never')), 'the directory was made');
  writeFileSync(other, cached.replace('path: never', 'path: proxy.yaml'));
  const { code, stderr } = await runProgram('serve', '--config', other);
  assert.equal(code, 2);
  assert.match(stderr, /upstreams\.one\.cache/);
});

test('a configuration without a cache', async (t) => {
  const { config } = await openFront(t, '');
  const { code, stderr } = await runProgram('cache', 'stats', '--config', config);
  assert.equal(code, 2);
  assert.match(stderr, /no upstream and no route has a cache/);
});
