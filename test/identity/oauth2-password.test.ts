import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { ThrottleVerifier } from '../../src/decorators/throttle-verifier.js';
import { keepsSecret } from '../../src/testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../../src/testing/conformance/verifier.js';
import { driver } from '../../src/verifiers/oauth2-password.js';
import { plainClient, proxyClient, startOAuth2Provider } from './harness/oauth2-provider.js';
import { o, openVerifier } from './harness/open-verifier.js';
import type { OpenIdProvider, OpenIdProviderOptions } from './harness/openid-provider.js';
import { refusedBy } from './harness/refused-by.js';
import { brokenAnswers, json, type Script, startScriptedServer } from './harness/scripted-server.js';
import { secretFile } from './harness/secret-file.js';

async function startProvider(t: TestContext, options?: OpenIdProviderOptions): Promise<OpenIdProvider> {
  const provider = await startOAuth2Provider(options);
  t.after(() => provider.close());
  return provider;
}

/** As a configuration says it. */
function settingsFor(t: TestContext, { issuer }: { readonly issuer: string }, more: object = {}) {
  const { file } = secretFile(t, proxyClient.client_secret);
  return { issuer, clientId: proxyClient.client_id, clientSecret: { file }, timeout: '2s', ...more };
}

const alice = passwordCredentials('alice', 'wonderland');
const noRecheck = [
  'recheck finds a principal it vouched for, and not one that is gone',
  'recheck is UNAVAILABLE where it cannot find out',
];
const groups = ['developers', 'all'];

