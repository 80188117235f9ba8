import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Revocations } from '../../src/revocation/revocations.js';
import { SignInError } from '../../src/sign-in/sign-in-error.js';
import { guestOf, o, type SignInSettings, startSignIn, startSignInProvider } from './harness/sign-in.js';

// What becomes of personal access tokens while a real OpenID provider changes its mind about people.

const hour = 3_600_000;
const day = 24 * hour;
const offline = 'scopes: [profile, groups, offline_access], tokens: { recheck: 1h }';
const inFiles = 'state: { type: file, path: state }';
const kept = `${inFiles}\ntoken: { keys: { directory: keys } }`;
const refused = { code: 'UNAUTHORIZED' };

async function setUp(t: TestContext, settings: SignInSettings = {}) {
  const provider = await startSignInProvider();
  t.after(() => provider.close());
  const proxy = await startSignIn(t, provider, { signIn: offline, ...settings });
  const signedIn = await proxy.signIn();
  const token = signedIn.issued?.token ?? assert.fail('no token');
  const alice = provider.accounts.get('alice') ?? assert.fail('no alice');
  const refreshes = () => provider.requests.filter((request) => request === 'POST /token').length - 1;
  return { provider, proxy, token, alice, refreshes, ...signedIn };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isSo(); i++) await sleep(10);
  assert.ok(isSo(), 'it never came to be so');
}

