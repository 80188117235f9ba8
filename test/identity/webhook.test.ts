import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Principal } from '../../src/contracts/index.js';
import { certify, createAuthority } from '../../src/testing/certificates.js';
import { keepsSecret } from '../../src/testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../../src/testing/conformance/verifier.js';
import { driver } from '../../src/verifiers/webhook.js';
import { o, openVerifier } from './harness/open-verifier.js';
import { refusedBy } from './harness/refused-by.js';
import { brokenAnswers, json, type Script, startScriptedServer } from './harness/scripted-server.js';
import { secretFile } from './harness/secret-file.js';
import { startWebhook } from './harness/webhook-server.js';

const password = 'w0nder:land "ü"';
const alice = passwordCredentials('alice', password);
const users = {
  alice: {
    secret: password,
    user: {
      ...{ username: 'Alice@example.com', uid: '42', groups: ['developers', 'tea'] },
      extra: { team: ['tea'], sites: ['a', 'b'], none: [], 'example.com/level': ['3'] },
    },
  },
  '*': { secret: 'a-token', user: { username: 'robot' } },
};
const principal: Principal = {
  ...{ verifier: 'corp', name: 'Alice@example.com', kind: 'human', groups: ['developers', 'tea'] },
  attributes: { team: 'tea', sites: ['a', 'b'], 'example.com/level': '3', uid: '42' },
};
const noRecheck = [
  'recheck finds a principal it vouched for, and not one that is gone',
  'recheck is UNAVAILABLE where it cannot find out',
];

describeVerifierConformance(
  'webhook',
  async (t) => {
    const webhook = await startWebhook(t, { users });
    const { verifier } = await openVerifier(t, driver, { url: webhook.url });
    return {
      ...{ verifier, id: 'corp', valid: [{ credentials: alice, principal }] },
      invalid: [passwordCredentials('alice', 'l00king-glass'), passwordCredentials('bob', password)],
      foreign: [bearerCredentials('a-token')],
      break: () => webhook.stop(),
    };
  },
  noRecheck,
);

describeVerifierConformance(
  'webhook over TLS, where what is refused is not its own',
  async (t) => {
    const authority = await createAuthority({ name: 'authority' });
    const { certificate: cert, privateKey: key } = await certify(authority, { name: 'webhook' });
    const { file: ca } = secretFile(t, authority.certificate);
    const { file } = secretFile(t, 'of-the-proxy');
    const audiences = ['docker.example.com', 'another'];
    const options = { users, token: 'of-the-proxy', audiences: ['docker.example.com'], tls: { cert, key } };
    const { url, stop } = await startWebhook(t, options);
    const more = { accepts: ['bearer'], audiences, refusal: 'not-mine', kind: 'machine', token: { file } };
    const { verifier } = await openVerifier(t, driver, { url, ca, ...more });
    const robot = { verifier: 'corp', name: 'robot', kind: 'machine', groups: [], attributes: {} } as const;
    return {
      ...{ verifier, id: 'corp', invalid: [], break: stop },
      valid: [{ credentials: bearerCredentials('a-token'), principal: robot }],
      foreign: [alice, bearerCredentials('another-token')],
    };
  },
  noRecheck,
);

