import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { importJWK, SignJWT, UnsecuredJWT } from 'jose';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { bearerCredentials } from '../../src/testing/conformance/verifier.js';
import { type MockIssuer, privateKey, startMockIssuer } from './harness/mock-issuer.js';
import { openOidc } from './harness/open-oidc.js';

type Members = Readonly<Record<string, unknown>>;

const o = { signal: new AbortController().signal };
const now = () => Math.floor(Date.now() / 1000);

let issuer: MockIssuer;
before(async () => {
  issuer = await startMockIssuer();
});
after(() => issuer.close());

const open = (t: TestContext, more: Members = {}) =>
  openOidc(t, { issuer: issuer.url, audiences: ['registry'], groupsClaim: 'groups', ...more });

/** Claims of a token that is accepted. */
const good = (more: Members = {}): Members => ({
  ...{ iss: issuer.url, sub: 'alice', aud: 'registry', iat: now(), exp: now() + 300 },
  ...more,
});

describe('claims that are accepted', () => {
  const table: Record<string, { claims?: Members; settings?: Members; found?: Members }> = {
    'as they should be': {},
    'aud is a list': { claims: { aud: ['other', 'registry'] } },
    'no iat': { claims: { iat: undefined } },
    'an iat in the near future': { claims: { iat: now() + 30, nbf: now() + 30 } },
    'no groups': { claims: { groups: undefined }, found: { groups: [] } },
    'groups that are one text': { claims: { groups: 'developers' }, found: { groups: ['developers'] } },
    'groups of mixed kinds': {
      claims: { groups: ['a', 7, null, '', 'a', 'b'] },
      found: { groups: ['a', 'b'] },
    },
    'groups that are an object': { claims: { groups: { a: true } }, found: { groups: [] } },
    'nested roles': {
      claims: { realm_access: { roles: ['push'] } },
      settings: { groupsClaim: ['realm_access', 'roles'] },
      found: { groups: ['push'] },
    },
    'the name in another claim': {
      claims: { preferred_username: 'Alice A.' },
      settings: { usernameClaim: 'preferred_username' },
      found: { name: 'Alice A.' },
    },
    'a verified e-mail address': {
      claims: { email: 'alice@example.com', email_verified: true },
      settings: { usernameClaim: 'email' },
      found: { name: 'alice@example.com' },
    },
    'attributes of several kinds': {
      claims: { ref: 'refs/heads/main', run: 7, protected: true, list: ['x'], nested: { a: 1 }, none: null },
      settings: {
        attributes: {
          ref: 'ref',
          run: 'run',
          protected: 'protected',
          list: 'list',
          nested: 'nested',
          none: 'none',
        },
      },
      found: { attributes: { ref: 'refs/heads/main', run: 7, protected: true, list: ['x'] } },
    },
    'a required claim among several values': {
      claims: { repository_owner: 'acme' },
      settings: { requiredClaims: { repository_owner: ['other', 'ac*'] } },
    },
    'azp is an audience of ours': { claims: { aud: ['registry', 'account'], azp: 'registry' } },
    'azp is an authorised party': {
      claims: { aud: ['registry', 'account'], azp: 'portal' },
      settings: { authorizedParties: ['portal'] },
    },
    'azp is somebody, and the audience is ours alone': { claims: { azp: 'a service account' } },
    'several audiences without azp': { claims: { aud: ['registry', 'kubernetes'] } },
    'of a machine': { settings: { kind: 'machine' }, found: { kind: 'machine' } },
  };
  for (const [what, { claims, settings, found }] of Object.entries(table)) {
    it(what, async (t) => {
      const { verifier } = await open(t, settings);
      const credentials = bearerCredentials(await issuer.sign({}, good(claims)));
      assert.equal(verifier.recognises?.(credentials), true);
      const principal = await verifier.verify(credentials, o);
      const expected = { verifier: 'sso', name: 'alice', kind: 'human', ...found };
      assert.deepEqual({ ...principal, ...expected }, principal);
    });
  }
});