describe('a personal access token', () => {
  test('has the groups of the sign-in for a while, and then those of now', async (t) => {
    const { proxy, token, alice, refreshes } = await setUp(t);
    alice.claims.groups = ['guests'];
    assert.equal((await proxy.login(token)).granted, true, 'at once');
    assert.equal(refreshes(), 0);
    proxy.clock.advance(hour);
    assert.equal((await proxy.login(token)).granted, false, 'an hour later');
    alice.claims.groups = ['developers'];
    for (const [i, granted] of [true, true, true].entries()) {
      proxy.clock.advance(hour);
      assert.equal((await proxy.login(token)).granted, granted, `rotation ${i}`);
    }
    assert.equal(refreshes(), 4, 'each refresh token is used once');
  });

  test('ends with the account at the provider, until the next sign-in', async (t) => {
    const { provider, proxy, token, alice, refreshes } = await setUp(t);
    provider.accounts.delete('alice');
    proxy.clock.advance(hour);
    await assert.rejects(proxy.login(token), { ...refused, reason: /refresh token of the sign-in no more/ });
    provider.accounts.set('alice', alice);
    await assert.rejects(proxy.login(token), refused);
    assert.equal(refreshes(), 1, 'the provider is asked again and again');
    await proxy.signIn();
    assert.equal((await proxy.login(token)).granted, true);
  });

  test('ends where a claim that is required is gone', async (t) => {
    const { proxy, token, alice } = await setUp(t, { verifier: 'requiredClaims: { name: Alice }' });
    alice.claims.name = 'Mallory';
    proxy.clock.advance(hour);
    await assert.rejects(proxy.login(token), { ...refused, reason: /the claim name/ });
  });

  test('is not somebody else’s where the provider gives another name now', async (t) => {
    const { proxy, token, alice, session } = await setUp(t, { verifier: 'usernameClaim: name' });
    assert.equal(session.who.name, 'Alice');
    alice.claims.name = 'Administrator';
    proxy.clock.advance(hour);
    await assert.rejects(proxy.login(token), { ...refused, reason: /another name/ });
  });

  test('goes on while the provider is down, for a day beyond its time', async (t) => {
    const { provider, proxy, token, alice } = await setUp(t);
    alice.claims.groups = ['guests'];
    await provider.stop();
    proxy.clock.advance(hour);
    assert.equal((await proxy.login(token)).granted, true);
    assert.match(proxy.log.text, /cannot be looked up again/);
    proxy.clock.advance(day - 60_000);
    assert.equal((await proxy.login(token)).granted, true);
    proxy.clock.advance(60_000);
    await assert.rejects(proxy.login(token), { code: 'UNAVAILABLE', reason: /no answer from 127\.0\.0\.1/ });
    await provider.start();
    proxy.clock.advance(60_000);
    assert.equal((await proxy.login(token)).granted, false, 'the groups of now');
  });

  test('is what it was at the sign-in where the provider gives no refresh token', async (t) => {
    const { proxy, token, alice, provider, refreshes } = await setUp(t, { signIn: 'scopes: [groups]' });
    alice.claims.groups = ['guests'];
    provider.accounts.delete('bob');
    proxy.clock.advance(29 * day);
    assert.equal((await proxy.login(token)).granted, true);
    assert.equal(refreshes(), 0);
    proxy.clock.advance(day);
    await assert.rejects(proxy.login(token), refused);
  });

  test('gives docker no refresh token of ours', async (t) => {
    const { proxy, token } = await setUp(t, { others: `${inFiles}\ntoken: { refreshTokens: true }` });
    await proxy.login(token);
    assert.deepEqual(await (await guestOf(proxy)).list('refresh-token', o), []);
  });

  test('of many requests and two proxies uses the provider’s refresh token once', async (t) => {
    const { proxy, token, alice, refreshes } = await setUp(t);
    const other = await proxy.another(`${offline}, session: 2h`);
    assert.notEqual(other.service, proxy.service);
    assert.equal((await proxy.another(offline)).service, proxy.service, 'a reload without a change');
    alice.claims.groups = ['guests'];
    proxy.clock.advance(hour);
    const both = [proxy, other];
    const logins = await Promise.all(Array.from({ length: 12 }, (_, i) => both[i % 2]?.login(token)));
    assert.equal(logins.length, 12);
    assert.equal(refreshes(), 1);
    for (const one of both) assert.equal((await one.login(token)).granted, false);
    proxy.clock.advance(hour);
    alice.claims.groups = ['developers'];
    for (const one of both) assert.equal((await one.login(token)).granted, true, 'a rotated token was lost');
    assert.equal(refreshes(), 2);
  });

  test('has its refresh token stored also where the client has gone meanwhile', async (t) => {
    const { provider, proxy, token, alice, refreshes } = await setUp(t, { others: kept });
    proxy.clock.advance(hour);
    const gone = new AbortController();
    const left = proxy.login(token, { signal: gone.signal }).catch((error: Error) => error.message);
    await until(() => refreshes() === 1);
    gone.abort(new Error('gone'));
    await left;
    await proxy.close();
    const { directory, clock } = proxy;
    const restarted = await startSignIn(t, provider, { signIn: offline, others: kept, directory, clock });
    alice.claims.groups = ['guests'];
    clock.advance(hour);
    assert.equal((await restarted.login(token)).granted, false);
    assert.equal(refreshes(), 2);
  });

  test('and its session are another proxy’s as well, which shares keys and state', async (t) => {
    const { proxy, token, session, cookie } = await setUp(t);
    const other = await proxy.another(`${offline}, session: 2h`);
    assert.deepEqual(other.service.session(cookie)?.who, session.who);
    const { callback, sealed } = await proxy.attempt('bob');
    const { issued } = await other.service.finish(callback, sealed, o);
    assert.equal((await proxy.login(token)).granted, true);
    assert.equal((await other.login(token)).granted, true);
    assert.equal((await proxy.login(issued?.token ?? assert.fail('none'))).record.principal, 'corp:bob');
    const [listed] = await other.service.tokens(session, o);
    assert.equal(await other.service.revokeToken(session, listed?.id ?? '', o), true);
    await assert.rejects(proxy.login(token), refused);
  });

  for (const [what, others, isKept] of [
    ['with keys that are kept', kept, true],
    ['without', inFiles, false],
  ] as const) {
    test(`outlives a restart ${what}; ${isKept ? 'so does all else' : 'sessions and look-ups do not'}`, async (t) => {
      const { provider, proxy, token, cookie, alice } = await setUp(t, { others });
      await proxy.close();
      const { directory, clock } = proxy;
      const restarted = await startSignIn(t, provider, { signIn: offline, others, directory, clock });
      assert.equal(restarted.service.session(cookie) !== undefined, isKept, 'the session');
      assert.equal((await restarted.login(token)).granted, true);
      alice.claims.groups = ['guests'];
      clock.advance(hour);
      if (isKept) return assert.equal((await restarted.login(token)).granted, false);
      await assert.rejects(restarted.login(token), { ...refused, reason: /sealed with other keys/ });
    });
  }

  test('is good, and none is made, where the state cannot be written', async (t) => {
    const { proxy, token, session } = await setUp(t, { others: kept });
    // What a proxy has whose lock was taken away: it reads, and writes nothing.
    rmSync(join(proxy.directory, 'state', 'lock'), { recursive: true });
    assert.equal((await proxy.login(token)).granted, true);
    assert.equal((await proxy.service.tokens(session, o)).length, 1);
    await unavailable(proxy.service.createToken(session, { label: 'x', life: day }, o));
    await unavailable(proxy.signIn('bob'));
    proxy.clock.advance(hour);
    assert.equal((await proxy.login(token)).granted, true, 'what is known');
  });
});