describe('the webhook', () => {
  it('is sent a TokenReview, with the user name as an annotation', async (t) => {
    const webhook = await startWebhook(t, { users, audiences: ['docker.example.com'] });
    const settings = { url: webhook.url, audiences: ['docker.example.com'], accepts: ['password', 'bearer'] };
    const { verifier } = await openVerifier(t, driver, settings);
    await verifier.verify(alice, o);
    await verifier.verify(bearerCredentials('a-token'), o);
    const common = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' };
    const annotations = {
      'docker-registry-proxy/credential': 'password',
      'docker-registry-proxy/username': 'alice',
      'docker-registry-proxy/client-address': '192.0.2.1',
    };
    const { 'docker-registry-proxy/username': _, ...ofToken } = annotations;
    const audiences = ['docker.example.com'];
    assert.deepEqual(webhook.reviews, [
      { ...common, metadata: { annotations }, spec: { token: password, audiences } },
      {
        ...common,
        metadata: { annotations: { ...ofToken, 'docker-registry-proxy/credential': 'bearer' } },
        spec: { token: 'a-token', audiences },
      },
    ]);
  });

  it('is not asked about what it does not accept, nor about an empty password', async (t) => {
    const webhook = await startWebhook(t, { users });
    const { verifier } = await openVerifier(t, driver, { url: webhook.url });
    assert.equal(await verifier.verify(bearerCredentials('a-token'), o), undefined);
    assert.equal(await verifier.verify(passwordCredentials('alice', ''), o), undefined);
    assert.deepEqual(webhook.reviews, []);
  });

  it('is called with a token, which may be rotated', async (t) => {
    const webhook = await startWebhook(t, { users, token: 'second' });
    const { file, replace } = secretFile(t, 'first');
    const { verifier } = await openVerifier(t, driver, { url: webhook.url, token: { file } });
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /it answered 401: does it know our `token`\?$/);
    replace('second');
    assert.deepEqual(await verifier.verify(alice, o), principal);
  });

  it('that was down is asked again', async (t) => {
    const webhook = await startWebhook(t, { users });
    const { verifier } = await openVerifier(t, driver, { url: webhook.url });
    await webhook.stop();
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /no answer from 127\.0\.0\.1/);
    await webhook.restart();
    assert.deepEqual(await verifier.verify(alice, o), principal);
  });

  it('that does not know of audiences is not trusted where they are asked for', async (t) => {
    const webhook = await startWebhook(t, { users, audiences: ['docker.example.com'] });
    const { verifier } = await openVerifier(t, driver, {
      url: webhook.url,
      audiences: ['docker.example.com'],
    });
    assert.deepEqual(await verifier.verify(alice, o), principal);
    webhook.knowsAudiences = false;
    await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /it does not say for which of `audiences`$/);
  });
});

const review = (status: unknown, more: object = {}) => ({
  ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status },
  ...more,
});
const yes = { authenticated: true, user: { username: 'alice' } };

