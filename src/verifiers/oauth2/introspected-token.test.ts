import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RegistryError } from '../../errors.js';
import type { Claims } from '../claims/claim-path.js';
import { checkToken, type WantedToken } from './introspected-token.js';

const now = Date.parse('2026-01-01T00:00:00Z');
const second = now / 1000;
const lax: WantedToken = { requireTokenType: false, clockSkew: 60_000 };
const judged = (claims: Claims, wanted: Partial<WantedToken> = {}) =>
  checkToken(claims, { ...lax, ...wanted }, now);

describe('an active token', () => {
  for (const [name, claims, wanted] of [
    ['of a bearer', { token_type: 'Bearer' }, { requireTokenType: true }],
    ['as Keycloak tells', { typ: 'Bearer' }, { requireTokenType: true }],
    ['as Hydra tells', { token_use: 'access_token' }, { requireTokenType: true }],
    ['with nothing told', {}, {}],
    [
      'with nulls',
      { exp: null, nbf: null, iss: null, cnf: null, typ: null },
      { issuer: 'https://a.example' },
    ],
    ['for one audience', { aud: 'us' }, { audiences: ['us', 'them'] }],
    ['for several', { aud: ['them', 'us'] }, { audiences: ['us'] }],
    ['with more scopes', { scope: 'push pull' }, { requiredScopes: ['pull'] }],
    ['with a list of scopes', { scope: ['push', 'pull'] }, { requiredScopes: ['pull', 'push'] }],
    ['of a client', { client_id: 'ci' }, { clients: ['ci'] }],
    ['of the issuer', { iss: 'https://a.example' }, { issuer: 'https://a.example' }],
    ['valid from now, by a fast clock', { nbf: second + 60 }, {}],
  ] as const) {
    it(`${name} is taken`, () => assert.equal(judged(claims, wanted), undefined));
  }

  for (const [name, claims, wanted, reason] of [
    ['that is a refresh token', { token_type: 'refresh_token' }, {}, /token_type/],
    ['that is a refresh token of Keycloak', { typ: 'Refresh', token_type: 'Bearer' }, {}, /typ/],
    ['that is an ID token of Keycloak', { typ: 'ID' }, {}, /typ/],
    [
      'that is a refresh token of Hydra',
      { token_use: 'refresh_token', token_type: 'Bearer' },
      {},
      /token_use/,
    ],
    ['of which nothing is told', {}, { requireTokenType: true }, /requireTokenType/],
    ['of an odd type', { token_type: ['Bearer'] }, {}, /token_type/],
    ['of a key, by DPoP', { token_type: 'DPoP' }, {}, /token_type/],
    ['of a key, by mutual TLS', { token_type: 'Bearer', cnf: { 'x5t#S256': 'x' } }, {}, /cnf/],
    ['for another audience', { aud: 'them' }, { audiences: ['us'] }, /"them"/],
    ['for an audience that begins so', { aud: ['us-too'] }, { audiences: ['us'] }, /aud/],
    ['for no audience', {}, { audiences: ['us'] }, /no audience/],
    ['for an odd audience', { aud: { us: true } }, { audiences: ['us'] }, /no audience/],
    ['with a scope too few', { scope: 'pull' }, { requiredScopes: ['pull', 'push'] }, /push/],
    ['with a longer scope', { scope: 'pull-all' }, { requiredScopes: ['pull'] }, /pull/],
    ['without scopes', {}, { requiredScopes: ['pull'] }, /pull/],
    ['of another client', { client_id: 'web' }, { clients: ['ci'] }, /"web"/],
    ['of no client', {}, { clients: ['ci'] }, /no client/],
    ['of a list of clients', { client_id: ['ci'] }, { clients: ['ci'] }, /client_id/],
    ['of another issuer', { iss: 'https://a.example/' }, { issuer: 'https://a.example' }, /iss/],
    ['that has expired', { exp: second - 60 }, {}, /expired 2025-12-31T23:59:00/],
    ['that ended with the epoch', { exp: 0 }, {}, /expired/],
    ['that is not valid yet', { nbf: second + 61 }, {}, /nbf/],
    ['that ends at no time', { exp: '2030-01-01' }, {}, /exp/],
    ['that ends after all time', { exp: 1e300 }, {}, /exp/],
  ] as const) {
    it(`${name} is refused`, () => {
      const isExpected = (error: unknown) =>
        error instanceof RegistryError && error.code === 'UNAUTHORIZED' && reason.test(error.reason ?? '');
      assert.throws(() => judged(claims, wanted), isExpected);
    });
  }

  it('says when it ends, and may be over by a little', () => {
    assert.equal(judged({ exp: second + 7 }), now + 7000);
    assert.equal(judged({ exp: second - 59 }), now - 59_000);
  });
});
