import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AuditEvent } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { AccessRecord } from '../proxy/client-request.js';
import {
  type PageExchange,
  pageAuditEvents,
  type RegistryExchange,
  registryAuditEvent,
  type TokenExchange,
  tokenAuditEvent,
} from './audit-events.js';
import { ClientGone } from './client-gone.js';
import type { PageRecord } from './pages/page-record.js';
import { parseTarget } from './parse-registry-request.js';

const digest = `sha256:${'0'.repeat(64)}`;
const other = `sha256:${'1'.repeat(64)}`;
const secret = 'hunter2-of-the-upstream';

const ending = { requestId: 'one', address: '192.0.2.1', service: 'docker.test' } as const;
const known = { user: 'alice', principal: 'corp:alice', verifier: 'corp' } as const;

/** What is in the record when somebody was let in. */
const allowed: AccessRecord = {
  ...known,
  action: 'pull',
  repository: 'team/app',
  upstream: 'hub',
  upstreamRepository: 'acme/app',
  rule: 'policy[0]',
};

function registryEvent(
  request: string,
  { record = allowed, ...changes }: Partial<RegistryExchange> & Pick<RegistryExchange, 'status'>,
): AuditEvent | undefined {
  const [method = '', path = ''] = request.split(' ');
  const operation = parseTarget(path)?.operation;
  return registryAuditEvent({
    ...ending,
    method,
    operation,
    record,
    bytes: 0,
    shown: 'password',
    ...changes,
  });
}

function tokenEvent(changes: Partial<TokenExchange> & Pick<TokenExchange, 'status'>): AuditEvent | undefined {
  return tokenAuditEvent({ ...ending, record: known, shown: 'password', ...changes });
}

function summary(event: AuditEvent | undefined): string {
  return event === undefined ? 'none' : `${event.event} ${event.result} ${event.object ?? '-'}`;
}