for (const [principalFrom, more, principal] of [
  ['id-token', { groupsClaim: 'groups', scopes: ['openid', 'groups'] }, { groups }],
  ['userinfo', { groupsClaim: 'groups', scopes: ['openid', 'groups'] }, { groups }],
  ['introspection', { groupsClaim: 'groups' }, { groups }],
  ['username', {}, { groups: [] }],
] as const) {
  describeVerifierConformance(
    `oauth2-password, ${principalFrom}`,
    async (t) => {
      const provider = await startProvider(t);
      const settings = settingsFor(t, provider, { principalFrom, ...more });
      const { verifier } = await openVerifier(t, driver, settings);
      return {
        verifier,
        id: 'corp',
        valid: [{ credentials: alice, principal: { name: 'alice', kind: 'human', ...principal } }],
        invalid: [
          passwordCredentials('alice', 'looking-glass'),
          passwordCredentials('nobody', 'wonderland'),
          passwordCredentials('alice', 'wonderland '),
          passwordCredentials('alice', '*'),
        ],
        foreign: [
          bearerCredentials('wonderland'),
          passwordCredentials('', 'wonderland'),
          passwordCredentials('alice\r\n', 'wonderland'),
          passwordCredentials('alice', 'wonder\u0000land'),
          passwordCredentials('alice', 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln'),
          passwordCredentials('alice', 'eyJhbGciOiJSU0EtT0FFUCJ9.a2V5.aXY.dGV4dA.dGFn'),
          passwordCredentials('alice', `drp_refresh_${'A'.repeat(43)}`),
          passwordCredentials('alice', 'x'.repeat(4097)),
        ],
        break: () => provider.stop(),
      };
    },
    noRecheck,
  );
}

describe('oauth2-password against a real provider', () => {
  it('asks nothing of it for what is no password', async (t) => {
    const provider = await startProvider(t);
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    await refusedBy(verifier.verify(passwordCredentials('alice', ''), o), 'UNAUTHORIZED', /empty/);
    const idToken = (await provider.signIn()).id_token;
    const before = provider.requests.length;
    assert.equal(await verifier.verify(passwordCredentials('alice', idToken), o), undefined);
    assert.equal(await verifier.verify(bearerCredentials(idToken), o), undefined);
    assert.equal(provider.requests.length, before);
  });

  it('does not take people for expired with their ID token', async (t) => {
    const provider = await startProvider(t, { idTokenLife: 30 });
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    assert.equal((await verifier.verify(alice, o))?.expiresAt, undefined);
  });

  it('follows keys that the provider rotates', async (t) => {
    const provider = await startProvider(t);
    let now = Date.now();
    const clock = { now: () => now };
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider), { clock });
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    await provider.rotateKeys({ keepOld: false });
    now += 10_000; // the pause between two questions for keys
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
  });

  it('takes claims: another name, attributes, and those that are required', async (t) => {
    const provider = await startProvider(t);
    const { verifier } = await openVerifier(
      t,
      driver,
      settingsFor(t, provider, {
        scopes: ['openid', 'email', 'groups'],
        usernameClaim: 'email',
        attributes: { teams: 'groups' },
        requiredClaims: { groups: 'dev*' },
      }),
    );
    const who = await verifier.verify(alice, o);
    assert.equal(who?.name, 'alice@example.com');
    assert.deepEqual(who?.attributes, { teams: groups });
    await refusedBy(
      verifier.verify(passwordCredentials('bob', 'builder'), o),
      'UNAUTHORIZED',
      /claim groups/,
    );
  });

  const odd = [
    'a&b=c+d%20e',
    'p%&=+ ;?#/\\"\'<>',
    'pässwörd 😀 密码',
    ' blank around ',
    'password=x&grant_type=client_credentials&username=bob',
    '%00%0d%0a',
    '�',
    '*)(uid=*',
  ];
  it('shows it names and passwords as they are', async (t) => {
    const accounts = Object.fromEntries(odd.map((text) => [text, { password: text, claims: {} }]));
    const bob = { password: 'builder', claims: {} };
    const provider = await startProvider(t, { accounts: { ...accounts, bob } });
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    for (const text of odd) {
      assert.equal((await verifier.verify(passwordCredentials(text, text), o))?.name, text);
      await refusedBy(verifier.verify(passwordCredentials('bob', text), o), 'UNAUTHORIZED', /invalid_grant/);
    }
  });

  it('shows itself in the form where it is told to', async (t) => {
    const provider = await startProvider(t);
    const client = { ...proxyClient, token_endpoint_auth_method: 'client_secret_post' as const };
    const posting = await startProvider(t, { clients: [client] });
    for (const { issuer } of [provider, posting]) {
      const settings = settingsFor(t, { issuer }, { clientAuthentication: 'post' });
      const { verifier } = await openVerifier(t, driver, settings);
      assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    }
  });

  it('is a client without a secret where it is told of none', async (t) => {
    const { client_secret: _, ...rest } = proxyClient;
    const client = { ...rest, token_endpoint_auth_method: 'none' as const };
    const provider = await startProvider(t, { clients: [client] });
    const { clientSecret: __, ...settings } = settingsFor(t, provider);
    const { verifier } = await openVerifier(t, driver, settings);
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
  });

  it('blames no user for a wrong client secret, and takes a new one from its file', async (t) => {
    const provider = await startProvider(t);
    const secret = secretFile(t, 'an old secret');
    const settings = settingsFor(t, provider, { clientSecret: { file: secret.file } });
    const { verifier } = await openVerifier(t, driver, settings);
    const error = await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /clientSecret.*invalid_client/);
    keepsSecret(error, 'an old secret');
    keepsSecret(error, 'wonderland');
    secret.replace(proxyClient.client_secret);
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
  });

  it('blames no user for a client that may not use the grant', async (t) => {
    const provider = await startProvider(t);
    const { file } = secretFile(t, plainClient.client_secret);
    const settings = settingsFor(t, provider, { clientId: plainClient.client_id, clientSecret: { file } });
    const { verifier } = await openVerifier(t, driver, settings);
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /requested grant type is not allowed/);
  });

  it('blames no user for an endpoint that is not there', async (t) => {
    const provider = await startProvider(t);
    const { verifier } = await openVerifier(
      t,
      driver,
      settingsFor(t, provider, { tokenEndpoint: `${provider.issuer}/nowhere` }),
    );
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /is the endpoint right/);
  });

  it('starts while the provider is down, and works once it is up', async (t) => {
    const provider = await startProvider(t);
    await provider.stop();
    const { verifier } = await openVerifier(t, driver, settingsFor(t, provider));
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', new RegExp(new URL(provider.issuer).host));
    await provider.start();
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
    await provider.stop();
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /no answer/);
    await provider.start();
    assert.equal((await verifier.verify(alice, o))?.name, 'alice');
  });

  it('wants the issuer it was told of, to the character', async (t) => {
    const provider = await startProvider(t);
    const settings = settingsFor(t, { issuer: `${provider.issuer}/` });
    const { verifier } = await openVerifier(t, driver, settings);
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /names the issuer/);
  });
});