describe('claims that are refused', () => {
  const table: Record<string, { claims: Members; settings?: Members; reason: RegExp }> = {
    'no sub': { claims: { sub: undefined }, reason: /no text in the claim sub/ },
    'sub is a number': { claims: { sub: 7 }, reason: /no text in the claim sub/ },
    'sub is empty': { claims: { sub: '' }, reason: /no text in the claim sub/ },
    'sub with a line break': { claims: { sub: 'alice\nbob' }, reason: /control characters/ },
    'sub of 256 bytes': { claims: { sub: 'ä'.repeat(128) }, reason: /too long/ },
    'no exp': { claims: { exp: undefined }, reason: /claim exp/ },
    'exp is a text': { claims: { exp: '9999999999' }, reason: /claim exp/ },
    'exp is beyond all time': { claims: { exp: 1e300 }, reason: /\(exp\)/ },
    expired: { claims: { exp: now() - 61 }, reason: /it has expired \d{4}-/ },
    'iat in the far future': { claims: { iat: now() + 600, exp: now() + 900 }, reason: /future \(iat\)/ },
    'iat is a text': { claims: { iat: 'yesterday' }, reason: /claim iat/ },
    'nbf in the future': { claims: { nbf: now() + 600, exp: now() + 900 }, reason: /claim nbf/ },
    'older than maxAge': {
      claims: { iat: now() - 700 },
      settings: { maxAge: '10m' },
      reason: /too old: issued \d{4}-/,
    },
    'no iat where maxAge is set': { claims: { iat: undefined }, settings: { maxAge: '10m' }, reason: /iat/ },
    'azp of somebody else': {
      claims: { aud: ['registry', 'account'], azp: 'portal' },
      reason: /for the client portal \(azp\)/,
    },
    'azp that is no text': { claims: { aud: ['registry', 'account'], azp: ['registry'] }, reason: /azp/ },
    'an e-mail address that is not verified': {
      claims: { email: 'ceo@example.com', email_verified: false },
      settings: { usernameClaim: 'email' },
      reason: /not verified/,
    },
    'a required claim with another value': {
      claims: { repository_owner: 'mallory' },
      settings: { requiredClaims: { repository_owner: 'acme' } },
      reason: /claim repository_owner/,
    },
    'a required claim that is longer': {
      claims: { repository_owner: 'acme-evil' },
      settings: { requiredClaims: { repository_owner: 'acme' } },
      reason: /claim repository_owner/,
    },
    'a required claim that is missing': {
      claims: {},
      settings: { requiredClaims: { repository_owner: '*' } },
      reason: /claim repository_owner/,
    },
    'too many groups': {
      claims: { groups: Array.from({ length: 1001 }, (_, i) => `${i}`) },
      reason: /more than 1000 groups/,
    },
  };
  for (const [what, { claims, settings, reason }] of Object.entries(table)) {
    it(what, async (t) => {
      const { verifier } = await open(t, settings);
      const token = await issuer.sign({}, good(claims));
      const error = await rejectsWith(() => verifier.verify(bearerCredentials(token), o), 'UNAUTHORIZED');
      assert.match(error.reason ?? '', reason);
    });
  }
});