describe('a registry request that was let in', () => {
  const base = '/v2/team/app';
  const manifest = `${base}/manifests/1`;
  const blob = `${base}/blobs/${digest}`;
  const session = `${base}/blobs/uploads/sealed`;
  const uploads = `${base}/blobs/uploads/`;
  const mount = `${uploads}?mount=${digest}&from=team/base`;
  const cut = { error: new Error('cut') };
  const denied = { error: new RegistryError('DENIED', { reason: 'the upstream answers 403' }) };
  const late = { error: new RegistryError('TOOMANYREQUESTS') };

  for (const [request, status, expected, changes] of [
    [`GET ${manifest}`, 200, 'pull ok manifest'],
    [`GET ${manifest}`, 304, 'pull ok manifest'],
    [`GET ${blob}`, 200, 'pull ok blob'],
    [`GET ${blob}`, 206, 'pull ok blob'],
    [`GET ${blob}`, 307, 'pull ok blob'],
    [`GET ${blob}`, 200, 'pull failed blob', cut],
    [`GET ${blob}`, 200, 'pull failed blob', { error: new ClientGone() }],
    [`GET ${blob}`, 499, 'pull failed blob', { error: new ClientGone() }],
    [`GET ${manifest}`, 404, 'pull failed manifest', { error: new RegistryError('MANIFEST_UNKNOWN') }],
    [`GET ${manifest}`, 403, 'pull failed manifest', denied],
    [`GET ${manifest}`, 429, 'pull failed manifest', late],
    [`GET ${manifest}`, 503, 'pull failed manifest', { error: new RegistryError('UNAVAILABLE') }],
    [`GET ${manifest}`, 500, 'pull failed manifest', { error: new Error('a bug') }],
    [`HEAD ${manifest}`, 200, 'none'],
    [`HEAD ${blob}`, 404, 'none', { error: new RegistryError('BLOB_UNKNOWN') }],
    [`HEAD ${manifest}`, 429, 'none', late],
    [`GET ${base}/tags/list`, 200, 'none'],
    [`GET ${base}/tags/list`, 404, 'none', { error: new RegistryError('NAME_UNKNOWN') }],
    [`GET ${base}/referrers/${digest}`, 200, 'none'],
    ['GET /v2/_catalog', 200, 'none'],
    ['GET /v2/', 200, 'none'],
    [`PUT ${manifest}`, 201, 'push ok manifest'],
    [`PUT ${manifest}`, 400, 'push failed manifest', { error: new RegistryError('MANIFEST_INVALID') }],
    [`PUT ${manifest}`, 403, 'push failed manifest', denied],
    [`PUT ${session}?digest=${digest}`, 201, 'push ok blob'],
    [
      `PUT ${session}?digest=${digest}`,
      400,
      'push failed blob',
      { error: new RegistryError('DIGEST_INVALID') },
    ],
    [`POST ${uploads}?digest=${digest}`, 201, 'push ok blob'],
    [`POST ${uploads}?digest=${digest}`, 202, 'none'],
    [
      `POST ${uploads}?digest=${digest}`,
      503,
      'push failed blob',
      { error: new RegistryError('UNAVAILABLE') },
    ],
    [`POST ${mount}`, 201, 'push ok blob'],
    [`POST ${mount}`, 202, 'none'],
    [`POST ${mount}`, 503, 'push failed blob', { error: new RegistryError('UNAVAILABLE') }],
    [`POST ${uploads}`, 202, 'none'],
    [`POST ${uploads}`, 403, 'push failed upload', denied],
    [`PATCH ${session}`, 202, 'none'],
    [`PATCH ${session}`, 416, 'push failed upload', { error: new RegistryError('RANGE_INVALID') }],
    [`PATCH ${session}`, 499, 'push failed upload', { error: new ClientGone() }],
    [`GET ${session}`, 204, 'none'],
    [`GET ${session}`, 404, 'push failed upload', { error: new RegistryError('BLOB_UPLOAD_UNKNOWN') }],
    [`DELETE ${session}`, 204, 'none'],
    [`DELETE ${manifest}`, 202, 'delete ok manifest'],
    [`DELETE ${blob}`, 202, 'delete ok blob'],
    [`DELETE ${blob}`, 405, 'delete failed blob', { error: new RegistryError('UNSUPPORTED') }],
  ] as const) {
    it(`${request.replaceAll(digest, 'DIGEST')}: ${status} is ${expected}`, () => {
      assert.equal(summary(registryEvent(request, { status, ...changes })), expected);
    });
  }

  for (const [request, expected] of [
    [`GET ${manifest}`, 'pull failed manifest'],
    [`PUT ${manifest}`, 'push failed manifest'],
    [`POST ${uploads}`, 'push failed upload'],
    [`HEAD ${manifest}`, 'none'],
  ] as const) {
    it(`${request} of a repository that no route has is ${expected}`, () => {
      const error = new RegistryError('NAME_UNKNOWN', { reason: 'no route takes it' });
      const record = { ...known, action: 'pull', repository: 'team/app' };
      assert.equal(summary(registryEvent(request, { status: 404, error, record })), expected);
      assert.equal(registryEvent(request, { status: 404, error, record: {} }), undefined, 'and not let in');
    });
  }

  it('tells of a pull by tag what was pulled, by whom, from where', () => {
    const record = { ...allowed, tag: '1', reference: '1', digest };
    assert.deepEqual(registryEvent(`GET ${manifest}`, { status: 200, bytes: 7, record }), {
      event: 'pull',
      result: 'ok',
      ...ending,
      ...known,
      object: 'manifest',
      action: 'pull',
      repository: 'team/app',
      tag: '1',
      digest,
      upstream: 'hub',
      upstreamRepository: 'acme/app',
      rules: ['policy[0]'],
      status: 200,
      bytes: 7,
    });
  });

  it('tells of a mount where the blob came from', () => {
    const record = { ...allowed, action: 'pull,push', digest: other, mountedFrom: 'team/base' };
    const event = registryEvent(`POST ${mount}`, { status: 201, record });
    assert.deepEqual([event?.mountedFrom, event?.digest, event?.bytes], ['team/base', other, 0]);
  });

  it('tells no bytes of a delete', () => {
    assert.equal(registryEvent(`DELETE ${blob}`, { status: 202, bytes: 5 })?.bytes, undefined);
  });
});

