import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { decodeJwt, decodeProtectedHeader, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose';
import type { Principal, TokenIssuer } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseScope, type Scope } from '../reference/scope.js';
import { Secret } from '../secret.js';
import { describeTokenIssuerConformance } from '../testing/conformance/token-issuer.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { requireProgram } from '../testing/programs.js';
import { certifyNewKey, createAuthority } from './certificate-authority.js';
import { driver } from './jwt.js';

const service = 'docker.example.com';
const o = { signal: new AbortController().signal, service };
const issuerUrl = 'https://docker.example.com';
const alice: Principal = {
  verifier: 'corp',
  name: 'alice',
  kind: 'human',
  groups: ['dev'],
  attributes: { accountId: '1', level: 2, admin: true, teams: ['x'] },
};
const grants: readonly Scope[] = ['repository:a/b:pull,push', 'registry:catalog:*'].flatMap(
  (text) => parseScope(text) ?? [],
);

interface Settings {
  readonly directory?: string;
  readonly clock?: FakeClock;
  readonly issuer?: string;
  readonly config?: unknown;
}

async function open(t: TestContext, settings: Settings = {}) {
  const directory = settings.directory ?? mkdtempSync(join(tmpdir(), 'jwt-'));
  if (settings.directory === undefined) t.after(() => rmSync(directory, { recursive: true }));
  const clock = settings.clock ?? new FakeClock();
  const log = new FakeLog();
  const issuer = await driver.open(driver.config.parse(settings.config ?? { keys: { directory: 'keys' } }), {
    id: 'token',
    baseDirectory: directory,
    clock,
    log,
    metrics: new FakeMetrics(),
    issuer: settings.issuer ?? issuerUrl,
  });
  t.after(() => issuer.close());
  return { issuer, clock, directory, log, keys: join(directory, 'keys') };
}

async function refused(issuer: TokenIssuer, token: string, options = o): Promise<void> {
  await assert.rejects(issuer.open(new Secret(token), options), {
    code: 'UNAUTHORIZED',
    status: 401,
    bearerError: 'invalid_token',
  });
}

/** A copy of the private key that signs, as only the machine itself has it. */
function signingKeyIn(keys: string): KeyObject {
  const [file = ''] = readdirSync(keys).filter((name) => name.startsWith('signing-'));
  return createPrivateKey(readFileSync(join(keys, file)));
}

function ecKey(curve: string): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function rsaKey(modulusLength: number): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

