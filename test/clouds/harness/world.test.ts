import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createSecureContext, rootCertificates } from 'node:tls';
import { openDispatcher } from '../../../src/outgoing/dispatcher.js';
import { Secret } from '../../../src/secret.js';
import { startWorld, type World } from './world.js';

describe('the world the clouds are in', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  after(() => world.close());

  const dispatcher = () =>
    openDispatcher({
      timeouts: { connect: 5_000, headers: 5_000, idle: 5_000 },
      connections: 4,
      proxy: new Secret(world.proxyUrl),
      secureContext: createSecureContext({ ca: [...rootCertificates, world.authority] }),
    });

  test('a host is found by its name, with a certificate of its own', async () => {
    world.host('gcr.io', async (exchange) => exchange.json(200, { said: await exchange.readText() }));
    const pool = dispatcher();
    const answer = await pool.request({
      origin: 'https://gcr.io',
      path: '/v2/',
      method: 'POST',
      body: 'hello',
    });
    assert.deepEqual(await answer.body.json(), { said: 'hello' });
    await pool.destroy();
    const [seen] = world.requestsTo('gcr.io');
    assert.deepEqual(
      [seen?.method, seen?.path, seen?.body, seen?.headers.host],
      ['POST', '/v2/', 'hello', 'gcr.io'],
    );
  });

  test('a name that nobody answers for does not exist', async () => {
    const pool = dispatcher();
    await assert.rejects(pool.request({ origin: 'https://evil.example.com', path: '/', method: 'GET' }));
    await pool.destroy();
    assert.deepEqual(world.unknownNames, ['evil.example.com:443']);
  });
});
