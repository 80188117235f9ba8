import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Credential, CredentialSource, RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { RefreshedCredentials } from '../decorators/refreshed-credentials.js';
import { SeveralCredentials } from '../decorators/several-credentials.js';
import { Secret } from '../secret.js';
import {
  FakeClock,
  FakeLog,
  FakeMetrics,
  type MemoryRegistryOptions,
  startMemoryRegistry,
  tinyImage,
} from '../testing/index.js';
import { startLoopbackServer } from '../testing/loopback-server.js';
import { failsWith, openUpstream, operations, password, sourceOf } from './opened-upstream.test.js';
import { maxCredentials } from './refused-credentials.js';

const user = { username: 'robot', password: 'good' } as const;
const good = password(user.username, user.password);
const app = operations.manifest('team/app', 'v1');
const image = tinyImage('hello');

async function registry(t: TestContext, options: MemoryRegistryOptions) {
  const started = await startMemoryRegistry(options);
  t.after(() => started.close());
  started.putImage('team/app', 'v1', image);
  return started;
}

function basic(text: string): string {
  return `Basic ${Buffer.from(`${user.username}:${text}`).toString('base64')}`;
}

/** A source that says how often it was asked, and gives what it is told to. */
function counting(give: (count: number) => Credential | undefined) {
  const source = {
    asked: 0,
    credentialFor: async () => give(++source.asked),
    keyFor: () => 'one for all',
    close: async () => {},
  };
  return source;
}

/** As the program puts them together. */
function several(t: TestContext, ...sources: readonly CredentialSource[]) {
  const given = { clock: Date, log: new FakeLog(), upstream: 'test' };
  const metrics = new FakeMetrics();
  const refreshed = sources.map((source, i) => {
    const one = new RefreshedCredentials(source, { ...given, metrics, credential: i + 1 });
    t.after(() => one.close());
    return one;
  });
  return { log: given.log, credentials: new SeveralCredentials(refreshed, given) };
}

const hour = 3_600_000;

function expiring(text: string): Credential {
  return { ...password(user.username, text), expiresAt: Date.now() + 12 * hour };
}

describe('credentials that are refused', () => {
  for (const kind of ['basic', 'token'] as const) {
    test(`make way for the next, and that for the one after it: ${kind}`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      const bad = ['bad', 'worse', 'worst'].map((text) => password('robot', text));
      const credentials = sourceOf(...bad, good);
      const { fetch, counts } = await openUpstream(t, remote.url, { credentials });
      assert.equal((await fetch('GET', app)).status, 200);
      assert.equal(credentials.rejections, 3);
      assert.equal(counts.get('upstream_credential_refusals_total{}'), 3);
    });

    test(`are tried up to eight in one request: ${kind}`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      const source: CredentialSource & { count: number } = {
        count: 0,
        credentialFor: async (_target, o) => password('robot', `bad ${o.rejected ? ++source.count : 0}`),
        close: async () => {},
      };
      const { fetch, counts } = await openUpstream(t, remote.url, { credentials: source });
      await assert.rejects(fetch('GET', app), failsWith('UNAVAILABLE', /refuses our credential/));
      const shown = new Set(remote.requests.map(({ headers }) => headers.authorization));
      shown.delete(undefined);
      assert.equal(shown.size, maxCredentials);
      assert.equal(counts.get('upstream_credential_refusals_total{}'), maxCredentials);
    });

    test(`are not tried twice in one request: ${kind}`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      let count = 0;
      const [one, other] = [password('robot', 'bad'), password('robot', 'worse')];
      const credentials: CredentialSource = {
        credentialFor: async (_target, o) => (o.rejected && ++count % 2 === 1 ? other : one),
        close: async () => {},
      };
      const { fetch } = await openUpstream(t, remote.url, { credentials });
      await assert.rejects(fetch('GET', app), failsWith('UNAVAILABLE'));
      assert.equal(count, 2);
    });
  }

  test('are registry tokens, one after the other, too', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user, registryToken: 'good' } });
    const tokens = ['bad', 'worse', 'good'].map(
      (text): Credential => ({ kind: 'registry-token', token: new Secret(text) }),
    );
    const { fetch } = await openUpstream(t, remote.url, { credentials: sourceOf(...tokens) });
    assert.equal((await fetch('GET', app)).status, 200);
  });

  test('are looked at once for all requests that they were refused to', async (t) => {
    const clients = 20;
    const pings: (string | undefined)[] = [];
    let allRefused = async () => {};
    const server = await startLoopbackServer(async (request, response) => {
      const { authorization } = request.headers;
      if (request.url === '/v2/') pings.push(authorization);
      if (request.url === '/v2/' && authorization !== undefined) await allRefused();
      if (authorization === basic('good')) response.end('{}');
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"', 'content-length': 0 }).end();
    });
    t.after(() => server.close());
    const credentials = sourceOf(password('robot', 'bad'), good);
    const { fetch, counts } = await openUpstream(t, server.url, { credentials });
    allRefused = async () => {
      const answers = () => counts.get('upstream_requests_total{status=4xx}') ?? 0;
      for (let i = 0; i < 1000 && answers() < clients + 1; i++) await sleep(5); // that of the first ping with them
    };
    const tags = operations.tags('team/app');
    await Promise.all(Array.from({ length: clients }, () => fetch('GET', tags)));
    assert.deepEqual(pings, [undefined, basic('bad')]);
  });

  test('are not to blame for a catalogue that is closed to us', async (t) => {
    const remote = await registry(t, { auth: { kind: 'basic', ...user } });
    remote.faults.add({ path: '_catalog' }, { answer: { status: 403 } });
    const credentials = sourceOf(good);
    const { fetch } = await openUpstream(t, remote.url, { credentials });
    await assert.rejects(fetch('GET', { kind: 'catalog', page: '' }), failsWith('UNSUPPORTED'));
    assert.equal(credentials.rejections, 0);
  });
});

