import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Credential, CredentialSource } from '../contracts/index.js';
import { RefreshedCredentials } from '../decorators/refreshed-credentials.js';
import { SeveralCredentials } from '../decorators/several-credentials.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import {
  FakeClock,
  FakeCredentialSource,
  FakeLog,
  FakeMetrics,
  startMemoryRegistry,
  tinyImage,
} from '../testing/index.js';
import { failsWith, openUpstream, operations, password } from './opened-upstream.test.js';
import { CredentialsPaused, RefusedCredentials } from './refused-credentials.js';

// Registries lock an account after a few wrong passwords: ours must not be shown with each request of our clients.

const app = (i: number | string = 1) => operations.manifest(`team/app${i}`, 'v1');
const hour = 3_600_000;

/** As the program puts them together: what its files hold, in order. */
async function setUp(t: TestContext, kind: 'basic' | 'token', o: { files: string[]; expiring?: boolean }) {
  const remote = await startMemoryRegistry({ auth: { kind, username: 'robot', password: 'good' } });
  t.after(() => remote.close());
  for (let i = 0; i < 30; i++) remote.putImage(`team/app${i}`, 'v1', tinyImage('hello'));
  const clock = new FakeClock(Date.now());
  const given = { clock, log: new FakeLog(), upstream: 'test', metrics: new FakeMetrics() };
  const sources = o.files.map((_, i): CredentialSource => {
    const source = {
      keyFor: () => '',
      credentialFor: async (): Promise<Credential> => ({
        ...password('robot', o.files[i] ?? ''),
        ...(o.expiring && { expiresAt: clock.now() + hour }),
      }),
      close: async () => {},
    };
    const refreshed = new RefreshedCredentials(source, { ...given, credential: i + 1 });
    t.after(() => refreshed.close());
    return refreshed;
  });
  const [only] = sources;
  const credentials = only && sources.length === 1 ? only : new SeveralCredentials(sources, given);
  const { fetch, logged } = await openUpstream(t, remote.url, { credentials, clock });
  return {
    ...{ remote, clock },
    files: o.files,
    pull: async (i?: number) => (await fetch('GET', app(i))).status,
    /** Who showed a password since it was last looked. */
    logins: () => {
      const shown = remote.requests.flatMap(({ headers }) =>
        headers.authorization?.startsWith('Basic ') ? [headers.authorization] : [],
      );
      remote.forgetRequests();
      return shown.map((text) => Buffer.from(text.slice(6), 'base64').toString().split(':')[1]);
    },
    /** Since it was last looked. */
    told: () => logged.splice(0).filter((line) => /refuses our credential/.test(line)).length,
  };
}

test('a token endpoint that takes no question without a scope does not refuse our passwords by that', async (t) => {
  const { remote, clock, pull, logins, told } = await setUp(t, 'token', { files: ['good', 'better'] });
  remote.faults.add({ server: 'token', path: /app2/ }, { answer: { status: 403 } });
  remote.faults.add(({ server, path }) => server === 'token' && !path.includes('scope='), {
    answer: { status: 400 },
  });
  for (let i = 0; i < 3; i++) await assert.rejects(pull(2), failsWith('UNAVAILABLE'));
  assert.deepEqual([new Set(logins()), told()], [new Set(['good']), 0]);
  clock.advance(hour);
  assert.equal(await pull(1), 200, 'the others go on');
});

test('a refresh token that has ended is refused with 400', async (t) => {
  const remote = await startMemoryRegistry({ auth: { kind: 'token', username: 'robot', password: 'good' } });
  t.after(() => remote.close());
  remote.faults.add({ server: 'token' }, { answer: { status: 400 } });
  const credential: Credential = { kind: 'identity-token', token: new Secret('ended') };
  const source = new FakeCredentialSource([credential, credential]);
  const { fetch } = await openUpstream(t, remote.url, { credentials: source });
  await assert.rejects(fetch('GET', app()), failsWith('UNAVAILABLE', /refuses our credential/));
  await assert.rejects(fetch('GET', app()), CredentialsPaused);
});

