import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkOpening } from '../../src/bin/check.js';
import { loadConfiguration } from '../../src/config/load.js';
import {
  FakeLog,
  FakeMetrics,
  type MemoryRegistryOptions,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import { send, settingsFor, settled, startFront, takeOver, until } from '../harness/index.js';
import { type Told, toldSource } from './harness/told-source.js';

// One credential for one upstream: when it is asked for, and what clients see of it, which is nothing.

const manifest = '/v2/team/app/manifests/1';
const hour = 3_600_000;
const metric = (name: string, more = '') =>
  `registry_proxy_upstream_credential_${name}{upstream="one",credential="1"${more}}`;

/** A good one, with an end. */
function lasting(password: string) {
  return { username: 'robot', password, expiresAt: Date.now() + 12 * hour };
}

async function start(t: TestContext, give: Told['give'], options: MemoryRegistryOptions = {}) {
  const registry = await startMemoryRegistry({
    auth: { kind: 'basic', username: 'robot', password: 'first-secret' },
    ...options,
  });
  t.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  const { told, file } = toldSource(t.name, give);
  const upstreams = `{ one: { url: "${registry.url}", credentials: { module: ./own.mjs } } }`;
  const yaml = settingsFor(registry.url, { upstreams });
  const front = await startFront(t, yaml, { files: { 'own.mjs': file } });
  return {
    ...{ registry, told, front, yaml },
    pull: async (path = manifest) => (await front.sendAs('alice', path)).status,
    /** Nothing of it is to be seen anywhere. */
    assertSecret: async (...secrets: readonly string[]) => {
      const seen = front.log() + (await front.metrics());
      for (const secret of secrets) {
        assert.ok(!seen.includes(secret), 'a credential is in the log or the metrics');
        assert.ok(!seen.includes(Buffer.from(`robot:${secret}`).toString('base64')), 'as a header, too');
      }
    },
  };
}

describe('a credential for an upstream', () => {
  test('that ends in the middle of 50 layers is replaced without the client noticing', async (t) => {
    const give = (count: number) => lasting(count === 1 ? 'first-secret' : 'second-secret');
    const { registry, told, pull, front, assertSecret } = await start(t, give);
    const layers = Array.from({ length: 50 }, (_, i) =>
      registry.putBlob('team/app', Buffer.from(`layer ${i}`)),
    );
    const statuses: number[] = [];
    const others = layers.map(({ digest }) => `/v2/team/app/blobs/${digest}`);
    // As clients do: some at the same time.
    for (let at = 0; at < 50; at += 5) {
      if (at === 25) registry.setCredentials('robot', 'second-secret');
      statuses.push(...(await Promise.all(others.slice(at, at + 5).map((path) => pull(path)))));
    }
    assert.deepEqual([...new Set(statuses)], [200]);
    assert.equal(told.asked, 2);
    assert.equal(await front.metric(metric('usable')), 1);
    await assertSecret('first-secret', 'second-secret');
  });

  for (const kind of ['basic', 'token'] as const) {
    test(`is asked for once by a hundred clients that start at the same time: ${kind}`, async (t) => {
      const auth = { kind, username: 'robot', password: 'first-secret' };
      const give = async () => {
        await sleep(300); // so that they wait for it together
        return lasting('first-secret');
      };
      const { registry, told, front, pull } = await start(t, give, { auth });
      const statuses = await Promise.all(Array.from({ length: 100 }, () => pull()));
      assert.deepEqual([...new Set(statuses)], [200]);
      assert.equal(told.asked, 1);
      assert.deepEqual(
        registry.tokenRequests.map(({ scopes }) => scopes.join(' ')),
        kind === 'basic' ? [] : ['repository:team/app:pull'],
      );
      assert.equal(await front.metric(metric('fetches_total', ',result="obtained"')), 1);
    });
  }

  test('is there before anybody asks, and its metrics tell of it', async (t) => {
    const { told, front } = await start(t, () => lasting('first-secret'));
    await until('it is there', async () => (await front.metric(metric('usable'))) === 1);
    assert.equal(told.asked, 1);
    const expiry = await front.metric(metric('expiry_seconds'));
    assert.ok(expiry > 0 && expiry <= 12 * 3600, `it ends in ${expiry} s`);
    assert.match(await front.metrics(), /_credential_age_seconds\{upstream="one",credential="1"\} \d/);
  });

  test('is held over a reload, and let go with its metrics where the upstream is gone', async (t) => {
    const { registry, told, front, yaml, pull } = await start(t, () => lasting('first-secret'));
    assert.equal(await pull(), 200);
    await takeOver(front, `${yaml}trustedProxies: [192.0.2.1]\n`);
    await settled(front);
    assert.equal(await pull(), 200);
    assert.deepEqual([told.asked, told.opened, told.closed], [1, 1, 0]);
    await takeOver(front, yaml.replace('./own.mjs', './own.mjs, note: other'));
    await settled(front);
    assert.equal(await pull(), 200);
    assert.deepEqual([told.asked, told.opened, told.closed], [2, 2, 1]);
    assert.equal(await front.metric(metric('usable')), 1, 'the new one took the place of the old one');
    await takeOver(front, settingsFor(registry.url));
    await settled(front);
    assert.doesNotMatch(await front.metrics(), /_credential_(usable|age_seconds|expiry_seconds)\{/);
    assert.equal(told.closed, 2);
  });

  test('is had anew where the upstream is another registry after a reload', async (t) => {
    const asked: string[] = [];
    const { registry, front, yaml, pull } = await start(t, (_count, host) => {
      asked.push(host);
      return lasting('first-secret');
    });
    const auth = { kind: 'basic', username: 'robot', password: 'first-secret' } as const;
    const other = await startMemoryRegistry({ auth });
    t.after(() => other.close());
    other.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
    assert.equal(await pull(), 200);
    await takeOver(front, yaml.replaceAll(registry.url, other.url));
    await settled(front);
    await until('it is there', async () => asked.length > 1); // nobody had to ask
    assert.equal(await pull(), 200);
    assert.deepEqual(asked, [new URL(registry.url).host, new URL(other.url).host]);
    assert.equal(await front.metric(metric('usable')), 1);
  });

  test('that cannot be had is 503 for that upstream alone: the proxy is ready, and tries again', async (t) => {
    let isDown = true;
    const { front, told, pull, assertSecret } = await start(t, () => {
      if (isDown) throw new Error('the vault is sealed');
      return lasting('first-secret');
    });
    await front.logLine(({ message }) => message === 'a credential cannot be had');
    assert.equal((await send(front.adminPort, '/readyz')).status, 200);
    assert.equal(await front.metric(metric('usable')), 0);
    assert.match(await front.metrics(), /_usable\{upstream="one",credential="1"\} 0\n/);
    assert.equal(await pull(), 503);
    const line = await front.logLine(({ status }) => status === 503);
    assert.match(String(line.reason), /credential 1 of upstream one cannot be had.*the vault is sealed/);
    isDown = false;
    await until('it is there', async () => (await front.metric(metric('usable'))) === 1);
    assert.equal(await pull(), 200);
    assert.ok(told.asked >= 2, 'it was tried again');
    await assertSecret('first-secret');
  });

  test('is not asked for by a check', async (t) => {
    const { told, front } = await start(t, () => lasting('first-secret'));
    await front.stop();
    const asked = told.asked;
    const loaded = await loadConfiguration(join(front.directory, 'proxy.yaml'));
    assert.ok('configuration' in loaded, 'the configuration is good');
    const surroundings = { clock: Date, log: new FakeLog(), metrics: new FakeMetrics() };
    assert.deepEqual(await checkOpening(loaded.configuration, surroundings), []);
    assert.deepEqual([told.opened, told.asked], [2, asked]);
  });
});
