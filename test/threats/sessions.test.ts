import assert from 'node:assert/strict';
import { before, beforeEach, describe, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { type MemoryRegistry, startMemoryRegistry } from '../../src/testing/index.js';
import {
  type Answer,
  assertError,
  bearer,
  type Front,
  locationOf,
  sharedScope,
  startFront,
  type User,
} from '../harness/index.js';

const bytes = Buffer.from('hello');
const digest = digestOf(bytes);
const day = 24 * 3_600_000;

/** Every method of a session, with what it is answered where the session is good. */
const methods = { PATCH: 202, GET: 204, PUT: 201, DELETE: 204 } as const;
type Method = keyof typeof methods;

interface Attempt {
  readonly user?: User;
  readonly token?: string;
  readonly host?: string;
  readonly at?: Front;
}

describe('threat 24: an upload session replayed elsewhere', () => {
  const scope = sharedScope();
  const clock = new FakeClock(Date.now());
  let one: MemoryRegistry;
  let two: MemoryRegistry;
  let front: Front;
  let stranger: Front;

  before(async () => {
    [one, two] = [await startMemoryRegistry(), await startMemoryRegistry()];
    for (const registry of [one, two]) scope.after(() => registry.close());
    const settings = `
upstreams: { one: { url: "${one.url}" }, two: { url: "${two.url}" } }
routes:
  - { prefix: "", upstream: one, rewrite: inside/ }
  - { prefix: "same/", upstream: one, rewrite: inside/ }
  - { prefix: "two/", upstream: two, rewrite: inside/ }
  - { prefix: "other-inside/", upstream: one, rewrite: other/ }
  - { prefix: "", host: b.test, upstream: one, rewrite: inside/ }
policy:
  - { names: ["local:alice"], repositories: ["**"], actions: [pull, push, delete] }
  - { names: ["local:bob"], repositories: ["**"], actions: [pull, delete] }
  - { names: ["local:bob"], repositories: ["bobs/**"], actions: [pull, push] }
`;
    front = await startFront(scope, settings, { clock });
    stranger = await startFront(scope, settings, { clock });
    // A ping of ours is no request of a client.
    for (const name of ['app', 'two/app']) {
      await front.sendAs('alice', `/v2/${name}/tags/list`);
      await stranger.sendAs('alice', `/v2/${name}/tags/list`);
    }
  });

  let session = '';

  beforeEach(async () => {
    session = await open('app');
    for (const registry of [one, two]) registry.forgetRequests();
  });

  async function open(
    repository: string,
    { at = front, host, user = 'alice' }: Attempt = {},
  ): Promise<string> {
    const options = { method: 'POST', ...(host !== undefined && { host }) };
    const answer = await at.sendAs(user, `/v2/${repository}/blobs/uploads/`, options);
    assert.equal(answer.status, 202, answer.text);
    return locationOf(answer);
  }

  function use(method: Method, path: string, { at = front, user, token, host }: Attempt): Promise<Answer> {
    const target = method === 'PUT' ? `${path}?digest=${digest}` : path;
    const body = method === 'PUT' || method === 'PATCH' ? { body: bytes } : {};
    const options = {
      method,
      ...body,
      ...(host !== undefined && { host }),
      headers: {
        'content-type': 'application/octet-stream',
        ...(token !== undefined && { authorization: bearer(token) }),
      },
    };
    return user === undefined ? at.send(target, options) : at.sendAs(user, target, options);
  }

  /** Every method is refused, and no upstream hears of it. */
  async function assertRefused(
    path: string,
    attempt: Attempt,
    status = 404,
    code = 'BLOB_UPLOAD_UNKNOWN',
  ): Promise<void> {
    for (const method of Object.keys(methods) as Method[]) {
      assertError(await use(method, path, attempt), status, code);
    }
    assert.deepEqual([...one.requests, ...two.requests], []);
  }

  const assertLogged = (status: number) =>
    front.logLine((line) => line.event === 'access' && line.status === status);

  const sealedOf = (path: string) => path.split('/').at(-1) ?? '';
  const inPlaceOf = (repository: string, path = session) =>
    `/v2/${repository}/blobs/uploads/${sealedOf(path)}`;

  for (const [method, status] of Object.entries(methods) as [Method, number][]) {
    test(`${method} of a good one is ${status}`, async () => {
      const answer = await use(method, session, { user: 'alice' });
      assert.equal(answer.status, status, answer.text);
    });
  }

  for (const [what, repository] of [
    ['another repository', 'apps'],
    ['a repository below it', 'app/app'],
    ['another name of the same upstream repository', 'same/app'],
    ['the same name at another upstream', 'two/app'],
    ['another upstream repository of the same upstream', 'other-inside/app'],
  ] as const) {
    test(`through ${what}: unknown`, async () => {
      await assertRefused(inPlaceOf(repository), { user: 'alice' });
      const token = await front.token('alice', [`repository:${repository}:pull,push`]);
      await assertRefused(inPlaceOf(repository), { token });
    });

    test(`that of ${what} is unknown here`, async () => {
      const theirs = await open(repository);
      for (const registry of [one, two]) registry.forgetRequests();
      await assertRefused(inPlaceOf('app', theirs), { user: 'alice' });
    });
  }

  test('by who may push elsewhere, through there', async () => {
    await assertRefused(inPlaceOf('bobs/app'), { user: 'bob' });
  });

  for (const user of ['bob', 'eve'] as const) {
    test(`by ${user}, who may not push: 403, and 401 with a token of whatever was granted`, async () => {
      await assertRefused(session, { user }, 403, 'DENIED');
      const token = await front.token(user, ['repository:app:pull,push,delete']);
      await assertRefused(session, { token }, 401, 'UNAUTHORIZED');
    });
  }

  test('by nobody', async () => {
    await assertRefused(session, {}, 401, 'UNAUTHORIZED');
  });

  for (const actions of ['pull', 'push', 'delete', 'pull,delete']) {
    test(`by its owner, with a token for ${actions}: 401 insufficient_scope`, async () => {
      const token = await front.token('alice', [`repository:app:${actions}`]);
      await assertRefused(session, { token }, 401, 'UNAUTHORIZED');
      const { headers } = await use('GET', session, { token });
      assert.match(headers['www-authenticate'] ?? '', /error="insufficient_scope"/);
    });
  }

  test('on another host', async () => {
    await assertRefused(session, { user: 'alice', host: 'b.test' });
    const theirs = await open('app', { host: 'b.test' });
    for (const registry of [one, two]) registry.forgetRequests();
    await assertRefused(theirs, { user: 'alice' });
    assert.equal((await use('GET', theirs, { user: 'alice', host: 'b.test' })).status, 204);
  });

  test('edited, truncated, or made up', async () => {
    const sealed = sealedOf(session);
    const middle = Math.floor(sealed.length / 2);
    for (const text of [
      `${sealed[0] === 'A' ? 'B' : 'A'}${sealed.slice(1)}`,
      `${sealed.slice(0, middle)}${sealed[middle] === 'A' ? 'B' : 'A'}${sealed.slice(middle + 1)}`,
      sealed.slice(0, -1),
      sealed.slice(1),
      `${sealed}A`,
      `${sealed}${sealed}`,
      Buffer.from('{"url":"http://127.0.0.1:1/"}').toString('base64url'),
      'A'.repeat(8_000),
      'A'.repeat(20_000),
      '..',
      '%2e%2e',
      'http:%2f%2f127.0.0.1:1%2f',
    ]) {
      await assertRefused(`/v2/app/blobs/uploads/${text}`, { user: 'alice' });
    }
  });

  test('the upstream’s own session, as it is', async () => {
    const direct = await fetch(`${one.url}/v2/inside/app/blobs/uploads/`, { method: 'POST' });
    const url = new URL(direct.headers.get('location') ?? '', one.url);
    one.forgetRequests();
    for (const text of [
      sealedOf(url.pathname),
      encodeURIComponent(url.href),
      Buffer.from(url.href).toString('base64url'),
    ]) {
      await assertRefused(`/v2/app/blobs/uploads/${text}`, { user: 'alice' });
    }
  });

  test('made by a proxy with the same configuration and other keys', async () => {
    const theirs = await open('app', { at: stranger });
    one.forgetRequests();
    await assertRefused(theirs, { user: 'alice' });
    await assertRefused(session, { user: 'alice', at: stranger });
  });

  test('no session is in the log, sealed or open', async () => {
    for (const method of ['PATCH', 'GET', 'PUT'] as const) await use(method, session, { user: 'alice' });
    one.faults.add({ method: 'PATCH' }, { reset: true }, 1);
    assertError(await use('PATCH', await open('app'), { user: 'alice' }), 503, 'UNAVAILABLE');
    await assertLogged(503);
    for (const secret of [sealedOf(session), '_state', 'blobs/uploads']) {
      assert.ok(!front.log().includes(secret), secret);
    }
  });

  test('a day later', async () => {
    clock.advance(day - 1);
    assert.equal((await use('GET', session, { user: 'alice' })).status, 204);
    one.forgetRequests();
    clock.advance(1);
    await assertRefused(session, { user: 'alice' });
  });
});
