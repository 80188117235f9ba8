import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { CacheVerifier } from '../../src/decorators/cache-verifier.js';
import { keepsSecret } from '../../src/testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../../src/testing/conformance/verifier.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { driver } from '../../src/verifiers/oauth2-introspection.js';
import {
  plainClient,
  proxyClient,
  revoke,
  startOAuth2Provider,
  tokenFor,
} from './harness/oauth2-provider.js';
import { o, openVerifier } from './harness/open-verifier.js';
import {
  type OpenIdProvider,
  type OpenIdProviderOptions,
  registryClient,
} from './harness/openid-provider.js';
import { refusedBy } from './harness/refused-by.js';
import { brokenAnswers, json, startScriptedServer } from './harness/scripted-server.js';
import { secretFile } from './harness/secret-file.js';

async function startProvider(t: TestContext, options?: OpenIdProviderOptions): Promise<OpenIdProvider> {
  const provider = await startOAuth2Provider(options);
  t.after(() => provider.close());
  return provider;
}

/** As a configuration says it. */
function settingsFor(t: TestContext, { issuer }: { readonly issuer: string }, more: object = {}) {
  const { file } = secretFile(t, proxyClient.client_secret);
  const client = { clientId: proxyClient.client_id, clientSecret: { file } };
  return { issuer, ...client, clients: [proxyClient.client_id], timeout: '2s', ...more };
}

const noRecheck = [
  'recheck finds a principal it vouched for, and not one that is gone',
  'recheck is UNAVAILABLE where it cannot find out',
];

describeVerifierConformance(
  'oauth2-introspection',
  async (t) => {
    const provider = await startProvider(t);
    const token = (await tokenFor(provider, 'alice')).access_token;
    const ofOthers = (await provider.signIn()).access_token;
    const ofAnApi = (await provider.signIn({ resource: 'urn:api' })).access_token;
    const settings = settingsFor(t, provider, { groupsClaim: 'groups', passwords: true });
    const { verifier } = await openVerifier(t, driver, settings);
    const principal = { name: 'alice', groups: ['developers', 'all'] };
    return {
      verifier,
      id: 'corp',
      valid: [
        { credentials: bearerCredentials(token), principal },
        { credentials: passwordCredentials('whoever', token), principal },
      ],
      invalid: [bearerCredentials(ofOthers)],
      foreign: [
        bearerCredentials('A'.repeat(43)),
        bearerCredentials(ofAnApi), // a JWT, which this provider does not introspect
        passwordCredentials('alice', 'wonderland'),
        passwordCredentials('alice', ''),
        passwordCredentials('alice', 'pässwörd'),
        passwordCredentials('alice', `${token}\n`),
        bearerCredentials(`drp_refresh_${'A'.repeat(43)}`),
        bearerCredentials('x'.repeat(16_385)),
      ],
      break: () => provider.stop(),
    };
  },
  noRecheck,
);

/** Knows one token, which begins with `acme_`. */
const acmeToken = 'acme_8c1f0a';
describeVerifierConformance(
  'oauth2-introspection of tokens with a prefix',
  async (t) => {
    const server = await startScriptedServer(t, ({ form }, response) =>
      json(response, 200, form.get('token') === acmeToken ? active : { active: false }),
    );
    const { verifier } = await openVerifier(t, driver, {
      ...endpointSettings(t, server),
      tokenPrefix: 'acme_',
    });
    return {
      verifier,
      id: 'corp',
      valid: [
        { credentials: bearerCredentials(acmeToken), principal: { name: 'robot' } },
        { credentials: passwordCredentials('whoever', acmeToken), principal: { name: 'robot' } },
      ],
      invalid: [bearerCredentials('acme_wrong'), passwordCredentials('robot', 'acme_wrong')],
      foreign: [
        bearerCredentials('other_8c1f0a'),
        passwordCredentials('robot', 'wonderland'),
        passwordCredentials('acme_', ''),
        bearerCredentials('Acme_8c1f0a'),
      ],
      break: () => server.close(),
    };
  },
  noRecheck,
);

const active = {
  active: true,
  sub: 'robot',
  aud: 'registry',
  client_id: 'ci',
  scope: 'pull push',
  token_type: 'Bearer',
};

