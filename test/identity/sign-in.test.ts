import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { SignInError } from '../../src/sign-in/sign-in-error.js';
import { o, signInClient, startSignIn, startSignInProvider } from './harness/sign-in.js';
import { Browser } from './harness/sign-in-by-hand.js';

// Signing in by browser at a real OpenID provider: the flow itself, and everything that may be wrong with it.

const scopes = 'scopes: [profile, email, groups]';
const minute = 60_000;

describe('signing in by browser', () => {
  test('gives a session and a first token, which docker can log in with', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const proxy = await startSignIn(t, provider, { signIn: scopes });
    const { service, clock } = proxy;
    const { session, cookie, issued } = await proxy.signIn();
    assert.deepEqual(session.who, { verifier: 'corp', name: 'alice' });
    assert.deepEqual(service.session(cookie), session);
    assert.equal(issued?.details.label, 'First token');
    assert.equal(issued?.details.expiresAt, issued.details.createdAt + service.lives.suggested);
    const { granted, record } = await proxy.login(issued.token);
    assert.deepEqual([granted, record.principal, record.verifier], [true, 'corp:alice', 'corp']);

    const accepted = { verifier: 'personal-access-token', outcome: 'accepted' };
    assert.equal(proxy.metrics.value('verifications_total', accepted), 1);

    const bobs = await proxy.signIn('bob');
    assert.ok(bobs.issued, 'bob has no token');
    assert.equal((await proxy.login(bobs.issued.token)).granted, false, 'bob is no developer');

    const again = await proxy.signIn();
    assert.equal(again.issued, undefined, 'a second sign-in made a second token');
    assert.notEqual(again.session.csrfToken, session.csrfToken);
    assert.equal(await service.revokeToken(session, issued.details.id, o), true);
    await assert.rejects(proxy.login(issued.token), { code: 'UNAUTHORIZED' });
    assert.ok((await proxy.signIn()).issued, 'no token after the last one was revoked');
    assert.ok(clock.now() < session.expiresAt, 'the session has no life');
  });

  test('asks for a code with PKCE S256, a state and a nonce, each time others', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service } = await startSignIn(t, provider, { signIn: 'scopes: [groups, offline_access]' });
    const [one, two] = [await service.begin(o), await service.begin(o)];
    const asked = one.location.searchParams;
    assert.equal(one.location.origin + one.location.pathname, `${provider.issuer}/auth`);
    const { state, nonce, code_challenge: challenge, ...others } = Object.fromEntries(asked);
    assert.deepEqual(others, {
      ...{ client_id: 'registry', response_type: 'code', scope: 'openid groups offline_access' },
      ...{ redirect_uri: 'https://docker.test/sign-in/callback', code_challenge_method: 'S256' },
      prompt: 'consent',
    });
    for (const [name, value] of Object.entries({ state, nonce, code_challenge: challenge })) {
      assert.match(value ?? '', /^[\w-]{43}$/, name);
      assert.notEqual(two.location.searchParams.get(name), value, name);
      assert.ok(!one.sealed.includes(value ?? ''), `${name} can be read in the cookie`);
    }
    const discoveries = provider.requests.filter((request) => request.includes('openid-configuration'));
    assert.equal(discoveries.length, 1, 'the provider is discovered each time');
  });

  test('is refused by the provider without PKCE, and with another’s', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service } = await startSignIn(t, provider, { signIn: scopes });
    const browse = (location: URL) =>
      new Browser().signIn(location, 'https://docker.test/', { login: 'alice', password: 'wonderland' });
    const without = await service.begin(o);
    without.location.searchParams.delete('code_challenge');
    without.location.searchParams.delete('code_challenge_method');
    assert.equal((await browse(without.location)).searchParams.get('error'), 'invalid_request');
    const other = await service.begin(o);
    const mine = await service.begin(o);
    mine.location.searchParams.set('code_challenge', other.location.searchParams.get('code_challenge') ?? '');
    await refused(service.finish(await browse(mine.location), mine.sealed, o), 'expired', /invalid_grant/);
  });

  test('has no answer that counts twice', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service, attempt } = await startSignIn(t, provider, { signIn: scopes });
    const { callback, sealed } = await attempt();
    await service.finish(callback, sealed, o);
    const asked = provider.requests.length;
    await refused(service.finish(callback, sealed, o), 'expired', /used before/);
    assert.equal(provider.requests.length, asked, 'the provider was asked again');
  });

  test('asks the provider once for an attempt, whatever codes a browser makes up', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service } = await startSignIn(t, provider, { signIn: scopes });
    const exchanges = () => provider.requests.filter((request) => request === 'POST /token').length;
    const { location, sealed } = await service.begin(o);
    for (let i = 0; i < 30; i++) {
      const made = madeUp(location, `code-${i}`);
      await refused(service.finish(made, sealed, o), 'expired', i === 0 ? /invalid_grant/ : /used before/);
    }
    assert.equal(exchanges(), 1);
  });

  test('asks the provider no more for a network whose codes are made up, for a minute', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service, attempt, clock } = await startSignIn(t, provider, { signIn: scopes });
    const exchanges = () => provider.requests.filter((request) => request === 'POST /token').length;
    const finishMadeUp = async (i: number) => {
      const { location, sealed } = await service.begin(o);
      const address = `2001:db8::${i.toString(16)}`;
      const finish = service.finish(madeUp(location, `code-${i}`), sealed, { ...o, address });
      return finish.then(
        () => assert.fail('it passed'),
        (error: Error & { code?: string }) => error.code ?? error.name,
      );
    };
    const outcomes = await Promise.all(Array.from({ length: 30 }, (_, i) => finishMadeUp(i)));
    assert.equal(outcomes.filter((outcome) => outcome === 'TOOMANYREQUESTS').length, 10, String(outcomes));
    assert.equal(exchanges(), 20);
    const { callback, sealed } = await attempt();
    const there = { ...o, address: '2001:db8::ffff' };
    await assert.rejects(service.finish(callback, sealed, there), {
      ...{ name: 'RegistryError', code: 'TOOMANYREQUESTS', status: 429 },
    });
    const other = await attempt('bob');
    assert.ok((await service.finish(other.callback, other.sealed, o)).session, 'nobody elsewhere gets in');
    clock.advance(minute);
    assert.ok((await service.finish(callback, sealed, there)).session, 'the attempt was used up');
  });

  test('asks a browser that is elsewhere to begin anew', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service, clock, attempt, signIn } = await startSignIn(t, provider, { signIn: scopes });
    const { callback, sealed } = await attempt();
    const other = await service.begin(o);
    const { cookie } = await signIn();
    const forged = `${sealed.slice(0, -1)}${sealed.endsWith('A') ? 'B' : 'A'}`;
    const asked = provider.requests.length;
    await refused(service.finish(callback, undefined, o), 'expired', /no cookie/);
    await refused(service.finish(callback, '', o), 'expired', /no cookie/);
    await refused(service.finish(callback, forged, o), 'expired', /no cookie/);
    await refused(service.finish(callback, cookie, o), 'expired', /no cookie/);
    await refused(service.finish(callback, other.sealed, o), 'expired', /the state/);
    clock.advance(10 * minute);
    await refused(service.finish(callback, sealed, o), 'expired', /too old/);
    clock.advance(-10 * minute);
    assert.equal(provider.requests.length, asked, 'the code was shown to the provider');
    assert.ok((await service.finish(callback, sealed, o)).session, 'the code was burnt');
  });

  test('believes no other answer than the one it asked for', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service, attempt, log } = await startSignIn(t, provider, { signIn: scopes });
    for (const [what, change, kind, reason] of [
      ['no state', { state: null }, 'expired', /the state/],
      ['an empty state', { state: '' }, 'expired', /the state/],
      ['another state', { state: 'x' }, 'expired', /the state/],
      ['another issuer', { iss: 'https://evil.test' }, 'refused', /"iss"/],
      ['no issuer from one that names itself', { iss: null }, 'refused', /"iss"/],
      ['a refusal', { code: null, error: 'access_denied' }, 'denied', /"access_denied"/],
      ['a refusal and a code', { error: 'access_denied' }, 'denied', /"access_denied"/],
      ['a refusal of nobody', { error: 'access_denied', state: 'x' }, 'expired', /the state/],
      ['trouble', { code: null, error: 'server_error' }, 'unavailable', /"server_error"/],
      ['a mistake of ours', { code: null, error: 'invalid_scope' }, 'unavailable', /how this client/],
      ['nothing', { code: null }, 'refused', /code/],
      ['another code', { code: 'x' }, 'expired', /invalid_grant/],
      ['an ID token at once', { code: null, id_token: 'x.y.z' }, 'unavailable', /not supported/],
    ] as const) {
      const { callback: changed, sealed } = await attempt();
      for (const [name, value] of Object.entries(change)) {
        if (value === null) changed.searchParams.delete(name);
        else changed.searchParams.set(name, value);
      }
      await refused(service.finish(changed, sealed, o), kind, reason, what);
    }
    const twice = await attempt();
    twice.callback.searchParams.append('code', 'x');
    await refused(service.finish(twice.callback, twice.sealed, o), 'refused', /code/, 'two codes');
    assert.ok(!log.text.includes(twice.callback.searchParams.get('code') ?? ''), 'a code is in the log');
  });

  test('takes no ID token that was made for another attempt', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service } = await startSignIn(t, provider, { signIn: scopes });
    const { location, sealed } = await service.begin(o);
    location.searchParams.set('nonce', 'another');
    const who = { login: 'alice', password: 'wonderland' };
    const callback = await new Browser().signIn(location, 'https://docker.test/', who);
    await refused(service.finish(callback, sealed, o), 'refused', /"nonce"/);
  });

  for (const [what, settings, reason] of [
    [
      'tokens of a trust domain',
      { verifier: 'trustDomain: example.org' },
      /audiences must have signIn\.clientId, and its issuer must be written/,
    ],
    ['a claim they have not', { verifier: 'requiredClaims: { groups: admins }' }, /the claim groups/],
    ['a name they have not', { verifier: 'usernameClaim: employee' }, /the claim employee/],
    ['machines', { verifier: 'kind: machine' }, /is a machine/],
  ] as const) {
    test(`lets nobody in where the verifier wants ${what}`, async (t) => {
      const provider = await startSignInProvider();
      t.after(() => provider.close());
      const { signIn } = await startSignIn(t, provider, { signIn: scopes, ...settings });
      await refused(signIn(), 'refused', reason);
    });
  }

  test('tells the operator of a client secret that is wrong, and takes a new one without a restart', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { signIn, directory } = await startSignIn(t, provider, { signIn: scopes, clientSecret: 'wrong' });
    await refused(signIn(), 'unavailable', /check signIn\.clientId and signIn\.clientSecret/);
    writeFileSync(join(directory, 'client-secret'), `${signInClient.client_secret}\n`);
    assert.ok((await signIn()).session, 'the new secret was not read');
  });

  for (const [what, method, clientSecret] of [
    ['a client that may show its secret in the form alone', 'client_secret_post', undefined],
    ['a public client', 'none', null],
  ] as const) {
    test(`works with ${what}`, async (t) => {
      const { client_secret: _, ...rest } = signInClient;
      const client = clientSecret === null ? rest : signInClient;
      const provider = await startSignInProvider({
        clients: [{ ...client, token_endpoint_auth_method: method }],
        configure: (configuration) => ({ ...configuration, clientAuthMethods: [method] }),
      });
      t.after(() => provider.close());
      const settings = { signIn: scopes, ...(clientSecret === null && { clientSecret }) };
      assert.ok((await (await startSignIn(t, provider, settings)).signIn()).session, 'no session');
    });
  }

  test('is not possible while the provider is down; a proxy starts all the same', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    await provider.stop();
    const { service, attempt, signIn } = await startSignIn(t, provider, { signIn: scopes });
    await refused(service.begin(o), 'unavailable', /no answer from 127\.0\.0\.1/);
    await provider.start();
    const { callback, sealed } = await attempt();
    await provider.stop();
    await refused(service.finish(callback, sealed, o), 'unavailable', /no answer from 127\.0\.0\.1/);
    await provider.start();
    assert.ok((await signIn()).session, 'not after it is there again');
  });

  test('is not possible while nothing can be stored; the cause is for the log alone', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { attempt, service, directory } = await startSignIn(t, provider, {
      ...{ signIn: scopes, others: 'state: { type: file, path: state }' },
    });
    const { callback, sealed } = await attempt();
    rmSync(join(directory, 'state'), { recursive: true });
    const outcome = service.finish(callback, sealed, o);
    await refused(outcome, 'unavailable', /^cannot (?:read|write) the state in /);
    await outcome.catch(({ said }: SignInError) => assert.match(said ?? '', /ENOENT/));
  });

  test('ends with whoever waits', async (t) => {
    const provider = await startSignInProvider();
    t.after(() => provider.close());
    const { service, attempt } = await startSignIn(t, provider, { signIn: scopes });
    const { callback, sealed } = await attempt();
    const gone = AbortSignal.abort(new Error('gone'));
    await assert.rejects(service.finish(callback, sealed, { ...o, signal: gone }), /gone/);
    await assert.rejects(service.begin({ signal: gone }), /gone/);
  });
});

/** Where a browser comes back to with a code of its own. */
function madeUp(location: URL, code: string): URL {
  const callback = new URL('https://docker.test/sign-in/callback');
  callback.search = new URLSearchParams({
    ...{ code, state: location.searchParams.get('state') ?? '', iss: location.origin },
  }).toString();
  return callback;
}

/** A SignInError of this kind; its message is one for a page, its reason one for the log, and neither has a secret. */
export async function refused(
  outcome: Promise<unknown>,
  kind: SignInError['kind'],
  reason: RegExp,
  what = String(reason),
): Promise<void> {
  const error = await outcome.then(
    () => assert.fail(`${what}: it passed`),
    (thrown: SignInError) => thrown,
  );
  assert.equal(error.name, 'SignInError', `${what}: ${error.stack}`);
  assert.equal(error.kind, kind, `${what}: ${error.reason}`);
  assert.match(error.reason, reason, what);
  // The log and the audit log have the code beside it.
  assert.doesNotMatch(error.reason, /UNAVAILABLE|UNAUTHORIZED/, what);
  assert.match(error.message, /^[A-Z][\w ,:’.-]+\.$/, what);
  assert.equal(error.cause, undefined, `${what}: the cause may hold tokens`);
}
