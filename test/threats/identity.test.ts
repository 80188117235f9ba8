import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { RegistryError } from '../../src/errors.js';
import { Secret } from '../../src/secret.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { driver as htpasswdDriver } from '../../src/verifiers/htpasswd.js';
import { assertError, basic, claimsOf, type Front, htpasswd, startFront } from '../harness/index.js';

async function start(
  t: TestContext,
  yaml: string,
  files: Readonly<Record<string, string>> = {},
  clock = new FakeClock(Date.now()),
) {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putImage('open/app', '1', tinyImageFor('amd64', 'hello'));
  const upstream = `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`;
  return startFront(t, upstream + yaml, { files, clock });
}

/** What a token grants of one repository. */
async function granted(
  front: Front,
  user: string,
  password: string,
  name: string,
): Promise<readonly string[]> {
  const headers = { authorization: basic(user, password) };
  const answer = await front.send(`/token?scope=repository:${name}:pull,push,delete`, { headers });
  assert.equal(answer.status, 200, answer.text);
  const [access] = claimsOf((JSON.parse(answer.text) as { token: string }).token).access;
  return access?.actions ?? [];
}

describe('threat 13: an unanchored pattern, a value used as a pattern', () => {
  const users = ['alice', 'a.c', '*', '**', 'a/b', '..', 'Alice', '.*', 'x|y', '${principal.name}'];

  test('patterns match the whole name, and a name is one component’s text', async (t) => {
    const front = await start(
      t,
      `
policy:
  - { names: ["local:*"], repositories: ["team", "team-*", "deep/**", "one/*/two", "users/\${principal.name}/**"], actions: [pull] }
`,
      { 'users.htpasswd': await htpasswd(Object.fromEntries(users.map((name) => [name, 'pw']))) },
    );
    for (const [name, expected] of [
      ['team', true],
      ['team-a', true],
      ['deep/a', true],
      ['deep/a/b/c', true],
      ['one/a/two', true],
      ['users/alice/x', true],
      ['xteam', false],
      ['teams', false],
      ['team/a', false],
      ['a/team', false],
      ['team-a/b', false],
      ['deep', false],
      ['deeper/a', false],
      ['a/deep/b', false],
      ['one/a/b/two', false],
      ['one/two', false],
      ['one/a/twos', false],
      ['users/alice', false],
      ['users/alicex/y', false],
      ['users/bob/x', false],
      ['x/users/alice/y', false],
    ] as const) {
      assert.equal((await granted(front, 'alice', 'pw', name)).length > 0, expected, name);
    }
  });

  test('a user’s name is no pattern', async (t) => {
    const front = await start(
      t,
      `
policy: [{ names: ["local:*"], repositories: ["users/\${principal.name}/**"], actions: [pull] }]
`,
      { 'users.htpasswd': await htpasswd(Object.fromEntries(users.map((name) => [name, 'pw']))) },
    );
    for (const user of users.filter((name) => name !== 'alice')) {
      for (const name of [
        'users/alice/x',
        'users/abc/x',
        'users/a/b/x',
        'users/a/x',
        'users/x/y',
        'users/y',
        'alice/x',
      ]) {
        assert.deepEqual(await granted(front, user, 'pw', name), [], `${user} ${name}`);
      }
    }
    assert.deepEqual(await granted(front, 'a.c', 'pw', 'users/a.c/x'), ['pull']);
  });
});