function endpointSettings(t: TestContext, { url }: { readonly url: string }, more: object = {}) {
  const { file } = secretFile(t, 'a-bearer-of-ours');
  return {
    endpoint: `${url}/introspect`,
    bearer: { file },
    audiences: ['registry'],
    timeout: '300ms',
    ...more,
  };
}

describe('oauth2-introspection against a real provider', () => {
  it('asks as a client, and expires with the token', async (t) => {
    const provider = await startProvider(t, { accessTokenLife: 120 });
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider, { kind: 'machine' }));
    const before = Date.now();
    const { access_token: token } = await tokenFor(provider, 'alice');
    const who = await verifier.verify(bearerCredentials(token), o);
    assert.equal(who?.kind, 'machine');
    const life = (who?.expiresAt ?? 0) - before;
    assert.ok(life > 110_000 && life <= 180_000, `${life} ms`);
  });

  it('does not know a token that was revoked there; the cache may, for as long as it remembers', async (t) => {
    const provider = await startProvider(t);
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    const clock = new FakeClock();
    const cached = new CacheVerifier(verifier, clock, { accepted: 30_000, refused: 10_000 });
    const { access_token: token } = await tokenFor(provider, 'alice');
    assert.equal((await cached.verify(bearerCredentials(token), o))?.name, 'alice');
    await revoke(provider, token);
    assert.equal(await verifier.verify(bearerCredentials(token), o), undefined);
    clock.advance(30_000);
    assert.equal(await cached.verify(bearerCredentials(token), o), undefined);
  });

  it('takes only tokens with the scopes that are required', async (t) => {
    const provider = await startProvider(t);
    const settings = settingsFor(t, provider, { clients: undefined, requiredScopes: ['openid', 'groups'] });
    const { verifier } = await openVerifier(t, driver, settings);
    const { access_token: token } = await tokenFor(provider, 'alice', { scope: 'openid groups' });
    const { access_token: weaker } = await tokenFor(provider, 'alice', { scope: 'openid' });
    assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice');
    await refusedBy(verifier.verify(bearerCredentials(weaker), o), 'UNAUTHORIZED', /lacks the scope groups/);
  });

  it('takes no refresh token for an access token, unless it is told not to mind', async (t) => {
    const provider = await startProvider(t, { alwaysRefreshTokens: true });
    const { access_token: access, refresh_token: refresh = '' } = await provider.signIn();
    const settings = settingsFor(t, provider, { clients: [registryClient.client_id] });
    const { verifier } = await openVerifier(t, driver, settings);
    assert.equal((await verifier.verify(bearerCredentials(access), o))?.name, 'alice');
    await refusedBy(verifier.verify(bearerCredentials(refresh), o), 'UNAUTHORIZED', /requireTokenType/);
    const lax = await openVerifier(t, driver, { ...settings, requireTokenType: false });
    assert.equal((await lax.verifier.verify(bearerCredentials(refresh), o))?.name, 'alice');
  });

  it('blames nobody for a wrong client secret, and takes a new one from its file', async (t) => {
    const provider = await startProvider(t);
    const secret = secretFile(t, 'an old secret');
    const settings = settingsFor(t, provider, { clientSecret: { file: secret.file } });
    const { verifier } = await openVerifier(t, driver, settings);
    const { access_token: token } = await tokenFor(provider, 'alice');
    const error = await refusedBy(
      verifier.verify(bearerCredentials(token), o),
      'UNAVAILABLE',
      /clientSecret/,
    );
    keepsSecret(error, 'an old secret');
    keepsSecret(error, token);
    secret.replace(proxyClient.client_secret);
    assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice');
  });

  it('has no name for a client that logs in as itself, unless it is told where', async (t) => {
    const provider = await startProvider(t);
    const { access_token: token } = await clientToken(provider);
    const settings = settingsFor(t, provider, { clients: [plainClient.client_id] });
    const { verifier } = await openVerifier(t, driver, settings);
    await refusedBy(verifier.verify(bearerCredentials(token), o), 'UNAUTHORIZED', /claim sub/);
    const { verifier: named } = await openVerifier(t, driver, { ...settings, usernameClaim: 'client_id' });
    assert.equal((await named.verify(bearerCredentials(token), o))?.name, plainClient.client_id);
  });

  it('starts while the provider is down, and works once it is up', async (t) => {
    const provider = await startProvider(t);
    const { access_token: token } = await tokenFor(provider, 'alice');
    await provider.stop();
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    await refusedBy(verifier.verify(bearerCredentials(token), o), 'UNAVAILABLE', /no answer/);
    await provider.start();
    assert.equal((await verifier.verify(bearerCredentials(token), o))?.name, 'alice');
  });

  it('takes no ID token, and shows none of another issuer to this one', async (t) => {
    const provider = await startProvider(t);
    const other = await startProvider(t);
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    assert.equal(await verifier.verify(bearerCredentials((await provider.signIn()).id_token), o), undefined);
    const before = provider.requests.length;
    assert.equal(await verifier.verify(bearerCredentials((await other.signIn()).id_token), o), undefined);
    assert.equal(provider.requests.length, before);
  });
});

