import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { allowInsecureRequests, customFetch, discovery, None } from 'openid-client';
import { describeError } from '../../src/errors.js';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../../src/testing/conformance/verifier.js';
import { openOidc } from './harness/open-oidc.js';
import {
  type OpenIdProvider,
  type OpenIdProviderOptions,
  startOpenIdProvider,
} from './harness/openid-provider.js';

const o = { signal: new AbortController().signal };
const minute = 60_000;
const hour = 60 * minute;

function settingsOf({ issuer }: OpenIdProvider) {
  return { issuer, audiences: ['registry'], groupsClaim: 'groups', attributes: { mail: 'email' } };
}

async function setUp(t: TestContext, options?: OpenIdProviderOptions) {
  const provider = await startOpenIdProvider(options);
  t.after(() => provider.close());
  return { provider, ...(await openOidc(t, settingsOf(provider))) };
}

/** What a text that was altered in its signature looks like. */
function forged(token: string): string {
  const [header, payload, signature = ''] = token.split('.');
  return `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
}

describeVerifierConformance(
  'oidc, with ID tokens of a real provider',
  async (t) => {
    const { provider, verifier } = await setUp(t);
    const other = await startOpenIdProvider();
    t.after(() => other.close());
    const [alice, bob, foreign] = [
      (await provider.signIn()).id_token,
      (await provider.signIn({ login: 'bob' })).id_token,
      (await other.signIn()).id_token,
    ];
    const forAnother = await provider.signIn({ resource: 'https://api.example.com', scope: 'openid pull' });
    return {
      verifier,
      id: 'sso',
      valid: [
        {
          credentials: passwordCredentials('whoever', alice),
          principal: {
            ...{ name: 'alice', kind: 'human', groups: ['developers', 'all'] },
            attributes: { mail: 'alice@example.com' },
          },
        },
        { credentials: bearerCredentials(bob), principal: { name: 'bob', groups: ['guests'] } },
      ],
      invalid: [passwordCredentials('alice', forged(alice)), bearerCredentials(forged(bob))],
      foreign: [
        passwordCredentials('alice', 'wonderland'),
        passwordCredentials('alice', foreign),
        bearerCredentials(forAnother.access_token),
        bearerCredentials((await provider.signIn()).access_token), // opaque
        bearerCredentials('a.b.c'),
      ],
      break: () => provider.stop(),
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('oidc, with a real provider', () => {
  it('takes access tokens in JWT form where their audience is configured', async (t) => {
    const { provider } = await setUp(t);
    const api = 'https://registry.example.com';
    const { verifier } = await openOidc(t, { ...settingsOf(provider), audiences: [api] });
    const { access_token: token } = await provider.signIn({ resource: api, scope: 'openid pull' });
    const found = await verifier.verify(bearerCredentials(token), o);
    assert.deepEqual([found?.name, found?.groups], ['alice', ['developers', 'all']]);
  });

  it('says what is in a token, and until when', async (t) => {
    const { provider, verifier } = await setUp(t, { idTokenLife: 120 });
    const before = Date.now();
    const { id_token: token } = await provider.signIn();
    const found = await verifier.verify(passwordCredentials('', token), o);
    const left = (found?.expiresAt ?? 0) - before;
    assert.ok(left > 100_000 && left <= 150_000, `it ends in ${left} ms`);
    assert.equal(found?.credentialVersion, undefined);
  });

  it('refuses one that has expired, and says when', async (t) => {
    const { provider, verifier, clock } = await setUp(t, { idTokenLife: 120 });
    const { id_token: token } = await provider.signIn();
    clock.advance(2 * minute);
    assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice', 'clocks may differ');
    clock.advance(minute + 1_000);
    const error = await rejectsWith(() => verifier.verify(bearerCredentials(token), o), 'UNAUTHORIZED');
    assert.match(error.reason ?? '', /has expired \d{4}-\d\d-\d\dT/);
    assert.equal(describeError(error), `UNAUTHORIZED: ${error.reason}`, 'nothing else is logged');
  });

  it('lets people sign in by browser there', async (t) => {
    const { provider, verifier } = await setUp(t);
    const offered = verifier.openIdProvider;
    assert.ok(offered, 'it offers none');
    assert.equal(offered.issuer, provider.issuer);
    const found = await discovery(new URL(offered.issuer), 'registry', undefined, None(), {
      execute: [allowInsecureRequests],
      [customFetch]: (url, options) => offered.fetch(url, options as RequestInit),
    });
    assert.equal(found.serverMetadata().issuer, provider.issuer);
  });
});

describe('keys of a real provider', () => {
  const shown = async (provider: OpenIdProvider) => bearerCredentials((await provider.signIn()).id_token);

  it('are asked for once for many tokens at the same time', async (t) => {
    const { provider, verifier } = await setUp(t);
    const credentials = await shown(provider);
    await Promise.all(
      Array.from({ length: 20 }, () =>
        verifier.verify(credentials, { signal: new AbortController().signal }),
      ),
    );
    assert.deepEqual(
      provider.requests.filter((one) => /jwks|well-known/.test(one)),
      ['GET /.well-known/openid-configuration', 'GET /jwks'],
    );
  });

  it('are rotated: the new one is found at once, the old one counts while it is published', async (t) => {
    const { provider, verifier, clock } = await setUp(t, { idTokenLife: 3600 });
    const early = await shown(provider);
    await verifier.verify(early, o);
    await provider.rotateKeys({ keepOld: true });
    clock.advance(10_000);
    const late = await shown(provider);
    // At the same time: none of them may be refused because another one is asking.
    const found = await Promise.all([late, late, early].map((one) => verifier.verify(one, o)));
    assert.deepEqual(
      found.map((one) => one?.name),
      ['alice', 'alice', 'alice'],
    );
    provider.dropOldKeys();
    clock.advance(11 * minute);
    const error = await rejectsWith(() => verifier.verify(early, o), 'UNAUTHORIZED');
    assert.match(error.reason ?? '', /by no key of its issuer/);
    assert.equal((await verifier.verify(late, o))?.name, 'alice');
  });

  it('stay in use while the provider is down, and for a day', async (t) => {
    const { provider, verifier, clock, log } = await setUp(t, { idTokenLife: 48 * 3600 });
    const credentials = await shown(provider);
    await verifier.verify(credentials, o);
    await provider.stop();
    clock.advance(23 * hour);
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
    assert.equal(log.at('warn').length, 1, 'nobody was told');
    assert.match(log.text, /no answer from 127\.0\.0\.1:\d+.*the last ones stay in use/s);
    clock.advance(hour);
    await rejectsWith(() => verifier.verify(credentials, o), 'UNAVAILABLE');
    await provider.start();
    clock.advance(minute);
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
    assert.match(log.at('info').at(-1)?.message ?? '', /fetched again/);
  });

  it('of a provider that was down at first are fetched when it is there', async (t) => {
    const { provider, verifier, clock } = await setUp(t);
    const credentials = await shown(provider);
    await provider.stop();
    const error = await rejectsWith(() => verifier.verify(credentials, o), 'UNAVAILABLE');
    assert.match(describeError(error), new RegExp(`no answer from ${new URL(provider.issuer).host}`));
    await provider.start();
    clock.advance(10_000);
    assert.equal((await verifier.verify(credentials, o))?.name, 'alice');
  });

  it('a new one that cannot be asked for is no reason to refuse', async (t) => {
    const { provider, verifier, clock } = await setUp(t);
    await verifier.verify(await shown(provider), o);
    await provider.rotateKeys({ keepOld: false });
    const late = await shown(provider);
    await provider.stop();
    clock.advance(10_000);
    await rejectsWith(() => verifier.verify(late, o), 'UNAVAILABLE');
    await rejectsWith(() => verifier.verify(late, o), 'UNAVAILABLE');
  });
});
