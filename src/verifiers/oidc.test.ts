import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { MemoryStateStore } from '../state-stores/memory.js';
import { failureOf, rejectsWith } from '../testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../testing/conformance/verifier.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './oidc.js';

type Members = Readonly<Record<string, unknown>>;

const o = { signal: new AbortController().signal };
const spiffeId = 'spiffe://example.org/ns/ci/sa/builder';

/** A SPIFFE bundle in a file, and who signs with its key. */
async function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'oidc-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const key = { ...(await exportJWK(publicKey)), kid: 'one', use: 'jwt-svid' };
  const bundle = { keys: [key, { kty: 'EC', use: 'x509-svid', x5c: ['AAAA'] }], spiffe_refresh_hint: 60 };
  writeFileSync(join(directory, 'bundle.json'), JSON.stringify(bundle));
  const clock = new FakeClock();
  const now = Math.floor(clock.now() / 1000);
  const token = (claims: Members) =>
    new SignJWT({ sub: spiffeId, aud: ['registry'], exp: now + 300, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'JWT' })
      .sign(privateKey);
  const open = async (settings: Members) => {
    const verifier = await driver.open(driver.config.parse({ audiences: ['registry'], ...settings }), {
      ...{ id: 'workloads', baseDirectory: directory, clock, log: new FakeLog() },
      ...{ metrics: new FakeMetrics(), state: new MemoryStateStore(clock) },
    });
    t.after(() => verifier.close());
    return verifier;
  };
  return { directory, token, open };
}

describeVerifierConformance(
  'oidc, with JWT-SVIDs and a bundle in a file',
  async (t) => {
    const { token, open } = await setUp(t);
    return {
      verifier: await open({ trustDomain: 'example.org', jwksFile: 'bundle.json' }),
      id: 'workloads',
      valid: [
        {
          credentials: passwordCredentials('_spiffe', await token({})),
          principal: { name: spiffeId, kind: 'machine' as const, groups: [] },
        },
        {
          credentials: bearerCredentials(await token({ iss: 'https://spire.example.org' })),
          principal: { name: spiffeId },
        },
      ],
      invalid: [bearerCredentials(await token({ exp: 1 }))],
      foreign: [
        bearerCredentials(await token({ sub: 'spiffe://example.org.evil/x' })),
        bearerCredentials(await token({ sub: 'spiffe://example.org' })),
        bearerCredentials(await token({ sub: 'example.org/x' })),
        bearerCredentials(await token({ sub: undefined })),
        bearerCredentials(await token({ aud: ['other'] })),
        passwordCredentials('_spiffe', 'a password'),
      ],
    };
  },
  [
    'where it cannot verify now it is UNAVAILABLE, never undefined',
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('oidc with a trust domain', () => {
  it('and an issuer: both must be right', async (t) => {
    const { token, open } = await setUp(t);
    const issuer = 'https://spire.example.org';
    const verifier = await open({ trustDomain: 'example.org', issuer, jwksFile: 'bundle.json' });
    const found = await verifier.verify(bearerCredentials(await token({ iss: issuer })), o);
    assert.equal(found?.name, spiffeId);
    for (const claims of [{}, { iss: 'https://other.example.org' }, { iss: issuer, sub: 'alice' }]) {
      assert.equal(await verifier.verify(bearerCredentials(await token(claims)), o), undefined);
    }
    assert.equal(verifier.openIdProvider?.issuer, issuer);
  });

  it('alone: nobody signs in by browser there', async (t) => {
    const { open } = await setUp(t);
    const verifier = await open({ trustDomain: 'example.org', jwksFile: 'bundle.json' });
    assert.equal(verifier.openIdProvider, undefined);
  });

  it('people may have trust domains', async (t) => {
    const { token, open } = await setUp(t);
    const verifier = await open({ trustDomain: 'example.org', jwksFile: 'bundle.json', kind: 'human' });
    assert.equal((await verifier.verify(bearerCredentials(await token({})), o))?.kind, 'human');
  });
});

describe('oidc with keys in a file', () => {
  it('does without the issuer', async (t) => {
    const { token, open } = await setUp(t);
    const issuer = 'https://sso.example.com';
    const verifier = await open({ issuer, jwksFile: 'bundle.json' });
    const credentials = bearerCredentials(await token({ iss: issuer, sub: 'alice' }));
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
    const unknown = bearerCredentials(await token({ iss: issuer, exp: 1 }));
    await rejectsWith(() => verifier.verify(unknown, o), 'UNAUTHORIZED');
  });

  it('does not start without them', async (t) => {
    const { open } = await setUp(t);
    const error = await failureOf(() => open({ issuer: 'https://sso.example.com', jwksFile: 'none.json' }));
    assert.match((error as Error).message, /none\.json: ENOENT/);
  });
});

describe('settings of oidc', () => {
  const issuer = 'https://sso.example.com';
  const audiences = ['registry'];
  const github = 'https://token.actions.githubusercontent.com';
  const table: readonly (readonly [what: string, settings: Members, problem?: RegExp])[] = [
    ['an issuer and an audience', { issuer, audiences }],
    ['no audience', { issuer }, /audiences/],
    ['an empty list of audiences', { issuer, audiences: [] }, /audiences/],
    ['an empty audience', { issuer, audiences: [''] }, /audiences/],
    ['no issuer', { audiences }, /issuer.*is missing/s],
    ['keys of nobody', { audiences, jwksUri: 'https://sso.example.com/jwks' }, /issuer.*is missing/s],
    ['an issuer by plain http', { issuer: 'http://sso.example.com', audiences }, /https URL/],
    [
      'an issuer’s document',
      { issuer: `${issuer}/.well-known/openid-configuration`, audiences },
      /leave out \/\.well-known/,
    ],
    ['an issuer on this machine', { issuer: 'http://127.0.0.1:8080', audiences }],
    ['keys by plain http', { issuer, audiences, jwksUri: 'http://sso.example.com/jwks' }, /https URL/],
    [
      'a trust domain without keys',
      { audiences, trustDomain: 'example.org' },
      /jwksUri.*cannot be discovered/s,
    ],
    ['a trust domain with keys', { audiences, trustDomain: 'example.org', jwksUri: 'https://a/b' }],
    ['a trust domain with a scheme', { issuer, audiences, trustDomain: 'spiffe://a' }, /trust domain/],
    ['a trust domain with a path', { issuer, audiences, trustDomain: 'a/b' }, /trust domain/],
    ['keys in two places', { issuer, audiences, jwksUri: 'https://a/b', jwksFile: 'f' }, /jwksFile/],
    ['an issuer everybody has', { issuer: github, audiences }, /requiredClaims.*everybody can get/s],
    ['and whose tokens count', { issuer: github, audiences, requiredClaims: { repository_owner: 'acme' } }],
    ['a large skew', { issuer, audiences, clockSkew: '1h' }, /clockSkew/],
    ['a misspelt key', { issuer, audiences, audience: 'x' }, /audience/],
  ];
  for (const [what, settings, problem] of table) {
    it(`${what}: ${problem === undefined ? 'fine' : 'refused'}`, () => {
      const { error } = driver.config.safeParse(settings);
      if (problem === undefined) assert.equal(error, undefined);
      else assert.match(JSON.stringify(error?.issues ?? []), problem);
    });
  }
});