describe('a session', () => {
  test('makes, lists and revokes tokens, its own person’s alone', async (t) => {
    const { proxy, session, issued } = await setUp(t);
    const { service } = proxy;
    const made = await service.createToken(session, { label: ' build ', life: day }, o);
    assert.equal(made.details.label, 'build');
    assert.equal((await proxy.login(made.token)).granted, true);
    const listed = await service.tokens(session, o);
    assert.deepEqual(listed.map(({ label }) => label).toSorted(), ['First token', 'build']);
    assert.ok(listed.find(({ label }) => label === 'build')?.usedAt, 'its use was not noted');
    const bob = (await proxy.signIn('bob')).session;
    assert.equal((await service.tokens(bob, o)).length, 1);
    assert.equal(await service.revokeToken(bob, made.details.id, o), false);
    assert.equal(await service.revokeToken(session, made.details.id, o), true);
    await assert.rejects(proxy.login(made.token), refused);
    assert.deepEqual(
      (await service.tokens(session, o)).map(({ id }) => id),
      [issued?.details.id],
    );
    for (const asked of [
      { label: 'x', life: service.lives.max + 1 },
      { label: 'x', life: 0 },
      { label: '', life: day },
    ]) {
      await assert.rejects(service.createToken(session, asked, o), { name: 'SignInError', kind: 'invalid' });
    }
  });

  test('is over after its time, and cannot be made, lengthened or used for anything else', async (t) => {
    const { proxy, session, cookie, issued } = await setUp(t);
    const { service, clock } = proxy;
    const shown = service.sealIssued(issued ?? assert.fail('none'), session);
    const { sealed } = await service.begin(o);
    for (const text of [undefined, '', 'x', `${cookie}A`, cookie.slice(1), shown, sealed]) {
      assert.equal(service.session(text), undefined, text);
    }
    clock.advance(service.sessionLife - 60_000);
    assert.deepEqual(service.session(cookie), session);
    clock.advance(60_000);
    assert.equal(service.session(cookie), undefined);
  });

  test('has a form token that no other session has', async (t) => {
    const { proxy, session } = await setUp(t);
    const other = (await proxy.signIn()).session;
    const { service } = proxy;
    assert.equal(service.isCsrfToken(session, session.csrfToken), true);
    for (const text of ['', 'x', other.csrfToken, `${session.csrfToken}A`, 'é'.repeat(43)]) {
      assert.equal(service.isCsrfToken(session, text), false, text);
    }
  });

  test('is shown a new token over a redirect, for a moment, and to nobody else', async (t) => {
    const { proxy, session, issued } = await setUp(t);
    const { service, clock } = proxy;
    const other = (await proxy.signIn()).session;
    assert.ok(issued, 'no token');
    const shown = service.sealIssued(issued, session);
    assert.ok(!shown.includes(issued.token.reveal()), 'the token can be read');
    const opened = service.openIssued(shown, session);
    assert.equal(opened?.token.reveal(), issued.token.reveal());
    assert.deepEqual(opened?.details, issued.details);
    assert.equal(service.openIssued(shown, other), undefined);
    assert.equal(service.openIssued(undefined, session), undefined);
    assert.equal(service.openIssued(`${shown}A`, session), undefined);
    clock.advance(2 * 60_000);
    assert.equal(service.openIssued(shown, session), undefined);
  });

  test('ends where an administrator revokes the person’s tokens, though its cookie is still good', async (t) => {
    const { proxy, token, session, cookie } = await setUp(t, { others: kept });
    const state = await guestOf(proxy);
    await new Revocations(state).revokePrincipal(session.who, proxy.clock.now(), 91 * day, o);
    assert.ok(proxy.service.session(cookie), 'the cookie itself');
    const ended = { name: 'SignInError', kind: 'expired' };
    await assert.rejects(proxy.service.tokens(session, o), ended);
    await assert.rejects(proxy.service.createToken(session, { label: 'x', life: day }, o), ended);
    await assert.rejects(proxy.service.revokeToken(session, '0123456789ab', o), ended);
    await assert.rejects(proxy.login(token), refused);
    proxy.clock.advance(1);
    const again = await proxy.signIn();
    assert.equal((await proxy.login(again.issued?.token ?? assert.fail('none'))).granted, true);
  });

  test('is no more once the provider has ended it', async (t) => {
    const { provider, proxy, token, session } = await setUp(t);
    provider.accounts.delete('alice');
    proxy.clock.advance(hour - 60_000);
    assert.equal((await proxy.service.tokens(session, o)).length, 1);
    proxy.clock.advance(60_000);
    await assert.rejects(proxy.login(token), refused);
    await assert.rejects(proxy.service.tokens(session, o), { kind: 'expired' });
  });
});

test('no secret of all this is in the log or the state', async (t) => {
  const { provider, proxy, token, cookie } = await setUp(t, { others: kept });
  proxy.clock.advance(hour);
  await proxy.login(token);
  provider.accounts.delete('alice');
  proxy.clock.advance(hour);
  await assert.rejects(proxy.login(token), refused);
  const { callback } = await proxy.attempt('bob');
  const state = JSON.stringify(await (await guestOf(proxy)).list('', o));
  const text = `${proxy.log.text}${state}`;
  assert.match(state, /personal-token/);
  for (const [what, secret] of Object.entries({
    token: token.reveal().slice('drp_pat_'.length),
    cookie,
    code: callback.searchParams.get('code') ?? '',
    'client secret': 'the secret of the registry client',
    password: 'wonderland',
  })) {
    assert.ok(secret !== '' && !text.includes(secret), `the ${what} is kept or logged`);
  }
});

async function unavailable(outcome: Promise<unknown>): Promise<void> {
  const error = await outcome.then(
    () => assert.fail('it passed'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof SignInError, String(error));
  assert.equal(error.kind, 'unavailable', error.reason);
}