describe('the user name as the principal', () => {
  it('has one spelling: it is asked for in lower case, and blanks are nobody’s', async (t) => {
    const server = await startScriptedServer(t, (_request, response) =>
      json(response, 200, { access_token: 'x' }),
    );
    const { verifier } = await openVerifier(t, driver, {
      tokenEndpoint: `${server.url}/token`,
      clientId: 'proxy',
      principalFrom: 'username',
    });
    assert.equal((await verifier.verify(passwordCredentials('Alice.B', 'x'), o))?.name, 'alice.b');
    assert.equal(server.requests[0]?.form.get('username'), 'alice.b');
    for (const name of [' alice', 'alice ', 'al ice', 'ALİCE', 'ſam', 'alice\t'])
      assert.equal(await verifier.verify(passwordCredentials(name, 'x'), o), undefined, name);
    assert.equal(server.requests.length, 1);
    assert.equal(server.requests[0]?.form.has('scope'), false);
  });
});

/** A provider whose token endpoint answers as a test says. */
async function scripted(t: TestContext, script: Script, more: object = {}) {
  const server = await startScriptedServer(t, script);
  const { verifier, log } = await openVerifier(t, driver, {
    ...{
      tokenEndpoint: `${server.url}/token`,
      clientId: 'proxy',
      principalFrom: 'username',
      timeout: '300ms',
    },
    ...more,
  });
  return { server, verifier, log };
}

describe('a token endpoint in trouble', () => {
  for (const [name, answer] of Object.entries(brokenAnswers)) {
    it(`that ${name} tells nothing about the user`, async (t) => {
      const { verifier } = await scripted(t, (_request, response) => answer(response));
      const error = await refusedBy(
        verifier.verify(alice, o),
        'UNAVAILABLE',
        /^(?:no answer from )?127\.0\.0\.1:/,
      );
      keepsSecret(error, 'wonderland');
    });
  }

  it('that redirects leads no password away', async (t) => {
    const other = await startScriptedServer(t, (_request, response) =>
      json(response, 200, { access_token: 'x' }),
    );
    for (const status of [301, 302, 303, 307, 308]) {
      const { verifier } = await scripted(t, (_request, response) =>
        response.writeHead(status, { location: `${other.url}/token` }).end(),
      );
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /redirects/);
    }
    assert.equal(other.requests.length, 0);
  });

  it('lets go who leaves', async (t) => {
    const leaving = new AbortController();
    const { verifier } = await scripted(t, () => leaving.abort(new Error('left')));
    await assert.rejects(verifier.verify(alice, leaving), /left/);
  });

  for (const [name, body] of Object.entries({
    'no access token': { token_type: 'Bearer', id_token: 'x' },
    'an empty access token': { access_token: '' },
    'a number for an access token': { access_token: 7 },
    'an access token with a line break': { access_token: 'x\r\nx-evil: 1' },
    'a token for the holder of a key': { access_token: 'x', token_type: 'DPoP' },
  })) {
    it(`that gives ${name} lets nobody in`, async (t) => {
      const { verifier } = await scripted(t, (_request, response) => json(response, 200, body));
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /access token|bearer tokens/);
    });
  }
});

