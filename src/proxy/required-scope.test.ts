import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { parseDigest } from '../reference/digest.js';
import { parseReference } from '../reference/reference.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { requiredScope } from './required-scope.js';

const repository = parseRepositoryName('short');
const canonical = parseRepositoryName('library/short');
const digest = parseDigest(`sha256:${'0'.repeat(64)}`);
const methods: readonly RegistryMethod[] = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'];

const operations: readonly (readonly [RegistryOperation, Partial<Record<RegistryMethod, string>>])[] = [
  [{ kind: 'ping' }, { GET: '', HEAD: '' }],
  [
    { kind: 'manifest', repository, reference: parseReference('1') },
    { GET: 'pull', HEAD: 'pull', PUT: 'pull,push', DELETE: 'delete' },
  ],
  [
    { kind: 'blob', repository, digest },
    { GET: 'pull', HEAD: 'pull', DELETE: 'delete' },
  ],
  [{ kind: 'upload', repository }, { POST: 'pull,push' }],
  [
    { kind: 'upload', repository, session: 'sealed' },
    { PATCH: 'pull,push', PUT: 'pull,push', GET: 'pull,push', DELETE: 'pull,push' },
  ],
  [{ kind: 'tags', repository, page: '' }, { GET: 'pull' }],
  [{ kind: 'referrers', repository, digest, page: '' }, { GET: 'pull' }],
  [{ kind: 'catalog', page: '' }, { GET: '*' }],
];

describe('requiredScope', () => {
  for (const [operation, row] of operations) {
    for (const method of methods) {
      const needed = row[method];
      test(`${method} ${'session' in operation ? 'session' : operation.kind}: ${needed ?? 'not served'}`, () => {
        if (needed === undefined) {
          assert.throws(() => requiredScope(method, operation, canonical), { code: 'UNSUPPORTED' });
          return;
        }
        const scope = requiredScope(method, operation, 'repository' in operation ? canonical : undefined);
        if (operation.kind === 'ping') return assert.equal(scope, undefined);
        assert.equal(scope?.name, operation.kind === 'catalog' ? 'catalog' : canonical);
        assert.equal(scope?.actions.join(','), needed);
      });
    }
  }
});
