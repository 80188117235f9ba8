import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errorTable, RegistryError } from '../errors.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import type { Scope } from '../reference/scope.js';
import { errorResponse } from './error-response.js';

const host = { service: 'docker.test', realm: 'https://docker.test/token' };
const wanted: Scope = { type: 'repository', name: parseRepositoryName('a/b'), actions: ['pull', 'push'] };
const registry = { kind: 'registry', host, wanted: [wanted] } as const;

function bodyOf(error: unknown): unknown {
  return JSON.parse(errorResponse(error, registry).body.toString('utf8'));
}

describe('errorResponse', () => {
  for (const [code, row] of Object.entries(errorTable)) {
    test(`${code} is ${row.http}`, () => {
      const { status, headers, body } = errorResponse(
        new RegistryError(code as keyof typeof errorTable),
        undefined,
      );
      assert.equal(status, row.http);
      assert.deepEqual(JSON.parse(body.toString('utf8')), { errors: [{ code, message: row.message }] });
      assert.equal(headers.get('content-type'), 'application/json');
      assert.equal(headers.get('content-length'), String(body.length));
    });
  }

  test('a bug is a bare UNKNOWN', () => {
    for (const bug of [
      new Error('secret'),
      new TypeError('secret'),
      'secret',
      undefined,
      { code: 'DENIED' },
    ]) {
      assert.equal(errorResponse(bug, registry).status, 500);
      assert.deepEqual(bodyOf(bug), { errors: [{ code: 'UNKNOWN', message: 'unknown error' }] });
    }
  });

  test('reason and cause stay here; detail and message go out', () => {
    const error = new RegistryError('DENIED', {
      reason: 'secret',
      cause: new Error('secret'),
      message: 'no',
      detail: { name: 'ä' },
    });
    assert.deepEqual(bodyOf(error), { errors: [{ code: 'DENIED', message: 'no', detail: { name: 'ä' } }] });
    const { headers, body } = errorResponse(error, registry);
    assert.equal(headers.get('content-length'), String(body.length));
  });

  for (const [what, options, challenge, expected] of [
    [
      'a registry',
      {},
      registry,
      'Bearer realm="https://docker.test/token",service="docker.test",scope="repository:a/b:pull,push"',
    ],
    [
      'a registry, without a scope',
      {},
      { kind: 'registry', host },
      'Bearer realm="https://docker.test/token",service="docker.test"',
    ],
    [
      'a bad token',
      { bearerError: 'invalid_token' },
      registry,
      'Bearer realm="https://docker.test/token",service="docker.test",scope="repository:a/b:pull,push",error="invalid_token"',
    ],
    ['the token endpoint', {}, { kind: 'token', host }, 'Basic realm="docker.test"'],
    ['nobody', {}, undefined, undefined],
  ] as const) {
    test(`the challenge of ${what}`, () => {
      const { headers } = errorResponse(new RegistryError('UNAUTHORIZED', options), challenge);
      assert.equal(headers.get('www-authenticate'), expected);
    });
  }

  test('only a 401 asks for credentials', () => {
    for (const code of ['DENIED', 'UNAVAILABLE', 'NAME_UNKNOWN'] as const) {
      assert.equal(errorResponse(new RegistryError(code), registry).headers.has('www-authenticate'), false);
    }
  });

  test('Retry-After', () => {
    const { headers } = errorResponse(new RegistryError('TOOMANYREQUESTS', { retryAfter: 3 }), registry);
    assert.equal(headers.get('retry-after'), '3');
  });
});