describe('threat 16: user enumeration; hashes a library rejects', () => {
  async function openVerifier(t: TestContext, text: string) {
    const directory = mkdtempSync(join(tmpdir(), 'htpasswd-test-'));
    t.after(() => rmSync(directory, { recursive: true }));
    writeFileSync(join(directory, 'users'), text);
    const dependencies = {
      id: 'local',
      baseDirectory: directory,
      clock: new FakeClock(),
      log: new FakeLog(),
      metrics: new FakeMetrics(),
      state: undefined as never,
    };
    return htpasswdDriver.open(htpasswdDriver.config.parse({ file: 'users' }), dependencies);
  }

  test('a login of an unknown user waits for a password hash like any other', async (t) => {
    const verifier = await openVerifier(t, await htpasswd({ alice: 'pw' }));
    const connection = { address: '127.0.0.1' };
    // Only a bounded number may wait for a hash: that many more than the bound, at once, shows who has to.
    for (const username of ['alice', 'nobody']) {
      const attempts = Array.from({ length: 300 }, (_, i) =>
        verifier.verify(
          { shown: { kind: 'password', username, password: new Secret(`wrong${i}`) }, connection },
          { signal: new AbortController().signal },
        ),
      );
      const codes = (await Promise.allSettled(attempts)).map((one) =>
        one.status === 'rejected' && one.reason instanceof RegistryError ? one.reason.code : 'none',
      );
      assert.ok(codes.includes('TOOMANYREQUESTS'), username);
    }
  });

  test('$2a$, $2b$ and $2y$ are the same hash', async (t) => {
    const hash = (await htpasswd({ x: 'pw' })).trim().slice('x:'.length);
    const lines = ['2a', '2b', '2y'].map((kind) => `u${kind}:${hash.replace(/^\$2.\$/, `$${kind}$`)}`);
    const front = await start(t, '', { 'users.htpasswd': lines.join('\n') });
    for (const user of ['u2a', 'u2b', 'u2y']) {
      assert.equal(
        (await front.send('/token?account=x', { headers: { authorization: basic(user, 'pw') } })).status,
        200,
        user,
      );
      assert.equal(
        (await front.send('/token?account=x', { headers: { authorization: basic(user, 'no') } })).status,
        401,
      );
    }
  });

  test('an unknown user and a wrong password are the same answer', async (t) => {
    const front = await start(t, '');
    const [known, unknown] = await Promise.all(
      ['alice', 'nobody'].map((user) =>
        front.send('/token?account=x', { headers: { authorization: basic(user, 'wrong') } }),
      ),
    );
    assert.equal(known?.text, unknown?.text);
    assert.equal(known?.status, unknown?.status);
    assert.deepEqual(Object.keys(known?.headers ?? {}), Object.keys(unknown?.headers ?? {}));
  });
});

describe('threat 17: X-Forwarded-* trusted from anyone', () => {
  const addressOf = async (front: Front, forwarded: string) => {
    const answer = await front.send('/v2/', { headers: { 'x-forwarded-for': forwarded } });
    return (await front.logLine((line) => line.requestId === answer.headers['x-request-id'])).address;
  };

  test('from a peer that is not listed it does not count', async (t) => {
    for (const trusted of ['', 'trustedProxies: [10.0.0.0/8]']) {
      const front = await start(t, trusted);
      assert.equal(await addressOf(front, '203.0.113.9'), '127.0.0.1');
    }
  });

  test('from a listed one the last address counts that is not listed itself', async (t) => {
    const front = await start(t, 'trustedProxies: [127.0.0.1, 10.0.0.0/8]');
    for (const [header, expected] of [
      ['203.0.113.9', '203.0.113.9'],
      ['1.1.1.1, 203.0.113.9', '203.0.113.9'],
      ['1.1.1.1, 203.0.113.9, 10.1.2.3', '203.0.113.9'],
      ['203.0.113.9, garbage', '127.0.0.1'],
      ['garbage', '127.0.0.1'],
      ['', '127.0.0.1'],
      ['2001:db8::1', '2001:db8::1'],
      ['::ffff:203.0.113.9', '203.0.113.9'],
      ['10.1.1.1', '10.1.1.1'],
    ] as const) {
      assert.equal(await addressOf(front, header), expected, header);
    }
  });

  test('guessing under forged addresses is slowed down all the same', async (t) => {
    const front = await start(t, '');
    let status = 0;
    for (let i = 0; i < 12; i++) {
      const headers = { authorization: basic('alice', `guess${i}`), 'x-forwarded-for': `203.0.113.${i}` };
      status = (await front.send('/token?account=alice', { headers })).status;
    }
    assert.equal(status, 429);
  });
});

