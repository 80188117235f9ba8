import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type MemoryRegistryOptions, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { overwrite, send, settingsFor, settled, startFront, takeOver, until } from '../harness/index.js';

// Two credentials for one upstream: a password is changed at the registry, and nobody notices.

const manifest = '/v2/team/app/manifests/1';
const usable = (credential: number) =>
  `registry_proxy_upstream_credential_usable{upstream="one",credential="${credential}"}`;

async function start(t: TestContext, options: MemoryRegistryOptions) {
  const registry = await startMemoryRegistry(options);
  t.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  const robot = (file: string) => `{ type: static, username: robot, password: { file: ${file} } }`;
  const upstreams =
    `{ one: { url: "${registry.url}", credentials: [${robot('first')}, ${robot('second')}] }, ` +
    `open: { url: "${registry.url}" } }`;
  const routes = '[{ prefix: "", upstream: one }, { prefix: "open/", upstream: open }]';
  const yaml = settingsFor(registry.url, { upstreams, routes });
  const files = { first: 'first-secret\n', second: 'second-secret\n' };
  const front = await startFront(t, yaml, { files });
  t.after(() => {
    for (const secret of ['first-secret', 'second-secret', 'third-secret']) {
      assert.ok(!front.log().includes(secret), 'a password is in the log');
    }
  });
  return {
    ...{ registry, front },
    pull: async (path = manifest) => (await front.sendAs('alice', path)).status,
    /** What was said of credentials, in order. */
    told: () =>
      front
        .logLines()
        .map(({ message }) => String(message))
        .filter((message) => /^credential \d of upstream one /.test(message)),
  };
}

const auths = {
  basic: { kind: 'basic', username: 'robot', password: 'first-secret' },
  token: { kind: 'token', username: 'robot', password: 'first-secret' },
} as const;

describe('two credentials for one upstream', () => {
  for (const [kind, auth] of Object.entries(auths)) {
    test(`let a password be changed without an outage: ${kind}`, async (t) => {
      const { registry, front, pull, told } = await start(t, { auth });
      const statuses = [await pull(), await pull()];
      assert.deepEqual(told(), []);
      registry.setCredentials('robot', 'second-secret');
      registry.revokeTokens();
      statuses.push(...(await Promise.all(Array.from({ length: 20 }, () => pull()))));
      assert.deepEqual(told(), ['credential 1 of upstream one is refused; going on with credential 2']);
      assert.deepEqual([await front.metric(usable(1)), await front.metric(usable(2))], [0, 1]);

      // The first file is given the password that comes after this one, and is taken as soon as it counts.
      overwrite(join(front.directory, 'first'), 'third-secret\n', 'renamed');
      await takeOver(front);
      await settled(front);
      registry.setCredentials('robot', 'third-secret');
      registry.revokeTokens();
      statuses.push(...(await Promise.all(Array.from({ length: 20 }, () => pull()))));
      assert.equal(told().length, 1, 'nothing was refused');
      await until('it can be used', async () => (await front.metric(usable(1))) === 1);

      // The second one is the same part as before the reload, and still open.
      registry.setCredentials('robot', 'second-secret');
      registry.revokeTokens();
      statuses.push(await pull());
      assert.equal(told().length, 2);
      assert.deepEqual([...new Set(statuses)], [200]);
    });
  }

  test('are looked at again while the second is in use: a changed file is enough, without a reload', async (t) => {
    const { registry, front, pull, told } = await start(t, { auth: auths.basic });
    registry.setCredentials('robot', 'second-secret');
    assert.equal(await pull(), 200);
    overwrite(join(front.directory, 'first'), 'third-secret\n', 'renamed');
    registry.setCredentials('robot', 'third-secret');
    assert.equal(await pull(), 200);
    assert.deepEqual(told(), [
      'credential 1 of upstream one is refused; going on with credential 2',
      'credential 1 of upstream one is tried again after it was refused',
    ]);
  });

  test('that are both refused are 503 for that upstream alone', async (t) => {
    const { registry, front, pull, told } = await start(t, { auth: auths.basic });
    registry.setCredentials('robot', 'another');
    for (let i = 0; i < 3; i++) assert.equal(await pull(), 503);
    const logins = registry.requests.filter(({ headers }) => headers.authorization !== undefined).length;
    assert.equal(logins, 8, 'both by the first request and looked at; one by each that follows');
    assert.deepEqual(told(), [
      'credential 1 of upstream one is refused; going on with credential 2',
      'credential 2 of upstream one is refused, and there is no other',
    ]);
    assert.deepEqual([await front.metric(usable(1)), await front.metric(usable(2))], [0, 0]);
    assert.equal((await send(front.adminPort, '/readyz')).status, 200);
    registry.setCredentials('robot', 'second-secret');
    assert.equal(await pull(), 200, 'one that is good by now is used at once');
  });

  test('are no way around a limit: 429 changes nothing', async (t) => {
    const { registry, front, pull, told } = await start(t, { auth: auths.basic });
    assert.equal(await pull(), 200);
    registry.forgetRequests();
    registry.faults.add(
      { path: '/manifests/' },
      { answer: { status: 429, headers: { 'retry-after': '7' } } },
    );
    for (let i = 0; i < 5; i++) assert.equal(await pull(), 429);
    const shown = new Set(registry.requests.map(({ headers }) => headers.authorization));
    assert.deepEqual([...shown], [`Basic ${Buffer.from('robot:first-secret').toString('base64')}`]);
    assert.equal(registry.requests.length, 5, 'nothing was asked again');
    assert.deepEqual(told(), []);
    assert.equal(await front.metric(usable(1)), 1);
  });
});