describe('tokens that are left to other verifiers', () => {
  const table: Record<string, () => Members> = {
    'another issuer': () => ({ iss: 'https://other.example.com' }),
    'the issuer with a slash more': () => ({ iss: `${issuer.url}/` }),
    'the issuer in capitals': () => ({ iss: issuer.url.toUpperCase() }),
    'no issuer': () => ({ iss: undefined }),
    'an issuer that is a list': () => ({ iss: [issuer.url] }),
    'another audience': () => ({ aud: 'other' }),
    'an audience that begins like ours': () => ({ aud: 'registry.evil' }),
    'no audience': () => ({ aud: undefined }),
    'no audience in the list': () => ({ aud: [] }),
    'an audience that is an object': () => ({ aud: { registry: true } }),
    'a huge token': () => ({ filler: 'x'.repeat(16_384) }),
  };
  for (const [what, claims] of Object.entries(table)) {
    it(what, async (t) => {
      const { verifier } = await open(t);
      const credentials = bearerCredentials(await issuer.sign({}, good(claims())));
      assert.equal(verifier.recognises?.(credentials), false);
      assert.equal(await verifier.verify(credentials, o), undefined);
    });
  }

  it('a slash more in the issuer is told, once in a while', async (t) => {
    const { verifier, clock, log } = await open(t);
    const credentials = bearerCredentials(await issuer.sign({}, good({ iss: `${issuer.url}/` })));
    for (let i = 0; i < 5; i++) await verifier.verify(credentials, o);
    assert.equal(log.at('info').length, 1, log.text);
    assert.match(log.text, /differs by a slash/);
    clock.advance(61_000);
    await verifier.verify(credentials, o);
    assert.equal(log.at('info').length, 2, log.text);
  });

  it('other audiences are told, once in a while, and not at any length', async (t) => {
    const { verifier, log } = await open(t);
    const aud = [
      'https://api.example.com',
      '\n'.repeat(3000),
      ...Array.from({ length: 100 }, (_, i) => `${i}`),
    ];
    const credentials = bearerCredentials(await issuer.sign({}, good({ aud })));
    for (let i = 0; i < 5; i++) await verifier.verify(credentials, o);
    assert.equal(log.at('info').length, 1, log.text);
    assert.match(log.text, /https:\/\/api\.example\.com/);
    assert.match(log.text, /"expected":\["registry"/);
    assert.ok(log.text.length < 1500, `a line of ${log.text.length} characters`);
  });
});

describe('tokens that somebody else made', () => {
  const key = () => issuer.keys[0] ?? {};
  const table: Record<string, { token: () => Promise<string>; reason: RegExp }> = {
    'signed by another key of the same kid': {
      token: async () =>
        new SignJWT(good())
          .setProtectedHeader({ alg: 'RS256', kid: key().kid ?? '' })
          .sign(await privateKey('RS256')),
      reason: /signature is wrong/,
    },
    'signed by a key that it brings along': {
      token: async () => {
        const own = await privateKey('RS256');
        const { kty, n, e } = own;
        const header = { alg: 'RS256', kid: key().kid ?? '', jwk: { kty, n, e } } as { alg: string };
        return new SignJWT(good()).setProtectedHeader(header).sign(own);
      },
      reason: /signature is wrong/,
    },
    'signed by a key that it brings along, under its own kid': {
      token: async () => {
        const own = await privateKey('ES256');
        const { kty, crv, x, y } = own;
        const header = { alg: 'ES256', kid: own.kid, jwk: { kty, crv, x, y } } as { alg: string };
        return new SignJWT(good()).setProtectedHeader(header).sign(own);
      },
      reason: /no key of its issuer/,
    },
    'HS256 with the public key as the secret': {
      token: async () => {
        const pem = createPublicKey({ key: key() as never, format: 'jwk' }).export({
          type: 'spki',
          format: 'pem',
        });
        return new SignJWT(good())
          .setProtectedHeader({ alg: 'HS256', kid: key().kid ?? '' })
          .sign(Buffer.from(pem as string));
      },
      reason: /algorithm/,
    },
    'another algorithm than the key is for': {
      token: async () => {
        const other = await importJWK({ ...key(), alg: 'PS256' }, 'PS256');
        return new SignJWT(good()).setProtectedHeader({ alg: 'PS256', kid: key().kid ?? '' }).sign(other);
      },
      reason: /no key of its issuer/,
    },
    'an extension that must be understood': {
      token: () => issuer.sign({ crit: ['b64'], b64: true }, good()),
      reason: /crit/,
    },
    'a logout token': { token: () => issuer.sign({ typ: 'logout+jwt' }, good()), reason: /typ/ },
    'a type that is no text': { token: () => issuer.sign({ typ: 7 }, good()), reason: /typ/ },
    'altered claims': {
      token: async () => {
        const [header, , signature] = (await issuer.sign({}, good())).split('.');
        const payload = Buffer.from(JSON.stringify(good({ sub: 'admin' }))).toString('base64url');
        return `${header}.${payload}.${signature}`;
      },
      reason: /signature is wrong/,
    },
  };
  for (const [what, { token, reason }] of Object.entries(table)) {
    it(`${what}: refused`, async (t) => {
      const { verifier } = await open(t);
      const text = await token();
      const error = await rejectsWith(() => verifier.verify(bearerCredentials(text), o), 'UNAUTHORIZED');
      assert.match(error.reason ?? '', reason);
    });
  }

  it('without a signature: nobody’s', async (t) => {
    const { verifier } = await open(t);
    const [header, payload] = new UnsecuredJWT({ ...good() }).encode().split('.');
    assert.equal(await verifier.verify(bearerCredentials(`${header}.${payload}.`), o), undefined);
    const credentials = bearerCredentials(`${header}.${payload}.AAAA`);
    const error = await rejectsWith(() => verifier.verify(credentials, o), 'UNAUTHORIZED');
    assert.match(error.reason ?? '', /algorithm/);
  });

  it('types of identity and access tokens are taken', async (t) => {
    const { verifier } = await open(t);
    for (const typ of ['JWT', 'jwt', 'at+jwt', 'application/at+jwt', 'JOSE']) {
      const token = await issuer.sign({ typ }, good());
      assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice', typ);
    }
  });
});

describe('key ids', () => {
  it('may be missing where the issuer has one key, and must not where it has several', async (t) => {
    for (const [algorithms, isTaken] of [
      [['RS256'], true],
      [['RS256', 'ES256'], true],
      [['RS256', 'RS256'], false],
    ] as const) {
      const several = await startMockIssuer(algorithms);
      t.after(() => several.close());
      const { verifier } = await openOidc(t, { issuer: several.url, audiences: ['registry'] });
      const token = await several.sign({ kid: undefined }, good({ iss: several.url }));
      const verdict = verifier.verify(bearerCredentials(token), o);
      if (isTaken) assert.equal((await verdict)?.name, 'alice', `${algorithms}`);
      else assert.match((await rejectsWith(() => verdict, 'UNAUTHORIZED')).reason ?? '', /\(kid\)/);
    }
  });

  it('that are unknown do not flood the issuer', async (t) => {
    const own = await startMockIssuer();
    t.after(() => own.close());
    const { verifier, clock } = await openOidc(t, { issuer: own.url, audiences: ['registry'] });
    await verifier.verify(bearerCredentials(await own.sign({}, good({ iss: own.url }))), o);
    const asked = own.requests.length;
    const flood = async () => {
      for (let i = 0; i < 30; i++) {
        const token = await own.sign({ kid: `unknown-${i}` }, good({ iss: own.url }));
        await rejectsWith(() => verifier.verify(bearerCredentials(token), o), 'UNAUTHORIZED');
      }
    };
    await flood();
    assert.equal(own.requests.length, asked, 'it was asked just now');
    clock.advance(6_000);
    await flood();
    assert.equal(own.requests.length, asked + 2, 'once: discovery and keys');
  });
});

describe('each algorithm', () => {
  for (const alg of ['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA']) {
    it(alg, async (t) => {
      const one = await startMockIssuer([alg]);
      t.after(() => one.close());
      const { verifier } = await openOidc(t, { issuer: one.url, audiences: ['registry'] });
      const token = await one.sign({}, good({ iss: one.url }));
      assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice');
    });
  }
});
