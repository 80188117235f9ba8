import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StateStore } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../testing/conformance/verifier.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { RefreshTokens } from '../token/refresh-tokens.js';
import { PersonalAccessTokenVerifier } from './personal-access-token-verifier.js';
import { PersonalAccessTokens } from './personal-access-tokens.js';
import { PersonalTokensAdministration } from './personal-tokens-administration.js';
import { RecheckByVerifier } from './recheck.js';
import { SignedInPeople } from './signed-in-people.js';

const o = { signal: new AbortController().signal };
const hour = 3_600_000;
const day = 24 * hour;
const alice = { verifier: 'corp', name: 'alice' };
const lives = { session: day, maxLife: 90 * day };

async function setUp() {
  const clock = new FakeClock();
  const memory = new MemoryStateStore(clock);
  const broken = { state: false };
  const state = new Proxy(memory, {
    get: (target, name: keyof StateStore) => {
      const method = target[name] as (...given: unknown[]) => Promise<unknown>;
      return (...given: unknown[]) =>
        broken.state ? Promise.reject(new RegistryError('UNAVAILABLE')) : method.apply(target, given);
    },
  }) as StateStore;
  const corp = new FakeVerifier('corp', { alice: { groups: ['dev'], attributes: { team: 'red' } } });
  const tokens = new PersonalAccessTokens(state, clock, { maxLife: 90 * day, perPrincipal: 20 });
  const people = new SignedInPeople({
    ...{ state, clock, log: new FakeLog(), recheck: new RecheckByVerifier(corp) },
    limits: { life: 91 * day, recheck: hour },
  });
  await people.remember(
    { ...alice, kind: 'human', groups: ['dev'], attributes: { team: 'red' } },
    undefined,
    o,
  );
  const { token, details } = await tokens.create(alice, { label: 'laptop', life: 30 * day }, o);
  const verifier = new PersonalAccessTokenVerifier('corp', tokens, people);
  const administration = new PersonalTokensAdministration(memory, clock, lives);
  return { clock, state: memory, broken, corp, tokens, people, token, details, verifier, administration };
}

describeVerifierConformance('personal access tokens', async () => {
  const { broken, token, details, verifier } = await setUp();
  const principal = {
    ...{ name: 'alice', kind: 'human' as const, groups: ['dev'], attributes: { team: 'red' } },
    expiresAt: details.expiresAt,
  };
  const text = token.reveal();
  return {
    ...{ id: 'corp', verifier },
    valid: [
      { credentials: passwordCredentials('alice', text), principal },
      { credentials: passwordCredentials('anybody', text), principal },
      { credentials: bearerCredentials(text), principal },
    ],
    invalid: [
      passwordCredentials('alice', `drp_pat_${'a'.repeat(43)}`),
      passwordCredentials('alice', text.slice(0, -1)),
      passwordCredentials('alice', `${text}a`),
      passwordCredentials('alice', `${text}\n`),
      bearerCredentials('drp_pat_'),
    ],
    foreign: [
      passwordCredentials('alice', 'wonderland'),
      passwordCredentials('drp_pat_', 'wonderland'),
      passwordCredentials('alice', text.toUpperCase()),
      passwordCredentials('alice', ` ${text}`),
      bearerCredentials('drp_refresh_'),
    ],
    break: () => {
      broken.state = true;
    },
  };
}, [
  'recheck finds a principal it vouched for, and not one that is gone',
  'recheck is UNAVAILABLE where it cannot find out',
]);

describe('the verifier of personal access tokens', () => {
  it('recognises what begins like a token, and asks nobody for the rest', async () => {
    const { verifier, token, corp } = await setUp();
    assert.equal(verifier.recognises(passwordCredentials('x', token.reveal())), true);
    assert.equal(verifier.recognises(passwordCredentials('x', 'drp_pat_half')), true);
    await verifier.verify(passwordCredentials('alice', token.reveal()), o);
    assert.deepEqual(corp.asked, []);
  });

  it('has groups looked up again; whoever is gone is refused, and taken again once they are back', async () => {
    const { clock, corp, verifier, token } = await setUp();
    const shown = passwordCredentials('alice', token.reveal());
    corp.users.set('alice', { groups: ['ops'] });
    assert.deepEqual((await verifier.verify(shown, o))?.groups, ['dev']);
    clock.advance(hour);
    assert.deepEqual((await verifier.verify(shown, o))?.groups, ['ops']);
    corp.users.delete('alice');
    clock.advance(hour);
    await assert.rejects(verifier.verify(shown, o), { code: 'UNAUTHORIZED' });
    corp.users.set('alice', { groups: ['back'] });
    assert.deepEqual((await verifier.verify(shown, o))?.groups, ['back']);
    corp.users.set('alice', { kind: 'machine' });
    clock.advance(hour);
    await assert.rejects(verifier.verify(shown, o), { code: 'UNAUTHORIZED' });
  });

  it('takes no token of another verifier than the one people sign in with', async () => {
    const { tokens, people, token } = await setUp();
    const verifier = new PersonalAccessTokenVerifier('other', tokens, people);
    await assert.rejects(verifier.verify(passwordCredentials('alice', token.reveal()), o), {
      ...{ code: 'UNAUTHORIZED', reason: /of corp, which is not signIn\.verifier/ },
    });
  });

  it('gives a principal that gets no refresh token', async () => {
    const { clock, state, corp, verifier, token } = await setUp();
    const who = await verifier.verify(passwordCredentials('alice', token.reveal()), o);
    const refreshTokens = new RefreshTokens(state, corp, clock, { idle: day, absolute: day });
    assert.ok(who, 'it was not taken');
    assert.equal(await refreshTokens.issue(who, 'docker.test', o), undefined);
    const { credentialVersion: _, ...plain } = who;
    assert.ok(await refreshTokens.issue(plain, 'docker.test', o), 'not for want of the credential version');
  });

  it('notes the use', async () => {
    const { clock, verifier, tokens, token } = await setUp();
    await verifier.verify(bearerCredentials(token.reveal()), o);
    assert.equal((await tokens.list(alice, o))[0]?.usedAt, clock.now());
  });
});