describe('an answer', () => {
  const plain = { verifier: 'corp', name: 'alice', kind: 'human', groups: [], attributes: {} };
  const open = async (t: Parameters<typeof startScriptedServer>[0], script: Script, more: object = {}) => {
    const server = await startScriptedServer(t, script);
    const opened = await openVerifier(t, driver, { url: server.url, timeout: '500ms', ...more });
    return { ...opened, server };
  };

  for (const [name, body, expected] of [
    ['says yes', review(yes), plain],
    ['leaves out as Go does', review({ ...yes, error: '', audiences: null }), plain],
    ['has nulls', review({ ...yes, user: { username: 'alice', groups: null, extra: null } }), plain],
    [
      'has empty groups',
      review({ ...yes, user: { username: 'alice', groups: ['', 'a'] } }),
      { ...plain, groups: ['a'] },
    ],
    ['echoes the request', review(yes, { metadata: {}, spec: { token: 'x' } }), plain],
    [
      'has an extra of a bad name',
      review({ ...yes, user: { username: 'alice', extra: { constructor: ['x'] } } }),
      { ...plain, attributes: { constructor: 'x' } },
    ],
  ] as const) {
    it(`that ${name} is a principal`, async (t) => {
      const { verifier } = await open(t, (_, response) => json(response, 201, body));
      assert.deepEqual(await verifier.verify(alice, o), expected);
    });
  }

  for (const [name, body, code, reason] of [
    [
      'says no',
      review({ authenticated: false }),
      'UNAUTHORIZED',
      /^the webhook 127\.0\.0\.1:\d+: it is not authenticated$/,
    ],
    ['says nothing', review({}), 'UNAUTHORIZED', /it is not authenticated$/],
    ['says why', review({ error: 'locked\nout' }), 'UNAUTHORIZED', /: locked$/],
    ['is for others', review({ ...yes, audiences: ['b'] }), 'UNAUTHORIZED', /for another audience$/],
    ['has no name', review({ authenticated: true, user: {} }), 'UNAVAILABLE', /no status\.user\.username$/],
    ['has no user', review({ authenticated: true }), 'UNAVAILABLE', /no status\.user\.username$/],
    ['says both', review({ ...yes, error: 'x' }), 'UNAVAILABLE', /it says authenticated, and an error$/],
    ['has no status', review(undefined), 'UNAVAILABLE', /it is no TokenReview|is no TokenReview: status/],
    ['says "true"', review({ ...yes, authenticated: 'true' }), 'UNAVAILABLE', /status\.authenticated: /],
    [
      'has a group',
      review({ ...yes, user: { ...yes.user, groups: 'a' } }),
      'UNAVAILABLE',
      /status\.user\.groups: /,
    ],
    [
      'has flat extra',
      review({ ...yes, user: { ...yes.user, extra: { a: 'b' } } }),
      'UNAVAILABLE',
      /extra\.a: /,
    ],
    [
      'is of v1beta1',
      review(yes, { apiVersion: 'authentication.k8s.io/v1beta1' }),
      'UNAVAILABLE',
      /apiVersion: /,
    ],
    ['is of another kind', review(yes, { kind: 'SubjectAccessReview' }), 'UNAVAILABLE', /kind: /],
  ] as const) {
    it(`that ${name} is ${code}`, async (t) => {
      const { verifier } = await open(t, (_, response) => json(response, 200, body), {
        ...(name === 'is for others' && { audiences: ['a'] }),
      });
      await refusedBy(verifier.verify(alice, o), code, reason);
    });
  }

  for (const [status, headers, code, reason, retryAfter] of [
    [429, { 'retry-after': '17' }, 'TOOMANYREQUESTS', /it answered 429$/, 17],
    [429, { 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 'TOOMANYREQUESTS', /it answered 429$/, 5],
    [400, {}, 'UNAVAILABLE', /it answered 400$/, undefined],
    [401, {}, 'UNAVAILABLE', /it answered 401: does it know our `token`\?$/, undefined],
    [500, {}, 'UNAVAILABLE', /it answered 500$/, undefined],
  ] as const) {
    it(`with ${status} ${JSON.stringify(headers)} is ${code}`, async (t) => {
      // Also where it looks like a yes.
      const { verifier } = await open(t, (_, response) => json(response, status, review(yes), headers));
      const error = await refusedBy(verifier.verify(alice, o), code, reason);
      assert.equal(error.retryAfter, retryAfter);
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    it(`with ${status} is not followed`, async (t) => {
      const other = await startScriptedServer(t, (_, response) => json(response, 200, review(yes)));
      const location = other.url;
      const { verifier } = await open(t, (_, response) => json(response, status, {}, { location }));
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /: redirects are not followed$/);
      assert.deepEqual(other.requests, []);
    });
  }

  for (const [name, answer] of Object.entries(brokenAnswers)) {
    it(`of a server that ${name} is UNAVAILABLE, also where a refusal is not its own`, async (t) => {
      const { verifier } = await open(t, (_, response) => answer(response), { refusal: 'not-mine' });
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /127\.0\.0\.1/);
    });
  }

  it('that tells the password does not carry it on', async (t) => {
    const { verifier } = await open(t, ({ body }, response) =>
      json(response, 200, review({ error: `not ${shownIn(body)}` })),
    );
    const error = await refusedBy(verifier.verify(alice, o), 'UNAUTHORIZED', /: withheld: [\w ]+$/);
    keepsSecret(error, password);
  });

  it('that has the password for a name does not carry it on', async (t) => {
    const { verifier } = await open(t, ({ body }, response) =>
      json(response, 200, review({ ...yes, user: { ...yes.user, extra: { [shownIn(body)]: 'b' } } })),
    );
    const error = await refusedBy(
      verifier.verify(alice, o),
      'UNAVAILABLE',
      /status\.user\.extra\.withheld: /,
    );
    keepsSecret(error, password);
  });

  it('to a password of one letter leaves our own words whole', async (t) => {
    const { verifier } = await open(t, (_, response) => json(response, 200, review({ error: 'locked' })));
    const short = passwordCredentials('alice', 'a');
    await refusedBy(
      verifier.verify(short, o),
      'UNAUTHORIZED',
      /^the webhook 127[\d.:]+: withheld: it may repeat/,
    );
  });
});

function shownIn(body: string): string {
  return (JSON.parse(body) as { spec: { token: string } }).spec.token;
}

describe('settings', () => {
  const url = 'https://auth.example.com/review';
  for (const settings of [
    {},
    { url: 'http://auth.example.com/review' },
    { url: 'https://user:password@auth.example.com/review' },
    { url, token: 'a-token' },
    { url, accepts: [] },
    { url, audiences: [] },
    { url, refusal: 'maybe' },
    { url, kind: 'anonymous' },
    { url, headers: { authorization: 'x' } },
  ]) {
    it(`${JSON.stringify(settings)} are refused`, () => {
      assert.equal(driver.config.safeParse(settings).success, false);
    });
  }

  it('open nothing on the network', async (t) => {
    await openVerifier(t, driver, { url: 'http://127.0.0.1:1/' });
  });
});
