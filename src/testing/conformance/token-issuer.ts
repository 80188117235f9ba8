import assert from 'node:assert/strict';
import type { Principal } from '../../contracts/principal.js';
import type { TokenIssuer } from '../../contracts/token-issuer.js';
import { parseScope, type Scope } from '../../reference/scope.js';
import { Secret } from '../../secret.js';
import {
  closesTwice,
  closing,
  keepsSecret,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
  suite,
} from './suite.js';

export interface TokenIssuerSubject {
  readonly issuer: TokenIssuer;
  /** Milliseconds since the epoch, by the issuer's clock. */
  now(): number;
  /** Lets so many milliseconds pass for the issuer. */
  advance(milliseconds: number): Promise<void> | void;
}

const call = { ...options(), service: 'docker.example.com' };
const alice: Principal = {
  verifier: 'corp',
  name: 'alice',
  kind: 'human',
  groups: ['developers', 'grüße, "quoted" & <odd>'],
  attributes: { accountId: '123456789012', admin: true, level: 3, teams: ['a', 'b'] },
};
const grants: readonly Scope[] = [
  'repository:my/app:pull,push',
  'registry:catalog:*',
  'repository:other:pull',
].flatMap((text) => parseScope(text) ?? []);

/** What every TokenIssuer promises. */
export function describeTokenIssuerConformance(name: string, make: MakeSubject<TokenIssuerSubject>): void {
  suite(
    `TokenIssuer conformance: ${name}`,
    closing(make, ({ issuer }) => issuer),
    { ...opening, ...deriving, ...refusing },
  );
}

const opening: Record<string, SubjectTest<TokenIssuerSubject>> = {
  'a token opens to the principal and the grants it was made from': async ({ issuer, now }) => {
    const before = now();
    const issued = await issuer.issue(alice, grants, call);
    const access = await issuer.open(issued.token, call);
    assert.deepEqual(access.grants, grants);
    assert.deepEqual({ ...access.principal, expiresAt: undefined }, { ...alice, expiresAt: undefined });
    assert.ok(Number.isInteger(issued.expiresIn) && issued.expiresIn >= 60, 'expiresIn is under 60 seconds');
    assert.ok(issued.issuedAt >= before - 1000 && issued.issuedAt <= now(), 'issuedAt is not now');
    assert.ok(
      access.expiresAt > now() && access.expiresAt <= issued.issuedAt + issued.expiresIn * 1000 + 1000,
      'expiresAt does not fit expiresIn',
    );
  },
  'a token may carry no grant, and be anonymous or a machine’s': async ({ issuer }) => {
    for (const kind of ['anonymous', 'machine'] as const) {
      const who: Principal = { verifier: 'x', name: 'y', kind, groups: [], attributes: {} };
      const { token } = await issuer.issue(who, [], call);
      const access = await issuer.open(token, call);
      assert.deepEqual([access.principal.kind, access.grants], [kind, []]);
    }
  },
  'a principal’s own expiry caps the token': async ({ issuer, now, advance }) => {
    const { token, expiresIn } = await issuer.issue({ ...alice, expiresAt: now() + 90_000 }, grants, call);
    assert.ok(expiresIn <= 90, 'it outlives the principal');
    await advance(91_000);
    await rejectsWith(() => issuer.open(token, call), 'UNAUTHORIZED');
  },
  'the token is a secret, and its characters fit into a header': async ({ issuer }) => {
    const issued = await issuer.issue(alice, grants, call);
    keepsSecret(issued, issued.token.reveal());
    assert.match(issued.token.reveal(), /^[A-Za-z0-9._~+/-]+=*$/); // RFC 6750 section 2.1
  },
  'public keys hold nothing private': ({ issuer }) => {
    const { jwks, certificates } = issuer.publicKeys();
    for (const key of jwks.keys) {
      const secret = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].filter((member) => member in key); // RFC 7518 6
      assert.deepEqual(secret, []);
    }
    assert.doesNotMatch(certificates, /PRIVATE/);
    return Promise.resolve();
  },
};

const deriving: Record<string, SubjectTest<TokenIssuerSubject>> = {
  'derived keys are 32 bytes, stay the same, and are others for another purpose': ({ issuer }) => {
    const hex = (purpose: string) =>
      issuer.derivedKeys(purpose).map((key) => Buffer.from(key).toString('hex'));
    const keys = hex('uploads');
    assert.ok(keys.length > 0, 'no key');
    for (const key of keys) assert.match(key, /^[0-9a-f]{64}$/);
    assert.deepEqual(hex('uploads'), keys);
    assert.ok(!hex('sessions').some((key) => keys.includes(key)), 'two purposes share a key');
    return Promise.resolve();
  },
};

const refusing: Record<string, SubjectTest<TokenIssuerSubject>> = {
  'a token for another service is invalid': async ({ issuer }) => {
    const { token } = await issuer.issue(alice, grants, call);
    await refused(issuer, token, { ...call, service: 'other.example.com' });
    await refused(issuer, token, { ...call, service: '' });
  },
  'an expired token is invalid': async ({ issuer, advance }) => {
    const { token, expiresIn } = await issuer.issue(alice, grants, call);
    await advance(expiresIn * 1000 + 61_000);
    await refused(issuer, token, call);
  },
  'what it did not make is invalid': async ({ issuer }) => {
    const { token } = await issuer.issue(alice, grants, call);
    const real = token.reveal();
    const flipped = (at: number) =>
      `${real.slice(0, at)}${real[at] === 'A' ? 'B' : 'A'}${real.slice(at + 1)}`;
    const middle = Math.floor(real.length / 2);
    const forged = [
      '',
      'x',
      'a.b.c',
      `${real}x`,
      real.slice(1),
      flipped(2),
      flipped(middle),
      flipped(real.length - 20),
    ];
    const payload = Buffer.from('{"aud":"docker.example.com"}').toString('base64url');
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
    for (const text of [...forged, unsigned]) await refused(issuer, new Secret(text), call);
  },
  'an expired principal gets no token': async ({ issuer, now }) => {
    await rejectsWith(() => issuer.issue({ ...alice, expiresAt: now() - 1 }, grants, call), 'UNAUTHORIZED');
  },
  'an aborted call rejects with the reason': async ({ issuer }) => {
    const { service } = call;
    const { token } = await issuer.issue(alice, grants, call);
    await rejectsWhenAborted((aborted) => issuer.issue(alice, grants, { ...aborted, service }));
    await rejectsWhenAborted((aborted) => issuer.open(token, { ...aborted, service }));
  },
  'it can be closed twice': ({ issuer }) => closesTwice(issuer),
};

async function refused(issuer: TokenIssuer, token: Secret, o: typeof call): Promise<void> {
  const error = await rejectsWith(() => issuer.open(token, o), 'UNAUTHORIZED');
  assert.equal(error.bearerError, 'invalid_token');
  if (token.reveal().length > 20) keepsSecret(error, token.reveal());
}