async function openSupplied(t: TestContext, pems: readonly string[], clock = new FakeClock()) {
  const directory = mkdtempSync(join(tmpdir(), 'jwt-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const files = pems.map((_, i) => `${i}.pem`);
  for (const [i, pem] of pems.entries()) writeFileSync(join(directory, `${i}.pem`), pem);
  return open(t, { directory, clock, config: { keys: { files } } });
}

for (const [name, make] of [
  ['ephemeral keys', (t: TestContext) => open(t, { config: {} })],
  ['generated keys', (t: TestContext) => open(t)],
  ['a supplied EC key', (t: TestContext) => openSupplied(t, [ecKey('P-384')])],
  ['a supplied RSA key', (t: TestContext) => openSupplied(t, [rsaKey(2048)])],
] as const) {
  describeTokenIssuerConformance(`jwt with ${name}`, async (t) => {
    const { issuer, clock } = await make(t);
    return { issuer, now: () => clock.now(), advance: (milliseconds) => clock.advance(milliseconds) };
  });
}

describe('a token', () => {
  it('has the claims of distribution’s jwt.md', async (t) => {
    const { issuer, clock } = await open(t);
    const now = clock.now() / 1000;
    const { token, issuedAt, expiresIn } = await issuer.issue(alice, grants, o);
    const { jti, ...claims } = decodeJwt(token.reveal());
    assert.deepEqual(claims, {
      iss: issuerUrl,
      sub: 'corp:alice',
      aud: service,
      exp: now + 300,
      nbf: now - 10,
      iat: now,
      access: [
        { type: 'repository', name: 'a/b', actions: ['pull', 'push'] },
        { type: 'registry', name: 'catalog', actions: ['*'] },
      ],
      principal: alice,
    });
    assert.deepEqual({ issuedAt, expiresIn }, { issuedAt: clock.now(), expiresIn: 300 });
    const other = decodeJwt((await issuer.issue(alice, grants, o)).token.reveal());
    assert.ok(
      jti !== undefined && jti.length >= 16 && other.jti !== jti,
      'jti !== undefined && jti.length >= 16 && other.jti !== jti',
    );
  });

  it('never carries a credential version, nor anything else that is not named', async (t) => {
    const { issuer } = await open(t);
    const more = { ...alice, credentialVersion: 'version-1', note: 'private' };
    const { token } = await issuer.issue(more, grants, o);
    assert.deepEqual(decodeJwt(token.reveal()).principal, alice);
    assert.deepEqual(Object.keys((await issuer.open(token, o)).principal).sort(), [
      ...['attributes', 'expiresAt', 'groups', 'kind', 'name', 'verifier'],
    ]);
  });

  it('that would be too long to be taken is not issued', async (t) => {
    const { issuer } = await open(t);
    const scopes = (count: number): readonly Scope[] =>
      Array.from(
        { length: count },
        (_, i) => parseScope(`repository:${'a'.repeat(200)}/${i}:pull`) ?? [],
      ).flat();
    let longest = 0;
    for (let count = 0; count <= 100; count++) {
      try {
        const { token } = await issuer.issue(alice, scopes(count), o);
        longest = count;
        await issuer.open(token, o);
      } catch (error) {
        assert.ok(error instanceof RegistryError, 'error instanceof RegistryError');
        assert.deepEqual([error.code, error.message], ['DENIED', 'too many scopes']);
      }
    }
    assert(longest > 30 && longest < 60, `${longest} scopes`);
    const who = { ...alice, groups: Array.from({ length: 2_000 }, (_, i) => `group-${i}`) };
    await assert.rejects(issuer.issue(who, [], o), { code: 'DENIED', reason: /over 16384/ });
  });

  it('has an empty subject for anonymous', async (t) => {
    const { issuer } = await open(t);
    const { token } = await issuer.issue({ ...alice, name: 'anonymous', kind: 'anonymous' }, [], o);
    assert.equal(decodeJwt(token.reveal()).sub, '');
  });

  it('lives as long as it is configured to', async (t) => {
    const { issuer, clock } = await open(t, { config: { ttl: '60s', keys: { directory: 'keys' } } });
    const { token, expiresIn } = await issuer.issue(alice, grants, o);
    assert.equal(expiresIn, 60);
    clock.advance(59_999);
    await issuer.open(token, o);
    clock.advance(1);
    await refused(issuer, token.reveal());
  });

  it('never outlives its principal, whatever clients make of less than a minute', async (t) => {
    const { issuer, clock } = await open(t);
    const { token, expiresIn } = await issuer.issue({ ...alice, expiresAt: clock.now() + 30_000 }, grants, o);
    assert.equal(expiresIn, 60);
    const access = await issuer.open(token, o);
    assert.equal(access.expiresAt, clock.now() + 30_000);
    assert.equal(access.principal.expiresAt, clock.now() + 30_000);
    clock.advance(30_000);
    await refused(issuer, token.reveal());
    await assert.rejects(issuer.issue({ ...alice, expiresAt: clock.now() }, grants, o), {
      code: 'UNAUTHORIZED',
    });
  });

  it('is taken by a replica whose clock is a little behind', async (t) => {
    const { issuer, directory } = await open(t);
    const behind = await open(t, { directory, clock: new FakeClock(new FakeClock().now() - 10_000) });
    const { token } = await issuer.issue(alice, grants, o);
    await behind.issuer.open(token, o);
  });

  it('is verified once, and refused at its end and at another service all the same', async (t) => {
    const { issuer, clock } = await open(t, { config: { ttl: '60s' } });
    const { token } = await issuer.issue(alice, grants, o);
    const access = await issuer.open(token, o);
    assert.equal(await issuer.open(token, o), access);
    await refused(issuer, token.reveal(), { ...o, service: 'other.example.com' });
    await refused(issuer, `${token.reveal().slice(0, -2)}AA`);
    clock.advance(61_000);
    await refused(issuer, token.reveal());
  });

  it('names its key by the RFC 7638 thumbprint, and carries its certificate', async (t) => {
    const { issuer } = await open(t);
    const header = decodeProtectedHeader((await issuer.issue(alice, grants, o)).token.reveal());
    const [jwk] = issuer.publicKeys().jwks.keys;
    const { crv, kty, x, y } = jwk ?? {};
    const thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
    assert.equal(header.kid, thumbprint);
    assert.equal(jwk?.kid, thumbprint);
    assert.deepEqual([header.alg, header.typ, jwk?.alg, jwk?.use], ['ES256', 'JWT', 'ES256', 'sig']);
    assert.deepEqual(header.x5c, jwk?.x5c);
    assert.equal(header.x5c?.length, 1);
  });

  it('carries a certificate that ca.pem anchors', async (t) => {
    const { issuer, keys, directory } = await open(t);
    const { token } = await issuer.issue(alice, grants, o);
    const [der = ''] = decodeProtectedHeader(token.reveal()).x5c ?? [];
    const leaf = new X509Certificate(Buffer.from(der, 'base64'));
    const pem = readFileSync(join(keys, 'ca.pem'), 'utf8');
    const authority = new X509Certificate(pem);
    assert.ok(authority.ca && !leaf.ca, 'authority.ca && !leaf.ca');
    assert.ok(
      leaf.checkIssued(authority) && leaf.verify(authority.publicKey),
      'leaf.checkIssued(authority) && leaf.verify(authority.publicKey)',
    );
    assert.ok(authority.verify(authority.publicKey), 'authority.verify(authority.publicKey)');
    assert.equal(
      new X509Certificate(issuer.publicKeys().certificates).fingerprint256,
      authority.fingerprint256,
    );
    const [jwk] = issuer.publicKeys().jwks.keys;
    assert.ok(jwk, 'jwk');
    assert.ok(
      leaf.publicKey.equals(createPublicKey({ key: jwk, format: 'jwk' })),
      "leaf.publicKey.equals(createPublicKey({ key: jwk, format: 'jwk' }))",
    );

    const openssl = requireProgram(t, 'openssl', 'openssl');
    if (openssl === undefined) return;
    const file = join(directory, 'leaf.pem');
    writeFileSync(file, leaf.toString());
    const said = execFileSync(openssl, ['verify', '-x509_strict', '-CAfile', join(keys, 'ca.pem'), file], {
      encoding: 'utf8',
    });
    assert.equal(said, `${file}: OK\n`);
  });

  it('grants nothing that is no scope of ours', async (t) => {
    const { issuer, clock, keys } = await open(t);
    const key = signingKeyIn(keys);
    const access = [
      { type: 'repository', name: 'a/../b', actions: ['pull'] },
      { type: 'repository', name: 'A', actions: ['pull'] },
      { type: 'registry', name: 'other', actions: ['*'] },
      { type: 'repository', name: 'a', actions: ['pull', 'pull'] },
    ];
    const opened = await issuer.open(new Secret(await signed(issuer, key, clock, { access })), o);
    assert.deepEqual(opened.grants, [{ type: 'repository', name: 'a', actions: ['pull'] }]);
  });
});

/** A token as ours are, signed with this key. */
async function signed(
  issuer: TokenIssuer,
  key: KeyObject | Uint8Array,
  clock: FakeClock,
  claims: Readonly<Record<string, unknown>> = {},
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const now = clock.now() / 1000;
  const all = {
    iss: issuerUrl,
    sub: 'corp:alice',
    aud: service,
    exp: now + 300,
    nbf: now,
    iat: now,
    jti: 'x',
    access: [{ type: 'repository', name: 'a/b', actions: ['pull'] }],
    principal: alice,
    ...claims,
  };
  const payload = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new SignJWT(payload as JWTPayload)
    .setProtectedHeader({ alg: 'ES256', kid: ownKid(issuer), ...header })
    .sign(key);
}

function ownKid(issuer: TokenIssuer): string {
  return String(issuer.publicKeys().jwks.keys[0]?.kid);
}

describe('a forged token (threat 1)', () => {
  it('is told from one that was really signed like this', async (t) => {
    const { issuer, clock, keys } = await open(t);
    const { grants: granted } = await issuer.open(
      new Secret(await signed(issuer, signingKeyIn(keys), clock)),
      o,
    );
    assert.equal(granted.length, 1);
  });

  it('with any part changed is refused', async (t) => {
    const { issuer } = await open(t);
    const token = (await issuer.issue(alice, grants, o)).token.reveal();
    const [header = '', payload = '', signature = ''] = token.split('.');
    const changed = (part: string, change: object) =>
      Buffer.from(
        JSON.stringify({ ...JSON.parse(Buffer.from(part, 'base64url').toString()), ...change }),
      ).toString('base64url');
    for (const forged of [
      `${header}.${changed(payload, { sub: 'corp:root' })}.${signature}`,
      `${header}.${changed(payload, { exp: 9_999_999_999 })}.${signature}`,
      `${header}.${changed(payload, { aud: 'other.example.com' })}.${signature}`,
      `${changed(header, { typ: 'x' })}.${payload}.${signature}`,
      `${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature}.x`,
      'x'.repeat(20_000),
    ]) {
      await refused(issuer, forged);
    }
  });

  it('without a signature, alg none, is refused', async (t) => {
    const { issuer } = await open(t);
    const [, payload = ''] = (await issuer.issue(alice, grants, o)).token.reveal().split('.');
    for (const alg of ['none', 'None', 'NONE', '']) {
      for (const kid of [ownKid(issuer), undefined]) {
        const header = Buffer.from(JSON.stringify({ alg, kid })).toString('base64url');
        await refused(issuer, `${header}.${payload}.`);
      }
    }
  });

  it('with HS256 and our public key as the secret is refused', async (t) => {
    const { issuer, clock, keys } = await open(t);
    const publicKey = createPublicKey(signingKeyIn(keys));
    const [jwk] = issuer.publicKeys().jwks.keys;
    const [der = ''] = Array.isArray(jwk?.x5c) ? jwk.x5c.map(String) : [];
    for (const secret of [
      publicKey.export({ type: 'spki', format: 'pem' }),
      publicKey.export({ type: 'spki', format: 'der' }),
      JSON.stringify(jwk),
      Buffer.from(der, 'base64'),
      issuer.publicKeys().certificates,
      'x'.repeat(32),
    ]) {
      await refused(issuer, await signed(issuer, Buffer.from(secret), clock, {}, { alg: 'HS256' }));
    }
  });

  it('with a made-up key that it brings along is refused', async (t) => {
    const { issuer, clock } = await open(t);
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = publicKey.export({ format: 'jwk' });
    const { crv, kty, x, y } = jwk;
    const thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
    for (const header of [
      { jwk, kid: ownKid(issuer) },
      { jwk: { ...jwk, kid: ownKid(issuer) }, kid: ownKid(issuer) },
      { jwk, kid: thumbprint },
      { kid: thumbprint },
      { kid: ownKid(issuer) },
      { kid: ownKid(issuer), jku: 'http://127.0.0.1:1/jwks', x5u: 'http://127.0.0.1:1/x' },
    ]) {
      await refused(issuer, await signed(issuer, privateKey, clock, {}, header));
    }
  });

  it('with a certificate of another authority of the same name is refused', async (t) => {
    const { issuer, clock, keys } = await open(t);
    const authority = await createAuthority(clock.now());
    const made = await certifyNewKey(
      { privateKey: createPrivateKey(authority.privateKey), certificate: authority.certificate },
      clock.now(),
    );
    const der = (pem: string) => new X509Certificate(pem).raw.toString('base64');
    const own = readFileSync(join(keys, 'ca.pem'), 'utf8');
    for (const x5c of [
      [der(made.certificate)],
      [der(made.certificate), der(authority.certificate)],
      [der(made.certificate), der(own)],
    ]) {
      await refused(issuer, await signed(issuer, createPrivateKey(made.privateKey), clock, {}, { x5c }));
    }
  });

  it('with another algorithm than the key’s is refused, though that one is in use', async (t) => {
    const keys = [ecKey('P-256'), rsaKey(2048)];
    const { issuer, clock } = await openSupplied(t, keys);
    const rsa = createPrivateKey(keys[1] ?? '');
    const [ec, rsaJwk] = issuer.publicKeys().jwks.keys;
    const rs256 = (kid: unknown, alg = 'RS256') => signed(issuer, rsa, clock, {}, { alg, kid: String(kid) });
    await issuer.open(new Secret(await rs256(rsaJwk?.kid)), o);
    await refused(issuer, await rs256(ec?.kid));
    await refused(issuer, await rs256(rsaJwk?.kid, 'PS256'));
    await refused(issuer, await rs256(rsaJwk?.kid, 'RS512'));
  });

  for (const [name, claims] of [
    ['another issuer', { iss: 'https://evil.example' }],
    ['no issuer', { iss: undefined }],
    ['another audience', { aud: 'other.example.com' }],
    ['a longer audience', { aud: `${service}.evil.example` }],
    ['no audience', { aud: undefined }],
    ['no end', { exp: undefined }],
    ['an end that is over', { exp: 1 }],
    ['an end that is a text', { exp: '9999999999' }],
    ['a beginning to come', { nbf: 9_999_999_999 }],
    ['no time of issue', { iat: undefined }],
    ['no id', { jti: undefined }],
    ['no access', { access: undefined }],
    ['access that is none', { access: 'repository:a:pull' }],
    ['an unknown action', { access: [{ type: 'repository', name: 'a', actions: ['fly'] }] }],
    ['no principal', { principal: undefined }],
    ['a principal of no kind', { principal: { ...alice, kind: 'god' } }],
  ] as const) {
    it(`of our own key with ${name} is refused`, async (t) => {
      const { issuer, clock, keys } = await open(t);
      await refused(issuer, await signed(issuer, signingKeyIn(keys), clock, claims));
    });
  }

  it('of the same keys under another external URL is refused', async (t) => {
    const { directory, issuer } = await open(t);
    const other = await open(t, { directory, issuer: 'https://other.example.com' });
    await refused(issuer, (await other.issuer.issue(alice, grants, o)).token.reveal());
  });

  it('of another process with ephemeral keys is refused', async (t) => {
    const { issuer, log } = await open(t, { config: {} });
    const other = await open(t, { config: {} });
    await refused(issuer, (await other.issuer.issue(alice, grants, o)).token.reveal());
    assert.equal(log.at('warn').length, 1);
  });
});

describe('settings', () => {
  for (const [name, config, good] of [
    ['nothing', {}, true],
    ['a directory', { keys: { directory: 'keys' } }, true],
    ['files', { keys: { files: ['a.pem'] } }, true],
    ['both', { keys: { directory: 'keys', files: ['a.pem'] } }, false],
    ['no files', { keys: { files: [] } }, false],
    ['a secret', { keys: { secret: 'x' } }, false],
    ['less than a minute', { ttl: '59s' }, false],
    ['more than an hour', { ttl: '61m' }, false],
    [
      'an overlap of half the rotation',
      { keys: { directory: 'k', rotateEvery: '2d', overlap: '1d' } },
      false,
    ],
    ['an overlap of less', { keys: { directory: 'k', rotateEvery: '2d', overlap: '23h' } }, true],
    ['an overlap shorter than a token may live', { keys: { directory: 'k', overlap: '59m' } }, false],
  ] as const) {
    it(`${good ? 'takes' : 'refuses'} ${name}`, () =>
      assert.equal(driver.config.safeParse(config).success, good));
  }
});