describe('threat 23: one identity provider minted another’s name', () => {
  const verifiers = `
verifiers:
  - { id: corp, type: htpasswd, file: corp.htpasswd }
  - { id: guests, type: htpasswd, file: guests.htpasswd }
`;

  test('a name belongs to its verifier', async (t) => {
    const front = await start(
      t,
      `${verifiers}
policy: [{ names: ["corp:alice"], repositories: ["**"], actions: [pull] }, { names: ["guests:*"], repositories: ["public/**"], actions: [pull] }]
`,
      {
        'corp.htpasswd': await htpasswd({ alice: 'corp-pw' }),
        'guests.htpasswd': await htpasswd({ mallory: 'guest-pw', 'alice ': 'guest-pw' }),
      },
    );
    assert.deepEqual(await granted(front, 'alice', 'corp-pw', 'secret/a'), ['pull']);
    for (const guest of ['mallory', 'alice ']) {
      assert.deepEqual(await granted(front, guest, 'guest-pw', 'secret/a'), []);
      assert.deepEqual(await granted(front, guest, 'guest-pw', 'public/a'), ['pull']);
    }
    // The verifier that knows the name decides; a wrong password is not tried on the next one.
    const headers = { authorization: basic('alice', 'guest-pw') };
    assertError(await front.send('/token?account=alice', { headers }), 401, 'UNAUTHORIZED');
  });

  test('the same name of another verifier has none of its rights', async (t) => {
    const front = await start(
      t,
      `
verifiers:
  - { id: guests, type: htpasswd, file: guests.htpasswd }
  - { id: corp, type: htpasswd, file: corp.htpasswd }
policy: [{ names: ["corp:alice"], repositories: ["**"], actions: [pull] }]
`,
      {
        'corp.htpasswd': await htpasswd({ alice: 'pw' }),
        'guests.htpasswd': await htpasswd({ alice: 'pw' }),
      },
    );
    assert.deepEqual(await granted(front, 'alice', 'pw', 'secret/a'), []);
  });

  test('a bare name in a rule is refused at start', async (t) => {
    const files = {
      'corp.htpasswd': await htpasswd({ a: 'a' }),
      'guests.htpasswd': await htpasswd({ a: 'a' }),
    };
    const rule = (name: string) =>
      `${verifiers}\npolicy: [{ names: [${name}], repositories: ["**"], actions: [pull] }]\n`;
    for (const name of ['alice', '"nobody:alice"', '"*"', '"*:alice"']) {
      await assert.rejects(start(t, rule(name), files), name);
    }
  });
});

describe('threat 27: throttling by user name locks the real user out', () => {
  const from = (address: string, user: string, password: string) => ({
    headers: { 'x-forwarded-for': address, authorization: basic(user, password) },
  });

  test('guesses from one address slow that address down, and nobody elsewhere', async (t) => {
    const clock = new FakeClock(Date.now());
    const users = { 'users.htpasswd': await htpasswd({ alice: 'right', bob: 'right' }) };
    const front = await start(t, 'trustedProxies: [127.0.0.1]', users, clock);
    const login = (address: string, user: string, password: string) =>
      front.send('/token?account=x', from(address, user, password));

    for (let i = 0; i < 10; i++) assert.equal((await login('203.0.113.1', 'alice', `guess${i}`)).status, 401);
    const refused = await login('203.0.113.1', 'alice', 'right');
    assertError(refused, 429, 'TOOMANYREQUESTS');
    assert.ok(Number(refused.headers['retry-after']) > 0, "Number(refused.headers['retry-after']) > 0");
    assert.equal((await login('203.0.113.2', 'alice', 'right')).status, 200, 'elsewhere');
    assert.equal((await login('203.0.113.1', 'bob', 'right')).status, 200, 'somebody else');

    clock.advance(61_000);
    assert.equal((await login('203.0.113.1', 'alice', 'right')).status, 200, 'later');
  });

  test('many unknown names from one address do not lock out who is right there', async (t) => {
    const users = { 'users.htpasswd': await htpasswd({ alice: 'right' }) };
    const front = await start(t, 'trustedProxies: [127.0.0.1]', users);
    const login = (user: string, password: string) =>
      front.send('/token?account=x', from('203.0.113.1', user, password));
    for (let i = 0; i < 150; i++) assert.equal((await login(`user${i}`, 'guess')).status, 401);
    assert.equal((await login('alice', 'right')).status, 200, 'behind the same NAT');
  });

  test('who has logged in lately goes on while somebody guesses from the same address', async (t) => {
    const users = { 'users.htpasswd': await htpasswd({ alice: 'right' }) };
    const front = await start(t, '', users);
    const login = (password: string) =>
      front.send('/token?account=x', { headers: { authorization: basic('alice', password) } });
    assert.equal((await login('right')).status, 200);
    for (let i = 0; i < 15; i++) await login(`guess${i}`);
    assert.equal((await login('another')).status, 429);
    assert.equal((await login('right')).status, 200);
  });
});
