import assert from 'node:assert/strict';
import { test } from 'node:test';
import { artifactFor, mediaTypes, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { type Ask, assertError, pushImage, putManifest } from '../harness/index.js';
import { asker } from './harness/ask.js';
import { startDockerRegistry, writeHtpasswd } from './harness/docker-registry.js';
import { refuseSecrets } from './harness/front.js';
import { proxyAddress, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

const passwords = { alice: 'w0nder+land', bob: 'bu1lder' };
const artifactType = 'application/vnd.example.sbom';

interface Referrers {
  readonly mediaType: string;
  readonly manifests: readonly { readonly digest: string; readonly artifactType?: string }[];
}

// As oras and cosign push what belongs to an image (OCI distribution-spec v1.1, "Pushing Manifests with Subject",
// "Listing Referrers"), by hand: Debian has neither.
test('artifacts that refer to an image', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const modern = await startMemoryRegistry();
  workspace.onClose(() => modern.close());
  const older = await startDockerRegistry(workspace); // 2.8 knows no referrers
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', passwords);
  const proxy = await startProxy(workspace, await proxyAddress(), {
    upstreams: { modern: { url: modern.url }, older: { url: older.url } },
    routes: [
      { prefix: 'modern/', upstream: 'modern', rewrite: 'team/' },
      { prefix: 'older/', upstream: 'older', rewrite: 'team/' },
    ],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [
      { names: ['local:alice'], repositories: ['**'], actions: ['pull', 'push'] },
      { names: ['local:bob'], repositories: ['**'], actions: ['pull'] },
    ],
    token: { keys: { directory: 'keys' } },
    log: { level: 'debug' },
  });
  const alice = asker(proxy, 'alice', passwords.alice);
  const bob = asker(proxy, 'bob', passwords.bob);
  const image = tinyImageFor('amd64', 'hello');
  const artifact = artifactFor(image.root, artifactType, 'what is in it');

  for (const repository of ['modern/app', 'older/app']) {
    await t.test(`are pushed to ${repository}, and come back byte for byte`, async () => {
      const pushed = await pushImage(alice, repository, '1', image);
      assert.equal(pushed.status, 201, pushed.text);
      const attached = await pushImage(alice, repository, artifact.root.digest, artifact);
      assert.equal(attached.status, 201, attached.text);
      assert.equal(attached.headers.location, `/v2/${repository}/manifests/${artifact.root.digest}`);
      // Only a registry that keeps referrers may say so: without it the client writes the list itself.
      const subject = repository === 'modern/app' ? image.root.digest : undefined;
      assert.equal(attached.headers['oci-subject'], subject);
      const read = await pull(bob, repository, artifact.root.digest);
      assert.ok(read.body.equals(artifact.root.bytes), read.text);
      for (const { digest } of artifact.blobs) {
        assert.equal((await bob(`/v2/${repository}/blobs/${digest}`)).status, 200, digest);
      }
    });
  }

  await t.test('are listed where the registry keeps them', async () => {
    const path = `/v2/modern/app/referrers/${image.root.digest}`;
    const listed = await bob(path);
    assert.equal(listed.headers['content-type'], mediaTypes.index);
    const { manifests } = JSON.parse(listed.text) as Referrers;
    assert.deepEqual(
      manifests.map((one) => [one.digest, one.artifactType]),
      [[artifact.root.digest, artifactType]],
    );
    const filtered = await bob(`${path}?artifactType=application/vnd.example.signature`);
    assert.deepEqual((JSON.parse(filtered.text) as Referrers).manifests, []);
    assert.equal(filtered.headers['oci-filters-applied'], 'artifactType');
  });

  await t.test('are listed by a tag where it does not', async () => {
    const asked = await bob(`/v2/older/app/referrers/${image.root.digest}`);
    assert.equal(asked.status, 404, asked.text);
    // "Referrers Tag Schema"
    const tag = image.root.digest.replace(':', '-');
    assert.equal((await pull(bob, 'older/app', tag)).status, 404);
    const { digest, mediaType, bytes } = artifact.root;
    const index = {
      mediaType: mediaTypes.index,
      bytes: Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.index,
          manifests: [{ mediaType, digest, size: bytes.length, artifactType }],
        }),
      ),
    };
    const put = await putManifest(alice, 'older/app', tag, index);
    assert.equal(put.status, 201, put.text);
    const read = await pull(bob, 'older/app', tag);
    assert.ok(read.body.equals(index.bytes), read.text);
    assert.equal(read.headers['content-type'], mediaTypes.index);
  });

  await t.test('are refused of whom no rule lets push', async () => {
    const first = artifact.blobs[0]?.digest;
    assertError(
      await bob(`/v2/older/app/blobs/uploads/?digest=${first}`, { method: 'POST', body: '{}' }),
      403,
      'DENIED',
    );
    assertError(await putManifest(bob, 'older/app', 'bobs', artifact.root), 403, 'DENIED');
    assert.equal((await pull(alice, 'older/app', 'bobs')).status, 404);
  });

  await t.test('leave no secret in the output of the proxy', () => {
    refuseSecrets(proxy.output(), Object.values(passwords));
  });
});

function pull(ask: Ask, repository: string, reference: string) {
  const accept = [mediaTypes.manifest, mediaTypes.index].join(', ');
  return ask(`/v2/${repository}/manifests/${reference}`, { headers: { accept } });
}