/** Client credentials grant (RFC 6749 section 4.4). */
async function clientToken({ issuer }: OpenIdProvider): Promise<{ readonly access_token: string }> {
  const { client_id, client_secret } = plainClient;
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { connection: 'close' },
    body: new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()) as { access_token: string };
}

describe('what is shown to the introspection endpoint', () => {
  it('is the token as it is, and who we are', async (t) => {
    const token = `a&b=c+d%20/e"\\~ =`;
    const server = await startScriptedServer(t, (_request, response) => json(response, 200, active));
    const basic = {
      clientId: 'a:b c',
      clientSecret: { file: secretFile(t, 'x:ü+%').file },
      bearer: undefined,
    };
    for (const more of [{}, basic, { ...basic, clientAuthentication: 'post' }]) {
      const { verifier } = await openVerifier(
        t,
        driver,
        endpointSettings(t, server, { passwords: true, ...more }),
      );
      assert.equal((await verifier.verify(passwordCredentials('x', token), o))?.name, 'robot');
    }
    for (const { form, headers, method } of server.requests) {
      assert.equal(method, 'POST');
      assert.equal(headers['content-type'], 'application/x-www-form-urlencoded');
      assert.equal(form.get('token'), token);
      assert.equal(form.get('token_type_hint'), 'access_token');
    }
    const [bearer, header, form] = server.requests;
    assert.equal(bearer?.headers.authorization, 'Bearer a-bearer-of-ours');
    const pair = Buffer.from(
      header?.headers.authorization?.slice('Basic '.length) ?? '',
      'base64',
    ).toString();
    assert.equal(pair, 'a%3Ab+c:x%3A%C3%BC%2B%25');
    assert.equal(form?.headers.authorization, undefined);
    assert.deepEqual([form?.form.get('client_id'), form?.form.get('client_secret')], ['a:b c', 'x:ü+%']);
  });

  it('is nobody’s password, unless that was asked for, and no token of ours', async (t) => {
    const server = await startScriptedServer(t, (_request, response) => json(response, 200, active));
    const { verifier } = await openVerifier(t, driver, endpointSettings(t, server));
    assert.equal(await verifier.verify(passwordCredentials('robot', 'wonderland'), o), undefined);
    const prefixed = await openVerifier(t, driver, endpointSettings(t, server, { tokenPrefix: 'acme_' }));
    assert.equal(await prefixed.verifier.verify(passwordCredentials('robot', 'wonderland'), o), undefined);
    assert.equal(await prefixed.verifier.verify(bearerCredentials('wonderland'), o), undefined);
    const open = await openVerifier(t, driver, endpointSettings(t, server, { passwords: true }));
    const ours = `drp_refresh_${'A'.repeat(43)}`;
    for (const shown of [bearerCredentials(ours), passwordCredentials('robot', ours)])
      assert.equal(await open.verifier.verify(shown, o), undefined);
    assert.equal(server.requests.length, 0);
  });

  it('is recognised by its prefix only', async (t) => {
    const server = await startScriptedServer(t, (_request, response) => json(response, 200, active));
    const { verifier } = await openVerifier(t, driver, endpointSettings(t, server, { tokenPrefix: 'acme_' }));
    assert.equal(verifier.recognises?.(passwordCredentials('x', 'acme_1')), true);
    const { verifier: open } = await openVerifier(
      t,
      driver,
      endpointSettings(t, server, { passwords: true }),
    );
    assert.equal(open.recognises?.(passwordCredentials('x', 'acme_1')), false);
  });
});

