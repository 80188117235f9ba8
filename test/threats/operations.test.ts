import assert from 'node:assert/strict';
import { METHODS } from 'node:http';
import { before, describe, test } from 'node:test';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { assertError, bearer, type Front, sharedScope, startFront } from '../harness/index.js';

const digest = `sha256:${'0'.repeat(64)}`;

/** What each method needs, written down a second time: what is not here is not served. */
const table: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '/v2/': { GET: '', HEAD: '' },
  '/v2': { GET: '', HEAD: '' },
  '/v2/app/manifests/1': { GET: 'pull', HEAD: 'pull', PUT: 'pull,push', DELETE: 'delete' },
  [`/v2/app/manifests/${digest}`]: { GET: 'pull', HEAD: 'pull', PUT: 'pull,push', DELETE: 'delete' },
  [`/v2/app/blobs/${digest}`]: { GET: 'pull', HEAD: 'pull', DELETE: 'delete' },
  '/v2/app/tags/list': { GET: 'pull' },
  '/v2/app/tags/list?n=1': { GET: 'pull' },
  [`/v2/app/referrers/${digest}`]: { GET: 'pull' },
  ...Object.fromEntries(
    ['', '/', '/session', `/?mount=${digest}`, `/?mount=${digest}&from=other`, `?digest=${digest}`].map(
      (rest) => [
        `/v2/app/blobs/uploads${rest}`,
        { POST: 'pull,push', PATCH: 'pull,push', PUT: 'pull,push', GET: 'pull,push', DELETE: 'pull,push' },
      ],
    ),
  ),
  '/v2/_catalog': {},
};

/** CONNECT has no path. */
const methods = METHODS.filter((method) => method !== 'CONNECT');

describe('threat 12: a method slips past the guard', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;
  const tokens = new Map<string, string>();
  const grants = ['', 'pull', 'push', 'pull,push', 'delete', 'pull,push,delete', '*'];

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
`,
    );
    for (const grant of grants) {
      const scopes = grant === '' ? [] : [`repository:app:${grant}`, 'registry:catalog:*'];
      tokens.set(grant, await front.token('alice', scopes));
    }
    // A ping of ours is no request of a client.
    await front.sendAs('alice', '/v2/app/tags/list');
  });

  const ask = (method: string, path: string, authorization?: string) => {
    const body = method === 'PUT' || method === 'POST' || method === 'PATCH' ? '{}' : undefined;
    const headers = {
      ...(authorization !== undefined && { authorization }),
      ...(body !== undefined && { 'content-length': '2' }),
    };
    return front.send(path, { method, headers, ...(body !== undefined && { body }) });
  };

  function covers(grant: string, needed: string): boolean {
    return needed === '' || needed.split(',').every((action) => grant.split(',').includes(action));
  }

  for (const [path, row] of Object.entries(table)) {
    for (const method of methods) {
      const needed = row[method];
      if (needed === undefined) {
        test(`${method} ${path} is not served, whatever is granted`, async () => {
          for (const token of tokens.values()) {
            registry.forgetRequests();
            const answer = await ask(method, path, bearer(token));
            assert.equal(answer.status, 405, answer.text);
            assert.deepEqual(registry.requests, []);
          }
          assert.equal((await front.sendAs('alice', path, { method })).status, 405);
        });
        continue;
      }
      test(`${method} ${path} needs ${needed || 'a token'}, and nothing less will do`, async () => {
        assert.equal((await ask(method, path)).status, 401, 'without credentials');
        for (const [grant, token] of tokens) {
          registry.forgetRequests();
          const answer = await ask(method, path, bearer(token));
          // '*' of a repository is no action.
          const allowed = covers(grant.replace('*', ''), needed);
          if (allowed) {
            assert.ok(![401, 403].includes(answer.status), `${grant}: ${answer.status} ${answer.text}`);
            continue;
          }
          assert.equal(answer.status, 401, `${grant}: ${answer.text}`);
          assert.match(answer.headers['www-authenticate'] ?? '', /error="insufficient_scope"/);
          if (method !== 'HEAD') assertError(answer, 401, 'UNAUTHORIZED');
          assert.deepEqual(registry.requests, [], 'the upstream is not asked');
        }
      });
    }
  }

  test('nothing outside the table answers 2xx', async () => {
    const token = tokens.get('pull,push,delete') ?? '';
    const paths = [
      '/',
      '/v1/',
      '/v2/app',
      '/v2/app/',
      '/v2/app/manifests',
      '/v2/app/blobs',
      '/v2/app/tags',
      '/v2/app/tags/list/',
      '/v2/app/tags/list/x',
      '/v2/_catalog/',
      '/v2/app/_layers',
      '/v2/app/manifests/1/x',
      '/v2/app/referrers/',
      '/metrics',
      '/livez',
      '/debug/pprof',
      '/.env',
      '/api/v2.0/projects',
      '/v2/app/blobs/uploads/a/b',
    ];
    for (const path of paths) {
      for (const method of ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']) {
        registry.forgetRequests();
        const answer = await ask(method, path, bearer(token));
        assert.ok(answer.status >= 400, `${method} ${path}: ${answer.status}`);
        assert.deepEqual(registry.requests, [], `${method} ${path}`);
      }
    }
  });

  test('an Override header changes nothing', async () => {
    const authorization = bearer(tokens.get('pull') ?? '');
    for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override']) {
      registry.forgetRequests();
      await front.send('/v2/app/manifests/1', { headers: { authorization, [name]: 'DELETE' } });
      assert.ok(
        registry.requests.every((request) => request.method === 'GET'),
        "registry.requests.every((request) => request.method === 'GET')",
      );
    }
    assert.notEqual(registry.store.manifest('app', '1'), undefined);
  });
});