describe('a registry request that was not let in', () => {
  const paths = {
    manifest: '/v2/team/app/manifests/1',
    blob: `/v2/team/app/blobs/${digest}`,
    upload: '/v2/team/app/blobs/uploads/',
    tags: '/v2/team/app/tags/list',
    referrers: `/v2/team/app/referrers/${digest}`,
    catalog: '/v2/_catalog',
    '-': '/v2/',
  } as const;
  const record: AccessRecord = { ...known, action: 'pull', repository: 'team/app' };
  const unauthorized = new RegistryError('UNAUTHORIZED');

  for (const [object, path] of Object.entries(paths)) {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      it(`${method} of ${object}: a refusal of whoever showed something`, () => {
        const request = `${method} ${path}`;
        const denied = { status: 403, error: new RegistryError('DENIED'), record };
        const expected = `refusal refused ${object}`;
        assert.equal(summary(registryEvent(request, denied)), expected);
        const late = { status: 429, error: new RegistryError('TOOMANYREQUESTS'), record };
        assert.equal(summary(registryEvent(request, late)), expected);
        for (const shown of ['password', 'bearer', undefined] as const) {
          const bad = { status: 401, error: unauthorized, record: {}, shown };
          assert.equal(summary(registryEvent(request, bad)), expected, shown);
        }
        const hello = { status: 401, error: unauthorized, record: {}, shown: 'none' } as const;
        assert.equal(registryEvent(request, hello), undefined);
      });
    }
  }

  it('a refusal names the verifier it comes from', () => {
    const error = unauthorized.ofVerifier('corp');
    for (const [record, expected] of [
      [{}, ['corp', undefined]],
      [known, [known.verifier, known.principal]],
    ] as const) {
      const event = registryEvent(`GET ${paths.manifest}`, { status: 401, error, record, shown: 'password' });
      assert.deepEqual([event?.verifier, event?.principal], expected);
    }
    const event = tokenEvent({
      status: 503,
      error: new RegistryError('UNAVAILABLE').ofVerifier('corp'),
      record: {},
    });
    assert.equal(event?.verifier, 'corp');
  });

  for (const [status, error] of [
    [503, new RegistryError('UNAVAILABLE')],
    [405, new RegistryError('UNSUPPORTED')],
    [400, new RegistryError('NAME_INVALID')],
    [499, new ClientGone()],
    [500, new Error('a bug')],
  ] as const) {
    it(`${status}: nobody was refused, and nothing was pulled`, () => {
      assert.equal(registryEvent(`GET ${paths.manifest}`, { status, error, record: {} }), undefined);
    });
  }

  it('tells who was refused what, by which rule, and why', () => {
    const error = new RegistryError('DENIED', { reason: 'no rule allows it' });
    const denied = { status: 403, error, record: { ...record, rule: 'policy[1]', tag: '1' } };
    assert.deepEqual(registryEvent(`GET ${paths.manifest}`, denied), {
      event: 'refusal',
      result: 'refused',
      ...ending,
      ...known,
      object: 'manifest',
      action: 'pull',
      repository: 'team/app',
      tag: '1',
      rules: ['policy[1]'],
      status: 403,
      error: 'DENIED',
      reason: 'no rule allows it',
    });
  });
});

describe('a token request', () => {
  for (const [status, shown, expected] of [
    [200, 'password', 'login ok token'],
    [200, 'none', 'login ok token'],
    [200, 'refresh-token', 'login ok token'],
    [401, 'password', 'refusal refused token'],
    [401, 'refresh-token', 'refusal refused token'],
    [401, undefined, 'refusal refused token'],
    [401, 'none', 'none'],
    [403, 'none', 'refusal refused token'],
    [429, 'password', 'refusal refused token'],
    [500, 'password', 'login failed token'],
    [503, 'password', 'login failed token'],
    [405, 'none', 'none'],
    [413, 'none', 'none'],
    [499, 'password', 'none'],
  ] as const) {
    it(`answered ${status}, shown ${shown ?? 'what was not understood'}: ${expected}`, () => {
      assert.equal(summary(tokenEvent({ status, shown })), expected);
    });
  }

  it('tells what was granted for which service', () => {
    const granted = ['repository:team/app:pull'];
    const record = { ...known, service: 'registry.test', asked: ['odd'], granted, rules: ['policy[0]'] };
    assert.deepEqual(tokenEvent({ status: 200, record }), {
      event: 'login',
      result: 'ok',
      ...ending,
      service: 'registry.test',
      ...known,
      object: 'token',
      granted,
      rules: ['policy[0]'],
      status: 200,
    });
  });

  it('tells the served host where no service was asked for', () => {
    assert.equal(tokenEvent({ status: 401, record: {} })?.service, 'docker.test');
  });
});

