import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { startMemoryRegistry } from '../../src/testing/index.js';
import { assertError, claimsOf, type Front, htpasswd, passwords, startFront } from '../harness/index.js';

interface Reply {
  readonly token: string;
  readonly refresh_token?: string;
}

async function start(t: TestContext, refreshTokens: string) {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  const clock = new FakeClock(Date.now());
  const front = await startFront(
    t,
    `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }, { prefix: "", host: other.test, upstream: one }]
token: { refreshTokens: ${refreshTokens} }
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
  - { id: anyone, type: anonymous }
`,
    { clock },
  );
  const post = async (fields: Readonly<Record<string, string>>, host = 'docker.test') => {
    const body = new URLSearchParams(fields).toString();
    return front.send('/token', { method: 'POST', body, host });
  };
  const redeem = (token: string, fields: Readonly<Record<string, string>> = {}, host?: string) =>
    post({ grant_type: 'refresh_token', refresh_token: token, ...fields }, host);
  return { front, clock, post, redeem };
}

async function login(front: Front): Promise<string> {
  const answer = await front.sendAs('alice', '/token?offline_token=true&client_id=docker');
  return (JSON.parse(answer.text) as Reply).refresh_token ?? '';
}

describe('refresh tokens', () => {
  test('off: nobody gets one', async (t) => {
    const { front, post } = await start(t, 'false');
    assert.equal(await login(front), '');
    const answer = await post({ username: 'alice', password: passwords.alice, access_type: 'offline' });
    assert.equal((JSON.parse(answer.text) as Reply).refresh_token, undefined);
  });

  test('on: by GET and POST, for those who ask, and used again and again', async (t) => {
    const { front, post, redeem } = await start(t, 'true');
    const byPost = await post({ username: 'alice', password: passwords.alice, access_type: 'offline' });
    const tokens = [await login(front), (JSON.parse(byPost.text) as Reply).refresh_token ?? ''];
    assert.notEqual(tokens[0], tokens[1]);
    for (const token of [...tokens, ...tokens]) {
      assert.match(token, /^drp_refresh_/);
      const answer = await redeem(token, { scope: 'repository:a:pull,push', access_type: 'offline' });
      assert.equal(answer.status, 200, answer.text);
      const { token: access, refresh_token } = JSON.parse(answer.text) as Reply;
      assert.deepEqual(claimsOf(access).access, [
        { type: 'repository', name: 'a', actions: ['pull', 'push'] },
      ]);
      assert.equal(refresh_token, undefined, 'docker keeps the first one');
    }
    const plain = await front.sendAs('alice', '/token?scope=repository:a:pull');
    assert.equal((JSON.parse(plain.text) as Reply).refresh_token, undefined);
  });

  test('never for anonymous', async (t) => {
    const { front } = await start(t, 'true');
    const answer = await front.send('/token?offline_token=true&scope=repository:a:pull');
    assert.equal(answer.status, 200);
    assert.equal((JSON.parse(answer.text) as Reply).refresh_token, undefined);
  });

  test('dies when its user is removed, and does not come back with the user', async (t) => {
    const { front, clock, redeem } = await start(t, 'true');
    const token = await login(front);
    const users = join(front.directory, 'users.htpasswd');
    writeFileSync(users, await htpasswd({ bob: passwords.bob, someone: 'else' }));
    clock.advance(60_000);
    await eventually(async () => (await redeem(token)).status === 401);
    writeFileSync(users, await htpasswd({ alice: passwords.alice, bob: passwords.bob }));
    await eventually(async () => (await front.sendAs('alice', '/token?account=alice')).status === 200);
    assertError(await redeem(token), 401, 'UNAUTHORIZED');
  });

  test('dies after its idle time; use keeps it alive, until the absolute time', async (t) => {
    const { front, clock, redeem } = await start(t, '{ idle: 1h, absolute: 2h }');
    const unused = await login(front);
    const used = await login(front);
    for (const minutes of [50, 50]) {
      clock.advance(minutes * 60_000);
      assert.equal((await redeem(used)).status, 200);
    }
    assertError(await redeem(unused), 401, 'UNAUTHORIZED');
    clock.advance(21 * 60_000);
    assertError(await redeem(used), 401, 'UNAUTHORIZED');
  });

  test('is of one service', async (t) => {
    const { front, redeem } = await start(t, 'true');
    const token = await login(front);
    assertError(await redeem(token, {}, 'other.test'), 401, 'UNAUTHORIZED');
    assertError(await redeem(token, { service: 'other.test' }), 401, 'UNAUTHORIZED');
    assert.equal((await redeem(token, { service: 'docker.test' })).status, 200);
  });

  test('a made-up one, and an empty one, are refused', async (t) => {
    const { front, redeem } = await start(t, 'true');
    const token = await login(front);
    for (const bad of ['', 'x', `${token}x`, token.toUpperCase(), `drp_refresh_${'A'.repeat(43)}`]) {
      assertError(await redeem(bad), 401, 'UNAUTHORIZED');
    }
  });
});

async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail('it did not come about');
}
