import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyImage } from '../../src/testing/index.js';
import { assertError } from '../harness/index.js';
import { hubRetryAfter, startDockerHub } from './harness/docker-hub.js';
import { testFront } from './harness/front-cases.js';
import { openFrontHouse } from './harness/front-house.js';

test('Docker Hub', async (t) => {
  const row = { name: 'docker-hub', url: 'docker.io', username: 'acme-ci', start: startDockerHub };
  const house = await openFrontHouse(t, row);
  if (house === undefined) return;
  const { root } = house.image;
  const headers = { accept: root.mediaType };
  const manifest = '/v2/app/manifests/1';
  await testFront(t, house);

  await t.test('a bare name is in library/', async (t) => {
    await house.put('library/bare', '1', tinyImage('bare'));
    const { send, registry } = await house.open(t);
    assert.equal((await send('/v2/top/bare/manifests/1', { headers })).status, 200);
    assert.deepEqual(registry.logins.at(-1)?.scopes, ['repository:library/bare:pull']);
  });

  await t.test('public repositories without a credential; what is private is 404', async (t) => {
    const options = {
      credentials: '{ type: anonymous }',
      isPublic: (name: string) => name === 'library/bare',
    };
    const { send, registry } = await house.open(t, options);
    assert.equal((await send('/v2/top/bare/manifests/1', { headers })).status, 200);
    assertError(await send(manifest, { headers }), 404, 'NAME_UNKNOWN');
    assert.ok(
      registry.logins.every(({ username }) => username === undefined),
      'nobody was named',
    );
  });

  await t.test('what is left of the pulls is told, and HEAD does not count', async (t) => {
    const { send, registry } = await house.open(t);
    registry.limits.pullsLeft = 7;
    for (const method of ['HEAD', 'HEAD', 'GET']) {
      const answer = await send(manifest, { method, headers });
      assert.equal(answer.headers['ratelimit-limit'], '200;w=21600');
      assert.equal(answer.headers['ratelimit-remaining'], `${method === 'GET' ? 6 : 7};w=21600`);
      assert.equal(answer.headers['docker-ratelimit-source'], undefined);
    }
  });

  await t.test('no pulls left: 429 with its headers, and no other credential is tried', async (t) => {
    const credentials =
      '[{ type: static, username: acme-ci, password: { file: secret } }, ' +
      '{ type: static, username: acme-spare, password: { file: spare } }]';
    const { send, registry, proxy } = await house.open(t, {
      credentials,
      files: { spare: 'spare-password' },
    });
    registry.limits.pullsLeft = 0;
    const before = house.world.requests.length;
    const answer = await send(manifest, { headers });
    assertError(answer, 429, 'TOOMANYREQUESTS');
    assert.equal(answer.headers['retry-after'], String(hubRetryAfter.pulls));
    assert.equal(answer.headers['ratelimit-limit'], '200;w=21600');
    assert.equal(answer.headers['ratelimit-remaining'], '0;w=21600');
    assert.equal(answer.headers['docker-ratelimit-source'], undefined);
    const asked = house.world.requests.slice(before);
    assert.equal(asked.filter(({ path }) => path.includes('/manifests/')).length, 1, 'it is asked once');
    assert.deepEqual(
      registry.logins.map(({ username }) => username),
      ['acme-ci'],
    );
    const head = await send(manifest, { method: 'HEAD', headers });
    assert.equal(head.status, 200, 'HEAD does not count');
    const blob = await send(`/v2/app/blobs/${house.image.blobs[0]?.digest}`);
    assert.equal(blob.status, 200, 'nor do layers');
    assert.equal(
      proxy.logLines().filter(({ level }) => level === 'error').length,
      0,
      'nothing is wrong with us',
    );
  });

  await t.test('too much from one address: 429 in plain text, passed as a registry error', async (t) => {
    const { send, registry } = await house.open(t);
    assert.equal((await send(manifest, { headers })).status, 200);
    registry.limits.isFlooded = true;
    for (const path of [manifest, '/v2/app/tags/list', `/v2/app/blobs/${house.image.blobs[0]?.digest}`]) {
      const answer = await send(path, { headers });
      assertError(answer, 429, 'TOOMANYREQUESTS');
      assert.equal(answer.headers['retry-after'], String(hubRetryAfter.flooded));
      assert.equal(answer.headers['ratelimit-limit'], undefined);
    }
    assert.deepEqual(new Set(registry.logins.map(({ username }) => username)), new Set(['acme-ci']));
  });
});
