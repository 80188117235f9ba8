import assert from 'node:assert/strict';
import { METHODS } from 'node:http';
import { before, beforeEach, describe, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { assertError, bearer, type Front, openUpload, sharedScope, startFront } from '../harness/index.js';

const image = tinyImageFor('amd64', 'hello');
const blob = image.blobs[0] ?? assert.fail();
const { digest } = image.root;
const bytes = Buffer.from('{}');
const ownDigest = digestOf(bytes);

/** What a method needs, and what it is answered once it has that. */
type Row = readonly [needs: string, status: number];

const manifest: Readonly<Record<string, Row>> = {
  GET: ['pull', 200],
  HEAD: ['pull', 200],
  PUT: ['pull,push', 201],
  DELETE: ['delete', 202],
};
const session: Readonly<Record<string, Row>> = {
  PATCH: ['pull,push', 202],
  GET: ['pull,push', 204],
  DELETE: ['pull,push', 204],
};

/** What each method needs, written down a second time: what is not here is not served. SESSION is an open one. */
const table: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  '/v2/': { GET: ['', 200], HEAD: ['', 200] },
  '/v2': { GET: ['', 200], HEAD: ['', 200] },
  '/v2/app/manifests/1': manifest,
  [`/v2/app/manifests/${digest}`]: manifest,
  [`/v2/app/blobs/${blob.digest}`]: {
    GET: ['pull', 200],
    HEAD: ['pull', 200],
    DELETE: ['delete', 202],
  },
  '/v2/app/tags/list': { GET: ['pull', 200] },
  '/v2/app/tags/list?n=1': { GET: ['pull', 200] },
  [`/v2/app/referrers/${digest}`]: { GET: ['pull', 200] },
  '/v2/app/blobs/uploads': { POST: ['pull,push', 202] },
  '/v2/app/blobs/uploads/': { POST: ['pull,push', 202] },
  [`/v2/app/blobs/uploads/?digest=${ownDigest}`]: { POST: ['pull,push', 201] },
  [`/v2/app/blobs/uploads/?mount=${blob.digest}`]: { POST: ['pull,push', 202] },
  [`/v2/app/blobs/uploads/?mount=${blob.digest}&from=other`]: { POST: ['pull,push', 202] },
  [`/v2/app/blobs/uploads/?mount=${blob.digest}&from=app`]: { POST: ['pull,push', 201] },
  // It is let in, and told that it ends with its digest.
  SESSION: { ...session, PUT: ['pull,push', 400] },
  [`SESSION?digest=${ownDigest}`]: { ...session, PUT: ['pull,push', 201] },
  [`SESSION?mount=${blob.digest}&from=app&digest=${ownDigest}`]: { ...session, PUT: ['pull,push', 201] },
  '/v2/_catalog': {},
};

/** CONNECT has no path. */
const methods = METHODS.filter((method) => method !== 'CONNECT');

describe('threat 12: a method slips past the guard', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;
  const tokens = new Map<string, string>();
  const grants = [
    '',
    'pull',
    'push',
    'pull,push',
    'delete',
    'pull,delete',
    'push,delete',
    'pull,push,delete',
    '*',
  ];

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
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
  });

  beforeEach(() => {
    registry.putImage('app', '1', image);
  });

  const ask = (method: string, path: string, authorization?: string) => {
    const isManifest = path.includes('/manifests/');
    const body = method === 'PUT' || method === 'POST' || method === 'PATCH' ? bytes : undefined;
    const headers = {
      ...(authorization !== undefined && { authorization }),
      'content-type': isManifest ? image.root.mediaType : 'application/octet-stream',
    };
    const sent = isManifest && method === 'PUT' ? image.root.bytes : body;
    return front.send(path, { method, headers, ...(sent !== undefined && { body: sent }) });
  };

  /** Fills in a session that alice has opened: whoever else shows it was told of it. */
  async function pathOf(text: string): Promise<string> {
    if (!text.startsWith('SESSION')) return text;
    const opened = await openUpload((path, options) => front.sendAs('alice', path, options), 'app');
    return opened + text.slice('SESSION'.length);
  }

  /** Who asks for every action gets those that are allowed, by their names. */
  function covers(asked: string, needed: string): boolean {
    const grant = asked === '*' ? 'pull,push,delete' : asked;
    return needed === '' || needed.split(',').every((action) => grant.split(',').includes(action));
  }

  for (const [path, rows] of Object.entries(table)) {
    for (const method of methods) {
      const row = rows[method];
      if (row === undefined) {
        test(`${method} ${path} is not served, whatever is granted`, async () => {
          const target = await pathOf(path);
          registry.forgetRequests();
          for (const token of tokens.values()) {
            const answer = await ask(method, target, bearer(token));
            assert.equal(answer.status, 405, answer.text);
          }
          assert.equal((await front.sendAs('alice', target, { method })).status, 405);
          assert.deepEqual(registry.requests, [], 'the upstream is not asked');
        });
        continue;
      }
      const [needed, status] = row;
      test(`${method} ${path} needs ${needed || 'a token'}, and nothing less will do`, async () => {
        const target = await pathOf(path);
        registry.forgetRequests();
        assert.equal((await ask(method, target)).status, 401, 'without credentials');
        for (const [grant, token] of tokens) {
          if (covers(grant, needed)) continue;
          const answer = await ask(method, target, bearer(token));
          assert.equal(answer.status, 401, `${grant}: ${answer.text}`);
          assert.match(answer.headers['www-authenticate'] ?? '', /error="insufficient_scope"/);
          if (method !== 'HEAD') assertError(answer, 401, 'UNAUTHORIZED');
        }
        const refused = await front.sendAs('eve', target, { method });
        assert.equal(refused.status, needed === '' ? 200 : 403, 'a password without the right');
        assert.deepEqual(registry.requests, [], 'the upstream is not asked');
      });

      test(`${method} ${path} passes with ${needed || 'a token'}`, async () => {
        for (const [grant, token] of tokens) {
          if (!covers(grant, needed)) continue;
          registry.putImage('app', '1', image);
          const answer = await ask(method, await pathOf(path), bearer(token));
          assert.equal(answer.status, status, `${grant}: ${answer.text}`);
        }
      });
    }
  }

  test('nothing outside the table answers 2xx', async () => {
    const token = tokens.get('pull,push,delete') ?? '';
    const paths = [
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