describe('what the token endpoint says', () => {
  const cases: readonly (readonly [
    status: number,
    body: Readonly<Record<string, unknown>>,
    code: string,
    reason: RegExp,
  ])[] = [
    [400, { error: 'invalid_grant' }, 'UNAUTHORIZED', /refuses the user name or the password/],
    [
      401,
      { error: 'invalid_grant', error_description: 'Invalid user credentials' },
      'UNAUTHORIZED',
      /Invalid user/,
    ],
    [403, { error: 'invalid_grant' }, 'UNAUTHORIZED', /refuses/],
    [200, { error: 'invalid_grant', access_token: 'x' }, 'UNAUTHORIZED', /refuses/],
    [403, { error: 'access_denied' }, 'UNAUTHORIZED', /denies/],
    [401, { error: 'invalid_credentials' }, 'UNAUTHORIZED', /words of its own \(invalid_credentials\)/],
    [401, { error: 'unauthorized', error_description: 'Bad credentials' }, 'UNAUTHORIZED', /Bad credentials/],
    [403, { error: 'invalid_user_password' }, 'UNAUTHORIZED', /invalid_user_password/],
    [401, { error: 'constructor' }, 'UNAUTHORIZED', /constructor/],
    [400, { error: 'interaction_required' }, 'UNAUTHORIZED', /second factor/],
    [403, { error: 'mfa_required' }, 'UNAUTHORIZED', /second factor/],
    [
      400,
      { error: 'invalid_grant', error_description: 'AADSTS50076: Due to a configuration change …' },
      'UNAUTHORIZED',
      /second factor.*AADSTS50076/,
    ],
    [401, { error: 'invalid_client' }, 'UNAVAILABLE', /clientSecret/],
    [400, { error: 'unauthorized_client' }, 'UNAVAILABLE', /allow this/],
    [400, { error: 'unsupported_grant_type' }, 'UNAVAILABLE', /no password grant/],
    [400, { error: 'invalid_scope' }, 'UNAVAILABLE', /scopes/],
    [400, { error: 'invalid_request' }, 'UNAVAILABLE', /endpoint/],
    [401, { error: 'unauthorized_client' }, 'UNAVAILABLE', /allow this/],
    [403, { error: 'invalid_scope' }, 'UNAVAILABLE', /scopes/],
    [400, { error: 'invalid_target' }, 'UNAVAILABLE', /endpoint/],
    [401, { error: 'temporarily_unavailable' }, 'UNAVAILABLE', /in trouble/],
    [401, {}, 'UNAVAILABLE', /our own client credentials\? \(HTTP status 401\)/],
    [401, { error: '' }, 'UNAVAILABLE', /our own client credentials/],
    [403, { error: { code: 1 } }, 'UNAVAILABLE', /our own client credentials/],
    [400, { error: 'constructor' }, 'UNAVAILABLE', /constructor/],
    [400, { error: { code: 1 } }, 'UNAVAILABLE', /HTTP status 400/],
    [429, {}, 'TOOMANYREQUESTS', /slows us down/],
    [400, { error: 'slow_down' }, 'TOOMANYREQUESTS', /slows us down/],
  ];
  for (const [status, body, code, reason] of cases) {
    it(`${status} ${JSON.stringify(body).slice(0, 60)} is ${code}`, async (t) => {
      const { verifier } = await scripted(t, (_request, response) => json(response, status, body));
      const error = await refusedBy(verifier.verify(alice, o), code, reason);
      assert.equal(error.knownUser, false);
      assert.equal(error.countsAsGuess, code === 'UNAVAILABLE', 'guessing is free');
    });
  }

  it('lets nobody guess for nothing, whatever it says, unless it is in trouble', async (t) => {
    for (const [status, body, last] of [
      [401, '', 'TOOMANYREQUESTS'],
      [400, '{"error":"bad_credentials"}', 'TOOMANYREQUESTS'],
      [400, '{"error":"invalid_request"}', 'TOOMANYREQUESTS'],
      [403, '<h1>Forbidden</h1>', 'TOOMANYREQUESTS'],
      [200, '{"success":false}', 'TOOMANYREQUESTS'],
      [302, '', 'TOOMANYREQUESTS'],
      [500, '{"error":"invalid_grant"}', 'UNAVAILABLE'],
      [503, '', 'UNAVAILABLE'],
    ] as const) {
      const { verifier } = await scripted(t, (_request, response) => response.writeHead(status).end(body));
      const throttled = new ThrottleVerifier(verifier, { now: () => Date.now() });
      const guess = (text: string) => throttled.verify(passwordCredentials('alice', text), o);
      for (let i = 0; i < 10; i++) await assert.rejects(guess(`x${i}`), { code: 'UNAVAILABLE' }, body);
      await assert.rejects(guess('x10'), { code: last }, `${status} ${body}`);
    }
  });

  for (const [given, told] of [
    ['7', 7],
    ['0', 1],
    ['999999', 3600],
    ['Fri, 31 Dec 1999 23:59:59 GMT', 10],
    [undefined, 10],
  ] as const) {
    it(`429 with Retry-After ${given} is passed on as ${told} seconds`, async (t) => {
      const headers = given === undefined ? {} : { 'retry-after': given };
      const { verifier } = await scripted(t, (_request, response) => json(response, 429, {}, headers));
      const error = await refusedBy(verifier.verify(alice, o), 'TOOMANYREQUESTS', /slows/);
      assert.equal(error.retryAfter, told);
    });
  }

  it('is quoted without what would not print, and in short', async (t) => {
    const description = `no\u0000\u001b[31m way\r\nlevel=error ${'x'.repeat(500)}`;
    const { verifier } = await scripted(t, (_request, response) =>
      json(response, 400, { error: 'invalid_grant', error_description: description }),
    );
    const { reason = '' } = await refusedBy(
      verifier.verify(alice, o),
      'UNAUTHORIZED',
      /no \[31m way level=error x/,
    );
    assert.doesNotMatch(reason, /\p{Cc}/u);
    assert.ok(reason.length < 400, `${reason.length} characters`);
  });

  it('is not quoted where it repeats the password or the client secret', async (t) => {
    const { file } = secretFile(t, 'client secret & more');
    const script: Script = ({ form, body }, response) =>
      json(response, 400, {
        error: 'invalid_grant',
        error_description: form.get('username') === 'raw' ? `no: ${form.get('password')}` : `no: ${body}`,
      });
    const { verifier } = await scripted(t, script, { clientSecret: { file }, clientAuthentication: 'post' });
    for (const name of ['raw', 'encoded']) {
      const shown = passwordCredentials(name, 'wonder+land %');
      const error = await refusedBy(verifier.verify(shown, o), 'UNAUTHORIZED', /left out/);
      for (const secret of ['wonder+land', 'wonder%2Bland', 'client secret', 'client+secret'])
        keepsSecret(error, secret);
    }
  });
});

describe('a login without what the principal is made from', () => {
  it('is the provider’s trouble: no ID token', async (t) => {
    const provider = await startProvider(t);
    const server = await startScriptedServer(t, (_request, response) =>
      json(response, 200, { access_token: 'x' }),
    );
    const settings = settingsFor(t, provider, { tokenEndpoint: server.url });
    const { verifier } = await openVerifier(t, driver, settings);
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /no ID token/);
  });

  it('is the provider’s trouble: an ID token of another client, or of nobody', async (t) => {
    const provider = await startProvider(t);
    const { id_token: other } = await provider.signIn();
    const forged = `${other.slice(0, -20)}${'A'.repeat(20)}`;
    for (const idToken of [other, forged, 'x.y.z', '']) {
      const server = await startScriptedServer(t, (_request, response) =>
        json(response, 200, { access_token: 'x', id_token: idToken }),
      );
      const settings = settingsFor(t, provider, { tokenEndpoint: server.url });
      const { verifier } = await openVerifier(t, driver, settings);
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /ID token .*cannot be verified/);
    }
  });

  it('is the provider’s trouble: a token that userinfo or introspection refuses', async (t) => {
    const provider = await startProvider(t);
    const server = await startScriptedServer(t, (_request, response) =>
      json(response, 200, { access_token: 'x' }),
    );
    for (const [principalFrom, reason] of [
      ['userinfo', /userinfo refuses the access token/],
      ['introspection', /not active at introspection/],
    ] as const) {
      const settings = settingsFor(t, provider, { tokenEndpoint: server.url, principalFrom });
      const { verifier } = await openVerifier(t, driver, settings);
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', reason);
    }
  });

  it('is refused: claims without a name', async (t) => {
    const server = await startScriptedServer(t, ({ path }, response) =>
      json(response, 200, path === '/token' ? { access_token: 'x' } : { name: 'Alice', sub: 7 }),
    );
    const { verifier } = await openVerifier(t, driver, {
      ...{ tokenEndpoint: `${server.url}/token`, userinfoEndpoint: `${server.url}/userinfo` },
      ...{ clientId: 'proxy', principalFrom: 'userinfo' },
    });
    await refusedBy(verifier.verify(alice, o), 'UNAUTHORIZED', /claim sub/);
    assert.equal(server.requests[1]?.headers.authorization, 'Bearer x');
  });
});

