import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { digestOf } from '../reference/digest.js';
import { bytesOf, generatedBlob } from './blob-content.js';
import { startMemoryRegistry } from './memory-registry.js';
import { requireProgram } from './programs.js';
import { type Architecture, tinyElf } from './tiny-elf.js';
import { artifactFor, bigImage, tinyImage } from './tiny-image.js';

const run = promisify(execFile);

const elfs: readonly { architecture: Architecture; machine: string; emulator?: string }[] = [
  { architecture: 'amd64', machine: 'x64' },
  { architecture: 'arm64', machine: 'arm64', emulator: 'qemu-aarch64-static' },
];

for (const { architecture, machine, emulator } of elfs) {
  test(`the ${architecture} program prints its message and exits with 0`, async (t) => {
    const native = process.platform === 'linux' && process.arch === machine;
    if (!native && emulator === undefined) return t.skip(`not a ${architecture} Linux`);
    const prefix = native ? [] : [requireProgram(t, emulator ?? '', 'qemu-user-static')];
    if (prefix.includes(undefined)) return;
    const directory = await mkdtemp(join(tmpdir(), 'tiny-image-'));
    t.after(() => rm(directory, { recursive: true }));
    const file = join(directory, 'hello');
    const message = `hello from ${architecture}: grüß Gott\n`;
    await writeFile(file, tinyElf(architecture, message), { mode: 0o755 });
    const [command = file, ...rest] = [...prefix.filter((part) => part !== undefined), file];
    const { stdout } = await run(command, rest, { timeout: 10_000 });
    assert.equal(stdout, message);
  });
}

test('an image is the same every time, on every machine', () => {
  const image = tinyImage('hello\n');
  assert.deepEqual(image.root, tinyImage('hello\n').root);
  assert.notEqual(image.root.digest, tinyImage('other\n').root.digest);
  assert.equal(image.root.digest, 'sha256:ca96b179c311d07a53d875be0d9cf5a4bd92d43645e70b9884cc87727be2d1dc');
});

test('a generated blob has its digest from every offset', async () => {
  const blob = await generatedBlob(200_001, 7);
  const bytes = bytesOf(blob);
  assert.equal(bytes.length, 200_001);
  assert.equal(digestOf(bytes), blob.digest);
  assert.deepEqual(Buffer.concat([...blob.read(65_530, 131_080)]), bytes.subarray(65_530, 131_081));
});

test('skopeo reads the index, an image and copies a big one', async (t) => {
  const skopeo = requireProgram(t, 'skopeo', 'skopeo');
  if (skopeo === undefined) return;
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('my/app', 'v1', tinyImage('hello\n'));
  registry.putImage('my/big', 'v1', await bigImage({ layers: 2, size: 300_000 }));
  const source = `docker://${registry.host}`;

  const inspected = await run(skopeo, ['inspect', '--tls-verify=false', `${source}/my/app:v1`], {
    timeout: 20_000,
  });
  const { Architecture, RepoTags } = JSON.parse(inspected.stdout) as Record<string, unknown>;
  assert.deepEqual({ Architecture, RepoTags }, { Architecture: 'amd64', RepoTags: ['v1'] });

  const copy = ['copy', '--all', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false'];
  for (const name of ['app', 'big']) {
    await run(skopeo, [...copy, `${source}/my/${name}:v1`, `${source}/copy/${name}:v2`], { timeout: 20_000 });
    const [from, to] = [
      registry.store.manifest(`my/${name}`, 'v1'),
      registry.store.manifest(`copy/${name}`, 'v2'),
    ];
    assert.ok(from, 'the source is gone');
    assert.equal(to?.digest, from.digest);
  }
});

test('an artifact is listed as a referrer of its subject', async (t) => {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  const subject = registry.putImage('my/app', 'v1', tinyImage('hello\n'));
  registry.putImage('my/app', 'sbom', artifactFor(subject, 'application/x-sbom', 'nothing in it'));
  const listed = registry.store.referrers('my/app', subject.digest);
  assert.deepEqual(
    listed.map(({ artifactType }) => artifactType),
    ['application/x-sbom'],
  );
});