describe('a credential that has expired at a Basic registry', () => {
  const expired = JSON.stringify({
    errors: [
      { code: 'DENIED', message: 'Your authorization token has expired. Reauthenticate and try again.' },
    ],
  });
  const session = (url: string) => `${url}/v2/team/app/blobs/uploads/`;

  /** Answers 403 to what it took before, as ECR does, whatever is asked. */
  async function expiringRegistry(t: TestContext) {
    const remote = await registry(t, { auth: { kind: 'basic', ...user } });
    const source = counting((count) => expiring(count === 1 ? 'good' : 'renewed'));
    const { credentials, log } = several(t, source);
    const opened = await openUpstream(t, remote.url, { credentials });
    assert.equal((await opened.fetch('GET', app)).status, 200);
    return {
      ...opened,
      remote,
      source,
      log,
      expire: () => {
        remote.setCredentials(user.username, 'renewed');
        const old = basic('good');
        remote.faults.add(({ headers }) => headers.authorization === old, {
          answer: { status: 403, body: expired },
        });
        remote.forgetRequests();
      },
    };
  }

  const type = { 'content-type': image.root.mediaType };
  const cases: readonly (readonly [RegistryMethod, RegistryOperation, number])[] = [
    ['GET', app, 200],
    ['HEAD', app, 200],
    ['GET', operations.tags('team/app'), 200],
    ['PUT', app, 201],
    ['DELETE', app, 202],
    ['POST', operations.upload('team/app'), 202],
  ];
  for (const [method, operation, status] of cases) {
    test(`is replaced while the client waits: ${method} ${operation.kind}`, async (t) => {
      const { fetch, source, expire } = await expiringRegistry(t);
      expire();
      const body = method === 'PUT' ? { body: Readable.from([image.root.bytes]), headers: type } : {};
      assert.equal((await fetch(method, operation, body)).status, status);
      assert.equal(source.asked, 2);
    });
  }

  test('does not fit a body that streams: the next request has the new one', async (t) => {
    const { fetch, remote, source, expire } = await expiringRegistry(t);
    const opened = await fetch('POST', operations.upload('team/app'));
    const at = opened.location?.href ?? session(remote.url);
    expire();
    const patch = () =>
      fetch('PATCH', operations.upload('team/app', { session: at }), { body: Readable.from(['hello']) });
    await assert.rejects(patch(), failsWith('UNAVAILABLE', /403 to a body that cannot be sent twice/));
    assert.equal(source.asked, 2);
    remote.forgetRequests();
    assert.equal((await patch()).status, 202);
    assert.deepEqual(
      remote.requests.map(({ method, headers }) => [method, headers.authorization]),
      [['PATCH', basic('renewed')]],
    );
  });

  test('is not suspected for a limit of the registry, nor for a repository that is not ours', async (t) => {
    const { fetch, remote, source } = await expiringRegistry(t);
    const says = (message: string) => ({
      answer: { status: 403, body: JSON.stringify({ errors: [{ code: 'DENIED', message }] }) },
    });
    remote.faults.add({ method: 'PUT' }, says('quota exceeded'), 1);
    const put = () => fetch('PUT', app, { body: Readable.from([image.root.bytes]), headers: type });
    await assert.rejects(put(), failsWith('DENIED'));
    remote.faults.add({ path: '/manifests/' }, says('no such permission'));
    await assert.rejects(put(), failsWith('NAME_UNKNOWN'));
    await assert.rejects(fetch('GET', app), failsWith('NAME_UNKNOWN'));
    assert.equal(source.asked, 1);
  });
});