describe('an introspection endpoint in trouble', () => {
  for (const [name, answer] of Object.entries({
    ...brokenAnswers,
    'says active: "true", a text': (response: ServerResponse) =>
      json(response, 200, { ...active, active: 'true' }),
    'says active: 1': (response: ServerResponse) => json(response, 200, { ...active, active: 1 }),
    'forgets active': (response: ServerResponse) => json(response, 200, { ...active, active: undefined }),
    'answers with a JWT': (response: ServerResponse): void =>
      void response.writeHead(200, { 'content-type': 'application/token-introspection+jwt' }).end('a.b.c'),
    'denies us access': (response: ServerResponse) => json(response, 403, { error: 'access_denied' }),
    'names an error beside a token': (response: ServerResponse) =>
      json(response, 200, { ...active, error: 'invalid_client' }),
  })) {
    it(`that ${name} tells nothing about the token`, async (t) => {
      const server = await startScriptedServer(t, (_request, response) => answer(response));
      const { verifier } = await openVerifier(t, driver, endpointSettings(t, server));
      const call = verifier.verify(bearerCredentials('a-token-of-alice'), o);
      const error = await refusedBy(call, 'UNAVAILABLE', /^(?:no answer from )?127\.0\.0\.1:/);
      keepsSecret(error, 'a-token-of-alice');
    });
  }

  it('that redirects leads no token away', async (t) => {
    const other = await startScriptedServer(t, (_request, response) => json(response, 200, active));
    const server = await startScriptedServer(t, (_request, response) =>
      response.writeHead(307, { location: `${other.url}/introspect` }).end(),
    );
    const { verifier } = await openVerifier(t, driver, endpointSettings(t, server));
    await refusedBy(verifier.verify(bearerCredentials('token'), o), 'UNAVAILABLE', /redirects/);
    assert.equal(other.requests.length, 0);
  });

  it('is not asked with a secret that no header can carry', async (t) => {
    const server = await startScriptedServer(t, (_request, response) => json(response, 200, active));
    const { file } = secretFile(t, 'two\nlines');
    const { verifier } = await openVerifier(t, driver, endpointSettings(t, server, { bearer: { file } }));
    await refusedBy(verifier.verify(bearerCredentials('token'), o), 'UNAVAILABLE', /`bearer`/);
  });
});

describe('the settings of oauth2-introspection', () => {
  const client = { clientId: 'proxy', clientSecret: { env: 'SECRET' } };
  const base = { issuer: 'https://sso.example.com', ...client, audiences: ['registry'] };
  for (const [name, settings, path] of [
    ['neither issuer nor endpoint', { ...client, audiences: ['registry'] }, 'issuer'],
    ['no audience, scope or client (threat 4)', { ...base, audiences: undefined }, 'audiences'],
    ['an empty list of audiences', { ...base, audiences: [] }, 'audiences'],
    ['an empty audience', { ...base, audiences: [''] }, 'audiences'],
    [
      'required claims alone',
      { ...base, audiences: undefined, requiredClaims: { org: 'acme' } },
      'audiences',
    ],
    ['nothing to show itself by', { issuer: base.issuer, audiences: ['x'] }, 'clientId'],
    ['a client without a secret', { ...base, clientSecret: undefined }, 'clientId'],
    ['two ways to show itself', { ...base, bearer: { env: 'TOKEN' } }, 'clientId'],
    ['a prefix of one letter', { ...base, tokenPrefix: 'a' }, 'tokenPrefix'],
    ['passwords beside a prefix', { ...base, tokenPrefix: 'acme_', passwords: true }, 'passwords'],
    [
      'an issuer’s document',
      { ...base, issuer: 'https://a.test/.well-known/openid-configuration' },
      'issuer',
    ],
    ['plain http', { ...base, endpoint: 'http://sso.example.com/introspect' }, 'endpoint'],
  ] as const) {
    it(`refuse ${name}`, () => {
      const parsed = driver.config.safeParse(settings);
      assert.ok(!parsed.success, 'it was accepted');
      assert.equal(String(parsed.error.issues[0]?.path[0] ?? ''), path);
    });
  }

  for (const more of [
    {},
    { audiences: undefined, requiredScopes: ['pull'] },
    { audiences: undefined, clients: ['ci'] },
  ]) {
    it(`accept ${JSON.stringify(more)}`, () => {
      assert.ok(driver.config.safeParse({ ...base, ...more }).success, 'it was refused');
    });
  }
});
