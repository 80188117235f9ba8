import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { FakeTokenIssuer } from '../testing/fake-token-issuer.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import type { ProviderTokens } from './open-id-client.js';
import { RecheckByProvider, RecheckByVerifier } from './recheck.js';
import type { SignedInRecord } from './signed-in-records.js';

const o = { signal: new AbortController().signal };
const person = { verifier: 'corp', name: 'alice' };
const known: SignedInRecord = {
  ...{ ...person, groups: ['dev'], attributes: {}, signedInAt: 0, checkedAt: 0 },
};
const alice: Principal = { ...person, kind: 'human', groups: ['ops'], attributes: {} };

function setUp(answer: ProviderTokens | 'gone' | Error, verify: () => Promise<Principal | undefined>) {
  const issuer = new FakeTokenIssuer();
  const shown: string[] = [];
  const client = {
    refresh: async (token: Secret) => {
      shown.push(token.reveal());
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  const verifier: Verifier = { verify, close: async () => {} };
  const recheck = new RecheckByProvider(client, verifier, issuer);
  const record = { ...known, refreshToken: recheck.seal(new Secret('first'), person) };
  /** What is sealed now, by what it is shown as next time. */
  const next = async (refreshToken: string | undefined) => {
    if (refreshToken === undefined) return undefined;
    await recheck.run({ ...known, refreshToken }, o);
    return shown.at(-1);
  };
  return { recheck, record, shown, next };
}

const both = { idToken: new Secret('id'), refreshToken: new Secret('second') };
const fail = (error: Error) => async () => Promise.reject(error);

describe('a look-up at the provider', () => {
  for (const [what, answer, verify, kind, kept] of [
    ['a new ID token', both, async () => alice, 'present', 'second'],
    ['no new refresh token', { idToken: both.idToken }, async () => alice, 'present', 'first'],
    ['no ID token', { refreshToken: both.refreshToken }, async () => assert.fail('x'), 'unchanged', 'second'],
    ['an ID token that is nobody’s', both, async () => undefined, 'failed', 'second'],
    ['a verifier without keys', both, fail(new RegistryError('UNAVAILABLE')), 'failed', 'second'],
    ['an ID token that is refused', both, fail(new RegistryError('UNAUTHORIZED')), 'ended', 'second'],
    ['another name', both, async () => ({ ...alice, name: 'bob' }), 'ended', 'second'],
    ['another verifier’s', both, async () => ({ ...alice, verifier: 'other' }), 'ended', 'second'],
    ['a machine', both, async () => ({ ...alice, kind: 'machine' as const }), 'ended', 'second'],
    ['a refusal', 'gone' as const, async () => alice, 'ended', undefined],
    ['no answer', new RegistryError('UNAVAILABLE'), async () => alice, 'failed', undefined],
  ] as const) {
    it(`with ${what} is ${kind}, and keeps the refresh token to use next`, async () => {
      const { recheck, record, shown, next } = setUp(answer, verify);
      const { outcome, refreshToken } = await recheck.run(record, o);
      assert.equal(outcome.kind, kind);
      assert.deepEqual(shown, ['first']);
      assert.notEqual(refreshToken, record.refreshToken);
      assert.equal(await next(refreshToken), kept);
    });
  }

  it('can be made where there is a refresh token, of this person, sealed with these keys', async () => {
    const { recheck, record, shown } = setUp(both, async () => alice);
    assert.equal(recheck.canBeUsed(known), false);
    assert.equal(recheck.canBeUsed(record), true);
    assert.ok(!record.refreshToken.includes('first'), 'it can be read');
    const others = setUp(both, async () => alice).record;
    for (const one of [others, { ...record, name: 'bob' }, { ...record, refreshToken: 'x' }]) {
      assert.equal((await recheck.run(one, o)).outcome.kind, 'ended');
    }
    assert.deepEqual(shown, []);
  });

  it('hides no bug', async () => {
    const { recheck, record } = setUp(both, fail(new TypeError('a bug')));
    await assert.rejects(recheck.run(record, o), /a bug/);
  });
});

describe('a look-up by the verifier', () => {
  it('finds the person as they are, not somebody else, and says where it cannot tell', async () => {
    const verifier = new FakeVerifier('corp', { alice: { groups: ['ops'] } });
    const recheck = new RecheckByVerifier(verifier);
    const kind = async () => (await recheck.run(known, o)).outcome.kind;
    assert.deepEqual((await recheck.run(known, o)).outcome, { kind: 'present', who: alice });
    verifier.users.set('alice', { kind: 'machine' });
    assert.equal(await kind(), 'absent');
    verifier.users.delete('alice');
    assert.equal(await kind(), 'absent');
    verifier.broken = true;
    assert.equal(await kind(), 'failed');
  });
});