describe('two credentials for one upstream', () => {
  const limits = {
    'the registry': { path: '/manifests/' },
    'its token endpoint': { server: 'token' },
  } as const;
  for (const [name, match] of Object.entries(limits)) {
    test(`stay as they are where ${name} answers 429: they are no way around a limit`, async (t) => {
      const kind = name === 'the registry' ? 'basic' : 'token';
      const remote = await registry(t, { auth: { kind, ...user } });
      const second = counting(() => good);
      const { credentials, log } = several(
        t,
        counting(() => good),
        second,
      );
      const { fetch, counts } = await openUpstream(t, remote.url, { credentials });
      remote.faults.add(match, { answer: { status: 429, headers: { 'retry-after': '7' } } });
      for (let i = 0; i < 3; i++) {
        await assert.rejects(fetch('GET', app), (error) => {
          assert.equal((error as { retryAfter?: number }).retryAfter, 7);
          return true;
        });
      }
      assert.equal(second.asked, 0);
      assert.equal(counts.get('upstream_credential_refusals_total{}'), undefined);
      assert.deepEqual(log.lines, []);
    });
  }

  for (const kind of ['basic', 'token'] as const) {
    test(`both refused is UNAVAILABLE, and each is tried again after a pause: ${kind}`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      const { credentials, log } = several(
        t,
        counting(() => password('robot', 'bad')),
        counting(() => password('robot', 'worse')),
      );
      const clock = new FakeClock();
      const { fetch } = await openUpstream(t, remote.url, { credentials, clock });
      for (let i = 0; i < 3; i++) {
        await assert.rejects(fetch('GET', app), failsWith('UNAVAILABLE'));
        clock.advance(60_000);
      }
      assert.deepEqual(
        log.at('error').map(({ message }) => message),
        [
          'credential 1 of upstream test is refused; going on with credential 2',
          'credential 2 of upstream test is refused, and there is no other',
        ],
      );
      remote.setCredentials('robot', 'worse');
      assert.equal((await fetch('GET', app)).status, 200);
    });

    test(`a hundred requests with the old one all go on with the new one: ${kind}`, async (t) => {
      const remote = await registry(t, { auth: { kind, ...user } });
      const first = counting(() => expiring('old'));
      const second = counting(() => expiring('good'));
      const { credentials, log } = several(t, first, second);
      const { fetch } = await openUpstream(t, remote.url, { credentials });
      const all = await Promise.all(Array.from({ length: 100 }, () => fetch('GET', app)));
      assert.ok(
        all.every(({ status }) => status === 200),
        'all were let in',
      );
      assert.deepEqual([first.asked, second.asked], [2, 1]);
      assert.equal(log.at('error').length, 1);
    });
  }

  test('a hundred requests at once are one question and one token for each scope', async (t) => {
    const remote = await registry(t, { auth: { kind: 'token', ...user } });
    const source = counting(() => expiring('good'));
    const { credentials } = several(t, source);
    const { fetch } = await openUpstream(t, remote.url, { credentials });
    const upload = operations.upload('team/app');
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => fetch(i % 2 ? 'POST' : 'GET', i % 2 ? upload : app)),
    );
    assert.equal(source.asked, 1);
    assert.deepEqual(remote.tokenRequests.map(({ scopes }) => scopes.join(' ')).sort(), [
      'repository:team/app:pull',
      'repository:team/app:pull,push',
    ]);
  });
});