describe('why', () => {
  const cause = new Error(`https://robot:${secret}@registry.test answers 500`);
  const gone = Object.assign(new Error(secret), { code: 'ECONNRESET' });
  const odd = Object.assign(new Error(secret), { code: secret });
  for (const [what, error, status, code, reason] of [
    [
      'our reason',
      new RegistryError('DENIED', { reason: 'no rule allows it', cause }),
      403,
      'DENIED',
      'no rule allows it',
    ],
    [
      'what the client was told',
      new RegistryError('DENIED', { message: 'too many scopes', cause }),
      403,
      'DENIED',
      'too many scopes',
    ],
    [
      'nothing more than the code',
      new RegistryError('UNAVAILABLE', { cause }),
      503,
      'UNAVAILABLE',
      undefined,
    ],
    ['a bug', new Error('outer', { cause }), 500, 'UNKNOWN', 'it failed unexpectedly'],
    ['something thrown', secret, 500, 'UNKNOWN', 'it failed unexpectedly'],
    ['a cut transfer', gone, 200, undefined, 'the transfer broke off: ECONNRESET'],
    ['an odd code', odd, 200, undefined, 'the transfer broke off'],
    ['a client that left', new ClientGone(), 499, undefined, 'the client went away'],
  ] as const) {
    it(`${what}: never another error's words`, () => {
      const event = registryEvent('GET /v2/team/app/manifests/1', { status, error });
      assert.deepEqual([event?.error, event?.reason], [code, reason]);
      assert.ok(!JSON.stringify(event).includes(secret), 'no secret');
      const login = tokenEvent({ status: 500, error });
      assert.ok(!JSON.stringify(login).includes(secret), 'no secret');
    });
  }
});

describe('a request of a page', () => {
  const who = { principal: 'sso:alice', verifier: 'sso' } as const;
  const denied = new RegistryError('DENIED', { message: 'not here', reason: 'a form from elsewhere' });
  const events = (record: PageRecord, changes: Pick<PageExchange, 'status'> & Partial<PageExchange>) =>
    pageAuditEvents({ ...ending, shown: undefined, record, ...changes });

  const rows: readonly (readonly [record: PageRecord, status: number, expected: string, error?: unknown])[] =
    [
      [{ page: 'landing', ...who }, 200, ''],
      [{ page: 'landing' }, 429, 'refusal refused -', new RegistryError('TOOMANYREQUESTS')],
      [{ page: 'asset' }, 304, ''],
      [{ page: 'landing' }, 503, '', new RegistryError('UNAVAILABLE')],
      [{ page: 'sign-in' }, 302, ''],
      [{ page: 'sign-in' }, 405, '', new RegistryError('UNSUPPORTED')],
      [{ page: 'sign-in' }, 503, 'sign-in failed -', new RegistryError('UNAVAILABLE')],
      [{ page: 'callback', ...who, hasSignedIn: true }, 303, 'sign-in ok -'],
      [
        { page: 'callback', ...who, hasSignedIn: true, token: '0123' },
        303,
        'sign-in ok -, token-created ok token 0123',
      ],
      [{ page: 'callback', ...who, hasSignedIn: true }, 499, 'sign-in ok -', new ClientGone()],
      [{ page: 'callback' }, 499, '', new ClientGone()],
      [{ page: 'callback' }, 400, '', new RegistryError('UNAUTHORIZED', { status: 400 })],
      [{ page: 'callback' }, 403, 'sign-in refused -', denied],
      [{ page: 'callback' }, 429, 'sign-in refused -', new RegistryError('TOOMANYREQUESTS')],
      [{ page: 'callback' }, 500, 'sign-in failed -', new Error('a bug')],
      [{ page: 'create-token', ...who, token: '0123' }, 303, 'token-created ok token 0123'],
      [{ page: 'create-token', ...who, token: '0123' }, 499, 'token-created ok token 0123', new ClientGone()],
      [{ page: 'create-token', ...who }, 403, 'token-created refused -', denied],
      [{ page: 'create-token', ...who }, 400, '', new RegistryError('UNSUPPORTED', { status: 400 })],
      [{ page: 'create-token', ...who }, 503, 'token-created failed -', new RegistryError('UNAVAILABLE')],
      [{ page: 'revoke-token', ...who, token: '0123' }, 303, 'token-revoked ok token 0123'],
      [{ page: 'revoke-token', ...who }, 303, ''],
      [{ page: 'sign-out', ...who }, 303, ''],
      [{ page: 'sign-out', ...who }, 403, 'refusal refused -', denied],
    ];
  for (const [record, status, expected, error] of rows) {
    it(`${record.page} ${status}${record.token ? ' with a token' : ''}: ${expected || 'no event'}`, () => {
      const found = events(record, { status, error });
      assert.equal(
        found.map((event) => [summary(event), event.token ?? []].flat().join(' ')).join(', '),
        expected,
      );
      for (const event of found) {
        assert.equal(event.principal, record.principal);
        assert.equal(event.status, status);
        assert.equal(event.requestId, 'one');
      }
    });
  }

  it('says why it was refused, in our own words', () => {
    const [event] = events({ page: 'create-token', ...who }, { status: 403, error: denied });
    assert.equal(event?.reason, 'a form from elsewhere');
    assert.equal(event?.error, 'DENIED');
  });
});
