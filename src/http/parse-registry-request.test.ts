import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RegistryError } from '../errors.js';
import { maxPageQuery } from '../protocol/page-query.js';
import { parseMethod, parseTarget } from './parse-registry-request.js';

const digest = `sha256:${'a'.repeat(64)}`;

describe('parseTarget', () => {
  for (const [target, operation] of [
    ['/v2', { kind: 'ping' }],
    ['/v2/', { kind: 'ping' }],
    ['/v2/?x=y', { kind: 'ping' }],
    ['/v2/a/manifests/1', { kind: 'manifest', repository: 'a', reference: { kind: 'tag', tag: '1' } }],
    [
      '/v2/a/b/c/manifests/latest',
      { kind: 'manifest', repository: 'a/b/c', reference: { kind: 'tag', tag: 'latest' } },
    ],
    [
      `/v2/a/manifests/${digest}`,
      { kind: 'manifest', repository: 'a', reference: { kind: 'digest', digest } },
    ],
    [
      `/v2/a/manifests/${digest.replace(':', '%3A')}`,
      { kind: 'manifest', repository: 'a', reference: { kind: 'digest', digest } },
    ],
    [`/v2/a/blobs/${digest}`, { kind: 'blob', repository: 'a', digest }],
    ['/v2/a/blobs/uploads/', { kind: 'upload', repository: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'upload', repository: 'a' }],
    ['/v2/a/blobs/uploads/x-y_z', { kind: 'upload', repository: 'a', session: 'x-y_z' }],
    [`/v2/a/blobs/uploads/s?digest=${digest}`, { kind: 'upload', repository: 'a', session: 's', digest }],
    [
      `/v2/a/blobs/uploads/?mount=${digest}&from=b/c`,
      { kind: 'upload', repository: 'a', mount: { digest, from: 'b/c' } },
    ],
    [
      `/v2/a/blobs/uploads/s?mount=${digest}&from=b/c&digest=${digest}`,
      { kind: 'upload', repository: 'a', session: 's', digest },
    ],
    [
      `/v2/a/blobs/uploads/?mount=${encodeURIComponent(digest)}`,
      { kind: 'upload', repository: 'a', mount: { digest } },
    ],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a', page: '' }],
    ['/v2/a/tags/list?n=5&last=b', { kind: 'tags', repository: 'a', page: 'n=5&last=b' }],
    [
      `/v2/a/referrers/${digest}?artifactType=x`,
      { kind: 'referrers', repository: 'a', digest, page: 'artifactType=x' },
    ],
    ['/v2/_catalog?n=2', { kind: 'catalog', page: 'n=2' }],
    // The last well-known component decides.
    [
      '/v2/manifests/manifests/manifests',
      { kind: 'manifest', repository: 'manifests', reference: { kind: 'tag', tag: 'manifests' } },
    ],
    ['/v2/tags/list/tags/list', { kind: 'tags', repository: 'tags/list', page: '' }],
    [`/v2/a/blobs/uploads/blobs/${digest}`, { kind: 'blob', repository: 'a/blobs/uploads', digest }],
    [
      '/v2/blobs/uploads/manifests/1',
      { kind: 'manifest', repository: 'blobs/uploads', reference: { kind: 'tag', tag: '1' } },
    ],
  ] as const) {
    test(target, () => {
      assert.deepEqual(parseTarget(target), { operation });
    });
  }

  for (const [query, page, ns] of [
    ['ns=docker.io', '', 'docker.io'],
    ['n=1&ns=docker.io&last=a', 'n=1&last=a', 'docker.io'],
    ['n%73=docker.io', '', 'docker.io'],
    ['ns=localhost:5000&n=1', 'n=1', 'localhost:5000'],
    ['nsx=1&xns=2', 'nsx=1&xns=2', undefined],
    ['&&n=1&', 'n=1', undefined],
    ['last=%3D%26%20', 'last=%3D%26%20', undefined],
  ] as const) {
    test(`ns is taken out, the rest stays as it was sent: ${query}`, () => {
      const parsed = parseTarget(`/v2/a/tags/list?${query}`);
      assert.deepEqual(parsed, {
        operation: { kind: 'tags', repository: 'a', page },
        ...(ns !== undefined && { ns }),
      });
    });
  }

  for (const target of [
    '',
    '/',
    '/v1/',
    '/v2x',
    '/v2/a',
    '/v2/a/manifests',
    '/v2/a/manifests/',
    '/v2/manifests/1',
    '/v2/a/tags',
    '/v2/a/tags/list/',
    '/v2/_catalog/',
    '/v2/a/blobs/uploads/x/y',
    '*',
    'http://h/v2/',
  ]) {
    test(`nothing: '${target}'`, () => {
      assert.equal(parseTarget(target), undefined);
    });
  }

  test('the longest next page we hand on is taken again, beside the longest ns', () => {
    const page = `last=${'a'.repeat(maxPageQuery - 'last='.length)}`;
    const label = 'a'.repeat(63);
    const ns = `${[label, label, label, label].join('.')}:5000`;
    const target = parseTarget(`/v2/a/tags/list?${page}&ns=${encodeURIComponent(ns)}`);
    assert.deepEqual(target, { operation: { kind: 'tags', repository: 'a', page }, ns });
  });

  for (const [target, code] of [
    ['/v2/A/manifests/1', 'NAME_INVALID'],
    ['/v2/a%2fb/manifests/1', 'NAME_INVALID'],
    ['/v2/../a/manifests/1', 'NAME_INVALID'],
    ['/v2//a/manifests/1', 'NAME_INVALID'],
    ['/v2/a//manifests/1', 'NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/manifests/1`, 'NAME_INVALID'],
    ['/v2/a/manifests/%', 'NAME_INVALID'],
    ['/v2/a/tags/list?ns=', 'NAME_INVALID'],
    ['/v2/a/tags/list?ns=a/b', 'NAME_INVALID'],
    ['/v2/a/tags/list?ns=a.io&ns=b.io', 'NAME_INVALID'],
    [`/v2/a/tags/list?${'x'.repeat(5000)}`, 'NAME_INVALID'],
    [`/v2/a/blobs/uploads/?mount=${digest}&from=A`, 'NAME_INVALID'],
    ['/v2/a/manifests/.a', 'TAG_INVALID'],
    ['/v2/a/manifests/a%2fb', 'TAG_INVALID'],
    ['/v2/a/manifests/sha256:1', 'DIGEST_INVALID'],
    ['/v2/a/blobs/latest', 'DIGEST_INVALID'],
    ['/v2/a/referrers/latest', 'DIGEST_INVALID'],
    ['/v2/a/blobs/uploads/?digest=x', 'DIGEST_INVALID'],
    ['/v2/a/blobs/uploads/?mount=x', 'DIGEST_INVALID'],
  ] as const) {
    test(`${code}: ${target.slice(0, 60)}`, () => {
      assert.throws(() => parseTarget(target), { code });
    });
  }

  test('any target parses, is nothing, or is refused with an error of the table', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '/',
        'v2',
        'manifests',
        'blobs',
        'uploads',
        'tags',
        'list',
        '_catalog',
        'a',
        '..',
        '%2f',
        '?',
        '&',
        '=',
        'ns',
        digest,
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          const operation = parseTarget(`/v2/${pieces.join('')}`)?.operation;
          return (
            operation === undefined ||
            !('repository' in operation) ||
            /^[a-z0-9][a-z0-9._/-]*$/.test(operation.repository)
          );
        } catch (error) {
          return error instanceof RegistryError && error.status === 400;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('parseMethod', () => {
  test('the methods of the registry API, and no others', () => {
    for (const method of ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'])
      assert.equal(parseMethod(method), method);
    for (const method of ['get', 'OPTIONS', 'TRACE', 'CONNECT', '', undefined]) {
      assert.throws(() => parseMethod(method), { code: 'UNSUPPORTED', status: 405 });
    }
  });
});
