import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { rejectsWith } from '../../testing/conformance/suite.js';
import { claimKeys, principalOfClaims } from './principal-of-claims.js';

type Members = Readonly<Record<string, unknown>>;

const schema = z.strictObject(claimKeys);

function principal(claims: Members, settings: Members = {}, expiresAt?: number) {
  return principalOfClaims(claims, schema.parse(settings), 'sso', expiresAt);
}

describe('the principal of claims', () => {
  it('is the subject, and a human, where nothing else is said', () => {
    assert.deepEqual(principal({ sub: 'alice', groups: ['a'] }), {
      ...{ verifier: 'sso', name: 'alice', kind: 'human' },
      ...{ groups: [], attributes: {} },
    });
    assert.equal(principal({ sub: 'alice' }, {}, 7).expiresAt, 7);
  });

  it('has what the settings name, and nothing else', () => {
    const claims = { sub: '1', login: 'alice', roles: ['b', 'a', 'b'], org: { id: 7 }, secret: 'x' };
    const settings = {
      usernameClaim: 'login',
      groupsClaim: ['roles'],
      attributes: { orgId: ['org', 'id'], absent: 'absent', nested: 'org' },
      kind: 'machine',
    };
    assert.deepEqual(principal(claims, settings), {
      ...{ verifier: 'sso', name: 'alice', kind: 'machine' },
      ...{ groups: ['b', 'a'], attributes: { orgId: 7 } },
    });
  });

  it('may have 1000 groups and a name of 255 bytes', () => {
    const groups = Array.from({ length: 1000 }, (_, i) => `${i}`);
    assert.equal(principal({ sub: 'x', groups }, { groupsClaim: 'groups' }).groups.length, 1000);
    assert.equal(principal({ sub: 'x'.repeat(255) }).name.length, 255);
  });

  const email = { usernameClaim: 'email' };
  const table: readonly (readonly [what: string, claims: Members, settings: Members, reason: RegExp])[] = [
    ['no name', {}, {}, /claim sub/],
    ['a name that every object has', {}, { usernameClaim: 'constructor' }, /claim constructor/],
    ['a number', { sub: 7 }, {}, /claim sub/],
    ['an empty name', { sub: '' }, {}, /claim sub/],
    ['a list', { sub: ['alice'] }, {}, /claim sub/],
    ['256 bytes', { sub: 'x'.repeat(256) }, {}, /too long/],
    ['a NUL', { sub: 'alice\0' }, {}, /control characters/],
    ['half a character', { sub: 'alice\ud800' }, {}, /control characters/],
    ['an unverified address', { email: 'a@example.com', email_verified: false }, email, /not verified/],
    [
      '1001 groups',
      { sub: 'x', g: Array.from({ length: 1001 }, (_, i) => `${i}`) },
      { groupsClaim: 'g' },
      /1000 groups/,
    ],
  ];
  for (const [what, claims, settings, reason] of table) {
    it(`${what}: refused`, async () => {
      const error = await rejectsWith(async () => principal(claims, settings), 'UNAUTHORIZED');
      assert.match(error.reason ?? '', reason);
    });
  }
});

describe('required claims', () => {
  for (const [wanted, value, isEnough] of [
    ['acme', 'acme', true],
    ['acme', 'acme2', false],
    ['acme', 'Acme', false],
    ['acme', undefined, false],
    ['acme', null, false],
    ['acme', ['other', 'acme'], true],
    ['acme', [['acme']], false],
    ['acme/*', 'acme/app', true],
    ['acme/*', 'evil/acme/app', false],
    ['acme.io', 'acmexio', false],
    ['*', '', true],
    ['*', undefined, false],
    [['a', 'b'], 'b', true],
    [['a', 'b'], 'c', false],
    [true, true, true],
    [true, 'true', false],
    ['true', true, false],
    [7, 7, true],
    [7, '7', false],
  ] as const) {
    it(`${JSON.stringify(wanted)}: ${JSON.stringify(value)} is ${isEnough ? '' : 'not '}enough`, async () => {
      const settings = { requiredClaims: { org: wanted } };
      if (isEnough) assert.equal(principal({ sub: 'x', org: value }, settings).name, 'x');
      else await rejectsWith(async () => principal({ sub: 'x', org: value }, settings), 'UNAUTHORIZED');
    });
  }

  it('must all be there', async () => {
    const settings = { requiredClaims: { a: '1', b: '2' } };
    assert.equal(principal({ sub: 'x', a: '1', b: '2' }, settings).name, 'x');
    await rejectsWith(async () => principal({ sub: 'x', a: '1' }, settings), 'UNAUTHORIZED');
    await rejectsWith(
      async () => principal({ sub: 'x' }, { requiredClaims: { constructor: '*' } }),
      'UNAUTHORIZED',
    );
  });

  it('an empty list of values is no setting', () => {
    assert.equal(schema.safeParse({ requiredClaims: { a: [] } }).success, false);
  });
});
