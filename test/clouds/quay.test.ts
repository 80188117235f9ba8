import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyImage } from '../../src/testing/index.js';
import { assertError } from '../harness/index.js';
import { testFront } from './harness/front-cases.js';
import { openFrontHouse } from './harness/front-house.js';
import { startQuay } from './harness/quay.js';

test('Quay', async (t) => {
  const row = { name: 'quay', url: 'quay.io', username: 'acme+ci', start: startQuay };
  const house = await openFrontHouse(t, row);
  if (house === undefined) return;
  await testFront(t, house);

  await t.test('deletes with the right to push', async (t) => {
    const files = tinyImage('deleted');
    await house.put('acme/deleted', '1', files);
    const { send, registry } = await house.open(t, { may: ['pull', 'push'] });
    const manifest = `/v2/deleted/manifests/${files.root.digest}`;
    assert.equal((await send(manifest, { method: 'DELETE' })).status, 202);
    assert.deepEqual(registry.logins.at(-1)?.scopes, ['repository:acme/deleted:pull,push']);
    assertError(await send(manifest), 404, 'MANIFEST_UNKNOWN');
    const blob = `/v2/deleted/blobs/${files.blobs[0]?.digest}`;
    assertError(await send(blob, { method: 'DELETE' }), 405, 'UNSUPPORTED');
  });

  await t.test('a robot that may only pull deletes nothing', async (t) => {
    const { send } = await house.open(t, { may: ['pull'] });
    const manifest = `/v2/app/manifests/${house.image.root.digest}`;
    assertError(await send(manifest, { method: 'DELETE' }), 404, 'NAME_UNKNOWN');
    const headers = { accept: house.image.root.mediaType };
    assert.equal((await send(manifest, { headers })).status, 200);
  });

  await t.test('the front cannot read a scope with delete', async (t) => {
    const { password } = await house.open(t);
    const shown = Buffer.from(`${row.username}:${password}`).toString('base64');
    const statuses: number[] = [];
    for (const actions of ['delete', 'pull,delete', 'pull,push', '*']) {
      const url = new URL('https://quay.io/v2/auth?service=quay.io');
      url.searchParams.set('scope', `repository:acme/app:${actions}`);
      const headers = { authorization: `Basic ${shown}` };
      statuses.push((await house.ask(url, { method: 'GET', headers })).status);
    }
    assert.deepEqual(statuses, [400, 400, 200, 200]);
  });
});