describe('the administration of personal access tokens', () => {
  it('lists those that are good, by person, and never a token or a whole hash', async () => {
    const { clock, state, tokens, token, administration, details } = await setUp();
    clock.advance(1);
    await tokens.create({ verifier: 'corp', name: 'bob' }, { label: 'b', life: day }, o);
    await tokens.create(alice, { label: 'second', life: day }, o);
    await state.put('personal-token/0123456789abcdef', '{', o);
    const { tokens: listed, unreadable } = await administration.list(o);
    assert.deepEqual(unreadable, ['0123456789ab']);
    assert.deepEqual(
      listed.map(({ name, label }) => [name, label]),
      [
        ['alice', 'laptop'],
        ['alice', 'second'],
        ['bob', 'b'],
      ],
    );
    assert.deepEqual(listed[0], { ...details, ...alice });
    assert.ok(!JSON.stringify(listed).includes(token.reveal().slice(8)), 'a token is listed');
    assert.doesNotMatch(JSON.stringify(listed), /[0-9a-f]{14}/); // a time has 13 digits
  });

  it('ends all of a person’s, forgets their sign-in, and nobody else’s', async () => {
    const { clock, state, tokens, people, verifier, token, administration } = await setUp();
    const bob = { verifier: 'corp', name: 'bob' };
    const { token: bobs } = await tokens.create(bob, { label: 'b', life: day }, o);
    await people.remember({ ...bob, kind: 'human', groups: [], attributes: {} }, 'sealed', o);
    assert.equal(await administration.revokePrincipal(alice, o), 1);
    await assert.rejects(verifier.verify(bearerCredentials(token.reveal()), o), { code: 'UNAUTHORIZED' });
    assert.equal((await verifier.verify(bearerCredentials(bobs.reveal()), o))?.name, 'bob');
    assert.equal(await people.isKnown(alice, o), false);
    assert.deepEqual(await tokens.list(alice, o), []);
    assert.equal((await state.list('signed-in/', o)).length, 1);
    assert.equal(await administration.revokePrincipal(alice, o), 0);
    clock.advance(1);
    await people.remember({ ...alice, kind: 'human', groups: [], attributes: {} }, undefined, o);
    const again = await tokens.create(alice, { label: 'again', life: day }, o);
    assert.equal((await verifier.verify(bearerCredentials(again.token.reveal()), o))?.name, 'alice');
  });

  it('ends one by its id, also where the proxy writes it back that moment', async () => {
    const { state, verifier, token, details, administration } = await setUp();
    const [entry] = await state.list('personal-token/', o);
    assert.deepEqual(
      (await administration.revokeById(details.id, o)).map(({ id }) => id),
      [details.id],
    );
    await state.put(entry?.key ?? '', entry?.value ?? '', o);
    await assert.rejects(verifier.verify(bearerCredentials(token.reveal()), o), { code: 'UNAUTHORIZED' });
    assert.deepEqual(await administration.revokeById(details.id, o), []);
  });

  it('knows that tokens live shorter now', async () => {
    const { clock, state, details } = await setUp();
    const shorter = new PersonalTokensAdministration(state, clock, { ...lives, maxLife: 7 * day });
    const [listed] = (await shorter.list(o)).tokens;
    assert.equal(listed?.expiresAt, details.createdAt + 7 * day);
    clock.advance(7 * day);
    assert.deepEqual((await shorter.list(o)).tokens, []);
    assert.equal((await shorter.revokeById(details.id, o)).length, 1, 'it cannot be ended for good');
    const [revocation] = await state.list('revoked-token/', o);
    assert.ok((revocation?.expiresAt ?? 0) >= details.expiresAt, 'its record may outlive the revocation');
  });

  it('holds where this clock is behind the proxy’s', async () => {
    const { clock, state, tokens, token } = await setUp();
    const behind = new PersonalTokensAdministration(state, new FakeClock(clock.now() - day), lives);
    const entries = await state.list('personal-token/', o);
    await behind.revokePrincipal(alice, o);
    for (const { key, value } of entries) await state.put(key, value, o);
    await assert.rejects(tokens.find(new Secret(token.reveal()), o), { code: 'UNAUTHORIZED' });
  });
});