for (const kind of ['basic', 'token'] as const) {
  describe(`an account that refuses our password: ${kind}`, () => {
    for (const expiring of [false, true]) {
      for (const files of [['bad']]) {
        const name = `${files.length} of them${expiring ? ', held' : ''}`;
        test(`is left alone by all requests that follow, longer each time: ${name}`, async (t) => {
          const { clock, pull, logins, told } = await setUp(t, kind, { files, expiring });
          const refused = (i: number) => assert.rejects(pull(i), failsWith('UNAVAILABLE'));
          for (const wait of [5, 10, 20, 40, 60, 60]) {
            for (let i = 0; i < 10; i++) await refused(i);
            const shown = logins();
            assert.deepEqual([...new Set(shown)].sort(), files);
            assert.equal(shown.length, 2 * files.length, 'the request, and the look at what is refused');
            assert.equal(told(), 1);
            clock.advance(wait * 1000 - 1);
            await assert.rejects(pull(), { code: 'UNAVAILABLE', retryAfter: 1 });
            assert.deepEqual([logins(), told()], [[], 0]);
            clock.advance(1);
          }
        });
      }
    }

    test('is shown the next password that it refused before, once it refuses what it took', async (t) => {
      const { remote, clock, pull, files } = await setUp(t, kind, { files: ['old', 'next'] });
      remote.setCredentials('robot', 'old');
      files[0] = 'typing error';
      await assert.rejects(pull(), failsWith('UNAVAILABLE'));
      clock.advance(1_000);
      files[0] = 'old';
      assert.equal(await pull(), 200);
      remote.setCredentials('robot', 'next');
      remote.revokeTokens();
      assert.equal(await pull(), 200);
    });

    test('is asked by another request soon where the one that asked found out nothing', async (t) => {
      const { remote, clock, pull, logins } = await setUp(t, kind, { files: ['bad'] });
      await assert.rejects(pull(), failsWith('UNAVAILABLE'));
      clock.advance(5_000);
      const end = remote.faults.add(() => true, { answer: { status: 503 } });
      await assert.rejects(pull(), failsWith('UNAVAILABLE'));
      end();
      logins();
      await assert.rejects(pull(), CredentialsPaused);
      clock.advance(1_000);
      await assert.rejects(pull(), failsWith('UNAVAILABLE', /refuses our credential/));
      assert.deepEqual(new Set(logins()), new Set(['bad']));
    });

    test('is asked by one request alone once the pause is over', async (t) => {
      const { clock, pull, logins, told } = await setUp(t, kind, { files: ['bad'] });
      await assert.rejects(pull(), failsWith('UNAVAILABLE'));
      logins();
      told();
      clock.advance(5_000);
      const all = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => pull(i)));
      assert.equal(all.filter(({ status }) => status === 'rejected').length, 30);
      assert.deepEqual([logins(), told()], [['bad', 'bad'], 1]);
    });

    for (const expiring of [false, true]) {
      test(`is shown another password at once${expiring ? ', where one is held, too' : ''}`, async (t) => {
        const { clock, pull, files, logins } = await setUp(t, kind, { files: ['bad'], expiring });
        await assert.rejects(pull(), failsWith('UNAVAILABLE'));
        clock.advance(5_000);
        await assert.rejects(pull(), failsWith('UNAVAILABLE'));
        files[0] = 'good';
        // A source whose credential is held is asked for another every five seconds.
        if (expiring) await assert.rejects(pull(), CredentialsPaused);
        if (expiring) clock.advance(5_000);
        logins();
        assert.equal(await pull(), 200);
        assert.deepEqual([...new Set(logins())], ['good']);
      });
    }

    test('and takes it again is asked as ever', async (t) => {
      const { remote, clock, pull, logins } = await setUp(t, kind, { files: ['late'] });
      for (const wait of [5_000, 10_000]) {
        await assert.rejects(pull(), failsWith('UNAVAILABLE'));
        clock.advance(wait);
      }
      remote.setCredentials('robot', 'late');
      assert.equal(await pull(), 200);
      const all = await Promise.all(Array.from({ length: 30 }, (_, i) => pull(i)));
      assert.deepEqual([...new Set(all)], [200]);
      remote.setCredentials('robot', 'another');
      remote.revokeTokens();
      logins();
      await assert.rejects(pull(), failsWith('UNAVAILABLE'));
      assert.ok(logins().length > 0, 'it was shown');
      await assert.rejects(pull(), { retryAfter: 5 }, 'the first pause again');
    });

    test('and lets us in without the repository that was asked for has taken it', async (t) => {
      const { remote, clock, pull } = await setUp(t, kind, { files: ['late'] });
      await assert.rejects(pull(), failsWith('UNAVAILABLE'));
      clock.advance(5_000);
      remote.setCredentials('robot', 'late');
      await assert.rejects(pull(99), (error) => error instanceof RegistryError && error.status === 404);
      assert.equal(await pull(), 200);
    });
  });
}

