import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertError } from '../harness/index.js';
import { testFront } from './harness/front-cases.js';
import { openFrontHouse } from './harness/front-house.js';
import { startGhcr } from './harness/ghcr.js';

test("GitHub's container registry", async (t) => {
  const row = { name: 'ghcr', url: 'ghcr.io', username: 'acme-ci', start: startGhcr };
  const house = await openFrontHouse(t, row);
  if (house === undefined) return;
  await testFront(t, house);

  await t.test('HEAD of a blob whose storage refuses HEAD', async (t) => {
    const { send, registry } = await house.open(t);
    const [blob] = house.image.blobs;
    const before = house.world.requests.length;
    assert.equal((await send(`/v2/app/blobs/${blob?.digest}`, { method: 'HEAD' })).status, 200);
    const asked = house.world.requests
      .slice(before)
      .filter(({ host }) => host === registry.storageHost?.host);
    assert.deepEqual(
      asked.map(({ method, status }) => [method, status]),
      [
        ['HEAD', 403],
        ['GET', 200],
      ],
    );
  });

  await t.test('public packages without a credential', async (t) => {
    const options = { credentials: '{ type: anonymous }', isPublic: (name: string) => name === 'acme/app' };
    const { send } = await house.open(t, options);
    const headers = { accept: house.image.root.mediaType };
    assert.equal((await send('/v2/app/manifests/1', { headers })).status, 200);
    assertError(await send('/v2/app/blobs/uploads/', { method: 'POST' }), 404, 'NAME_UNKNOWN');
  });
});