describe('the settings of oauth2-password', () => {
  const base = { issuer: 'https://sso.example.com', clientId: 'proxy' };
  for (const [name, settings, path] of [
    ['neither issuer nor endpoint', { clientId: 'proxy' }, 'issuer'],
    ['no client', { issuer: base.issuer }, 'clientId'],
    [
      'an ID token without an issuer',
      { clientId: 'proxy', tokenEndpoint: 'https://sso.example.com/t' },
      'issuer',
    ],
    ['an ID token without its scope', { ...base, scopes: ['email'] }, 'scopes'],
    [
      'userinfo that is nowhere',
      { clientId: 'x', tokenEndpoint: 'https://a.example/t', principalFrom: 'userinfo' },
      'userinfoEndpoint',
    ],
    [
      'introspection that is nowhere',
      { clientId: 'x', tokenEndpoint: 'https://a.example/t', principalFrom: 'introspection' },
      'introspectionEndpoint',
    ],
    [
      'claims of a typed name',
      { ...base, principalFrom: 'username', groupsClaim: 'groups' },
      'principalFrom',
    ],
    ['a scope with a blank', { ...base, scopes: ['openid email'] }, 'scopes'],
    [
      'an issuer’s document',
      { ...base, issuer: 'https://a.test/.well-known/openid-configuration' },
      'issuer',
    ],
    ['plain http', { ...base, issuer: 'http://sso.example.com' }, 'issuer'],
    ['a secret in the open', { ...base, clientSecret: 'hunter2' }, 'clientSecret'],
    ['another key', { ...base, audience: 'x' }, ''],
  ] as const) {
    it(`refuse ${name}`, () => {
      const parsed = driver.config.safeParse(settings);
      assert.ok(!parsed.success, 'it was accepted');
      assert.equal(String(parsed.error.issues[0]?.path[0] ?? ''), path);
    });
  }

  it('accept the least', () => assert.ok(driver.config.safeParse(base).success, 'it was refused'));

  it('want the secret to be there', async (t) => {
    const missing = { ...base, clientSecret: { file: '/nowhere/at/all' } };
    await assert.rejects(openVerifier(t, driver, missing), /cannot read .*ENOENT/);
  });
});