test('a registry token that is refused is left alone, too', async (t) => {
  const auth = { kind: 'token', username: 'robot', password: 'x', registryToken: 'good' } as const;
  const remote = await startMemoryRegistry({ auth });
  t.after(() => remote.close());
  for (let i = 0; i < 10; i++) remote.putImage(`team/app${i}`, 'v1', tinyImage('hello'));
  const clock = new FakeClock(Date.now());
  const credentials: CredentialSource = {
    credentialFor: async () => ({ kind: 'registry-token', token: new Secret('bad') }),
    close: async () => {},
  };
  const { fetch } = await openUpstream(t, remote.url, { credentials, clock });
  for (const wait of [5_000, 10_000]) {
    remote.forgetRequests();
    for (let i = 0; i < 10; i++) await assert.rejects(fetch('GET', app(i % 2)), failsWith('UNAVAILABLE'));
    const shown = remote.requests.filter(({ headers }) => headers.authorization === 'Bearer bad');
    assert.equal(shown.length, 2);
    clock.advance(wait);
  }
});

describe('RefusedCredentials', () => {
  const target = {} as Parameters<CredentialSource['credentialFor']>[0];
  const o = { signal: new AbortController().signal };
  const source = (...texts: readonly string[]): CredentialSource => {
    let at = 0;
    return {
      credentialFor: async (_target, { rejected }) => {
        if (rejected !== undefined) at = (at + 1) % texts.length;
        const text = texts[at];
        return text === undefined ? undefined : password('robot', text);
      },
      close: async () => {},
    };
  };
  const bad = password('robot', 'bad');

  test('goes on with the next one, and leaves nobody without while there are several', async () => {
    const clock = new FakeClock();
    const refused = new RefusedCredentials(clock);
    const given = async () => refused.choose(source('bad', 'worse'), target, o);
    assert.deepEqual(await given(), bad);
    assert.ok(refused.refuse(bad), 'it is news');
    assert.ok(!refused.refuse(bad), 'of a request that was under way');
    clock.advance(2_000);
    const worse = await given();
    assert.deepEqual(worse, password('robot', 'worse'));
    refused.refuse(password('robot', 'worse'));
    assert.deepEqual(await given(), bad, 'it may be good by now');
  });

  test('says when the only one is shown again', async () => {
    const clock = new FakeClock();
    const refused = new RefusedCredentials(clock);
    refused.refuse(bad);
    clock.advance(2_000);
    await assert.rejects(
      refused.choose(source('bad'), target, o),
      (error) => error instanceof RegistryError && error.retryAfter === 3,
    );
  });

  test('has none where the source has none', async () => {
    const refused = new RefusedCredentials(new FakeClock());
    assert.equal(await refused.choose(source(), target, o), undefined);
  });

  test('forgets what the clock says is to come: it was set back', async () => {
    const clock = new FakeClock();
    const refused = new RefusedCredentials(clock);
    refused.refuse(bad);
    clock.advance(-hour);
    assert.deepEqual(await refused.choose(source('bad'), target, o), bad);
  });
});
