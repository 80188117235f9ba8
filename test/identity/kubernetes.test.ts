import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import type { ClientCredentials, Principal, Verifier } from '../../src/contracts/index.js';
import { describeError, RegistryError } from '../../src/errors.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  FakeClock,
  passwordCredentials,
} from '../../src/testing/index.js';
import { driver } from '../../src/verifiers/kubernetes.js';
import {
  discoveryPath,
  type KubernetesApi,
  keySetPath,
  reviewPath,
  startKubernetesApi,
  type TokenOptions,
} from './harness/kubernetes-api.js';
import { o, openVerifier } from './harness/open-verifier.js';
import { brokenAnswers } from './harness/scripted-server.js';
import { secretFile } from './harness/secret-file.js';

const audiences = ['docker.example.com'];
const user = '_kubernetes';
const inCluster = 'https://kubernetes.default.svc.cluster.local';

/** The ways to have a token judged, by the settings that choose them. */
const modes = {
  discovery: ({ issuer, caFile: ca }: KubernetesApi) => ({ audiences, issuer, ca }),
  'keys of the server': ({ issuer, url: server, caFile: ca }: KubernetesApi) => ({
    ...{ audiences, issuer, server, ca },
  }),
  'keys of the server, with a token': (api: KubernetesApi) => {
    api.publicKeys = false;
    const { issuer, url: server, caFile: ca, reviewerTokenFile: file } = api;
    return { audiences, issuer, server, ca, token: { file } };
  },
  review: ({ url: server, caFile: ca, reviewerTokenFile: file }: KubernetesApi) => ({
    ...{ audiences, ca, timeout: '5s' },
    review: { server, token: { file } },
  }),
} as const;
type Mode = keyof typeof modes;
const all = Object.keys(modes) as readonly Mode[];
const offline = all.filter((mode) => mode !== 'review');

interface House {
  readonly api: KubernetesApi;
  readonly verifier: Verifier;
  readonly clock: FakeClock;
}

async function open(t: TestContext, mode: Mode, more: object = {}): Promise<House> {
  const api = await startKubernetesApi(t, mode.startsWith('keys') ? { issuer: inCluster } : {});
  const clock = new FakeClock(Date.now());
  const { verifier } = await openVerifier(t, driver, { ...modes[mode](api), ...more }, { id: 'prod', clock });
  return { api, verifier, clock };
}

const shown = (token: string): ClientCredentials => passwordCredentials(user, token);

/** @returns the principal, or the error's code and reason */
async function outcome(verifier: Verifier, token: string): Promise<Principal | string> {
  try {
    return (await verifier.verify(shown(token), o)) ?? 'not mine';
  } catch (error) {
    assert.ok(error instanceof RegistryError, describeError(error));
    assert.ok(!describeError(error).includes(token), 'the token is told');
    return `${error.code} ${error.reason}`;
  }
}

async function nameOf(verifier: Verifier, token: string): Promise<string> {
  const found = await outcome(verifier, token);
  return typeof found === 'string' ? found : found.name;
}

for (const mode of all) {
  describeVerifierConformance(
    `kubernetes, ${mode}`,
    async (t) => {
      const { api, verifier } = await open(t, mode);
      const stranger = await startKubernetesApi(t, { issuer: 'https://other.example.com' });
      const token = await api.token();
      const principal = { name: 'prod/default', kind: 'machine' } as const;
      const [head = '', body = '', signature = ''] = token.split('.');
      const forged = `${head}.${body}.${signature.replace(/^.{4}/, 'AAAA')}`;
      return {
        verifier,
        id: 'prod',
        valid: [
          { credentials: shown(token), principal },
          { credentials: bearerCredentials(token), principal },
        ],
        invalid: [
          shown(forged),
          shown(await api.token({ audiences: ['somebody-else'] })),
          bearerCredentials(await api.token({ life: -120 })),
          shown(await api.addUser('alice', ['system:masters'])),
        ],
        foreign: [
          passwordCredentials('alice', 'wonderland'),
          bearerCredentials('a.b.c'),
          shown(await stranger.token({ claims: { 'kubernetes.io': undefined } })),
        ],
        break: () => api.stop(),
      };
    },
    [
      'recheck finds a principal it vouched for, and not one that is gone',
      'recheck is UNAVAILABLE where it cannot find out',
    ],
  );
}

describe('a ServiceAccount', () => {
  for (const mode of all) {
    test(`has namespace, pod and node as attributes, and ends with its token: ${mode}`, async (t) => {
      const { api, verifier } = await open(t, mode);
      const token = await api.token({ namespace: 'prod', name: 'web', pod: 'web-1', node: 'node-a' });
      const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
        exp: number;
      };
      const groups = ['system:serviceaccounts', 'system:serviceaccounts:prod'];
      assert.deepEqual(await outcome(verifier, token), {
        verifier: 'prod',
        name: 'prod/web',
        kind: 'machine',
        groups: mode === 'review' ? [...groups, 'system:authenticated'] : groups,
        attributes: {
          namespace: 'prod',
          serviceAccount: 'web',
          serviceAccountUid: 'uid-of-web',
          pod: 'web-1',
          podUid: 'uid-of-web-1',
          node: 'node-a',
        },
        expiresAt: exp * 1000,
      });
    });

    test(`has no attributes of a pod where its token is bound to none: ${mode}`, async (t) => {
      const { api, verifier } = await open(t, mode);
      const found = await outcome(verifier, await api.token());
      assert.ok(typeof found !== 'string', String(found));
      assert.deepEqual(Object.keys(found.attributes), ['namespace', 'serviceAccount', 'serviceAccountUid']);
    });
  }

  const cases: readonly (readonly [
    what: string,
    options: TokenOptions,
    expected: string | RegExp,
    modes?: readonly Mode[],
  ])[] = [
    ['for us and others', { audiences: ['x', 'docker.example.com'] }, 'prod/default'],
    ['for others', { audiences: ['x'] }, /^UNAUTHORIZED .*other audiences/],
    ['for something that only begins so', { audiences: ['docker.example.com.evil'] }, /other audiences/],
    ['for nobody', { claims: { aud: [] } }, /^UNAUTHORIZED .*other audiences/],
    ['without an audience', { claims: { aud: undefined } }, /^UNAUTHORIZED/],
    ['of an allowed namespace', { namespace: 'ci-1' }, 'ci-1/default'],
    ['of another namespace', { namespace: 'kube-system' }, /^UNAUTHORIZED .*kube-system is not one/],
    ['expired', { life: -120 }, /^UNAUTHORIZED .*it has expired/],
    ['not valid yet', { claims: { nbf: Math.floor(Date.now() / 1000) + 600 } }, /^UNAUTHORIZED/],
    ['without an end', { claims: { exp: undefined } }, /^UNAUTHORIZED/, ['discovery']],
    ['of a user', { claims: { sub: 'alice' } }, /^UNAUTHORIZED .*not of a ServiceAccount/],
    ['of a user who looks like one', { claims: { sub: 'x:system:serviceaccount:prod:a' } }, /not of a Serv/],
    ['of a name with a slash', { claims: { sub: 'system:serviceaccount:prod:a/b' } }, /not of a Serv/],
    [
      'of another namespace than it says',
      { claims: { sub: 'system:serviceaccount:ci-1:default' } },
      /^UNAUTHORIZED .*not of a ServiceAccount/,
      ['discovery'],
    ],
    [
      'without the claim of Kubernetes',
      { claims: { 'kubernetes.io': undefined } },
      /not of a Serv/,
      ['discovery'],
    ],
  ];
  for (const [what, options, expected, only = ['discovery', 'review'] as const] of cases) {
    for (const mode of only) {
      test(`${what}, ${mode}: ${expected}`, async (t) => {
        const { api, verifier } = await open(t, mode, { namespaces: ['prod', 'ci-*'] });
        const found = await nameOf(verifier, await api.token(options));
        if (typeof expected === 'string') assert.equal(found, expected);
        else assert.match(found, expected);
      });
    }
  }

  test('of a pod that is gone is refused by a review; a signature does not tell', async (t) => {
    for (const mode of all) {
      const { api, verifier } = await open(t, mode);
      const token = await api.token({ pod: 'web-1' });
      assert.equal(await nameOf(verifier, token), 'prod/default');
      api.deletePod('prod', 'web-1');
      const found = await nameOf(verifier, token);
      if (mode === 'review') assert.match(found, /^UNAUTHORIZED .*has been invalidated/);
      else assert.equal(found, 'prod/default');
    }
  });
});

describe('keys of the cluster', () => {
  test('are found again after they were rotated', async (t) => {
    for (const mode of offline) {
      const { api, verifier, clock } = await open(t, mode);
      const old = await api.token();
      assert.equal(await nameOf(verifier, old), 'prod/default');
      await api.rotateKeys();
      if (mode.endsWith('token')) api.publicKeys = true; // what it was shown is of the old key
      clock.advance(10_000);
      assert.equal(await nameOf(verifier, await api.token()), 'prod/default');
      assert.match(await nameOf(verifier, old), /^UNAUTHORIZED/);
    }
  });

  test('are fetched from the issuer where that is all that is known', async (t) => {
    const { api, verifier } = await open(t, 'discovery');
    await outcome(verifier, await api.token());
    assert.deepEqual(api.requests, [`GET ${discoveryPath}`, `GET ${keySetPath}`]);
  });

  test('are fetched at the server, and the issuer is only a name there', async (t) => {
    const { api, verifier } = await open(t, 'keys of the server');
    await outcome(verifier, await api.token());
    assert.deepEqual(api.requests, [`GET ${keySetPath}`]);
    assert.equal(await outcome(verifier, await api.token({ claims: { iss: api.url } })), 'not mine');
  });

  test('that are not for everybody are not had without a token', async (t) => {
    const { api, verifier } = await open(t, 'keys of the server');
    api.publicKeys = false;
    assert.match(await nameOf(verifier, await api.token()), /^UNAVAILABLE .*jwks: answered 401/);
  });

  test('stay in use while the server is down', async (t) => {
    const { api, verifier, clock } = await open(t, 'discovery');
    const token = await api.token();
    assert.equal(await nameOf(verifier, token), 'prod/default');
    await api.stop();
    clock.advance(600_000);
    assert.equal(await nameOf(verifier, token), 'prod/default');
  });
});

describe('a TokenReview', () => {
  test('asks for our audiences, with our token, and for nothing that is refused anyway', async (t) => {
    const { api, verifier } = await open(t, 'review', { audiences: ['a', 'b'] });
    const token = await api.token({ audiences: ['b'] });
    assert.equal(await nameOf(verifier, token), 'prod/default');
    assert.deepEqual(api.reviews, [{ token, audiences: ['a', 'b'] }]);
    assert.match(await nameOf(verifier, await api.token()), /other audiences/);
    assert.match(await nameOf(verifier, await api.token({ audiences: ['a'], life: -120 })), /expired/);
    assert.equal(await outcome(verifier, 'wonderland'), 'not mine');
    assert.deepEqual(api.requests, [`POST ${reviewPath}`]);
  });

  test('of a server that knows no audiences counts for nothing', async (t) => {
    const { api, verifier } = await open(t, 'review');
    api.knowsAudiences = false;
    assert.match(await nameOf(verifier, await api.token()), /^UNAUTHORIZED .*does not vouch for one of our/);
  });

  for (const [what, status, expected] of [
    ['vouches for another audience', { authenticated: true, audiences: ['x'] }, /^UNAUTHORIZED .*vouch/],
    ['does not say authenticated', { audiences }, /^UNAUTHORIZED .*refuses it/],
    ['says authenticated, as a text', { authenticated: 'true', audiences }, /^UNAVAILABLE .*no TokenReview/],
    ['says so beside an error', { authenticated: false, audiences, error: 'a\nb' }, /^UNAUTHORIZED .*: a/],
    ['names several pods', { authenticated: true, audiences }, 'prod/default'],
  ] as const) {
    test(`that ${what}: ${expected}`, async (t) => {
      const { api, verifier } = await open(t, 'review');
      const username = 'system:serviceaccount:prod:default';
      const extra = { 'authentication.kubernetes.io/pod-name': ['a', 'b'] };
      const body = {
        ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
        status: { user: { username, extra }, ...status },
      };
      api.faults.set(reviewPath, (_, response) => void response.writeHead(201).end(JSON.stringify(body)));
      const found = await outcome(verifier, await api.token());
      if (expected instanceof RegExp) assert.match(String(found), expected);
      else assert.deepEqual((found as Principal).attributes.pod, undefined);
    });
  }

  test('quotes the server’s words, but never the token', async (t) => {
    const { api, verifier } = await open(t, 'review');
    const token = await api.token();
    const body = {
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
      status: { error: `cannot look up ${token}` },
    };
    api.faults.set(reviewPath, (_, response) => void response.writeHead(201).end(JSON.stringify(body)));
    assert.match(await nameOf(verifier, token), /^UNAUTHORIZED .*: the cluster refuses it$/);
  });

  for (const [what, break_, expected] of [
    ['our token may not do so', ({ strangerToken }: KubernetesApi) => strangerToken, /403: .*auth-delegator/],
    ['our token is refused', () => 'not-a-token', /answered 401: our own token/],
  ] as const) {
    test(`cannot be had where ${what}`, async (t) => {
      const api = await startKubernetesApi(t);
      const secret = secretFile(t, api.reviewerToken);
      const settings = { ...modes.review(api), review: { server: api.url, token: { file: secret.file } } };
      const { verifier } = await openVerifier(t, driver, settings);
      const token = await api.token();
      assert.equal(await nameOf(verifier, token), 'prod/default');
      secret.replace(break_(api));
      const found = await nameOf(verifier, token);
      assert.match(found, /^UNAVAILABLE https:\/\/localhost:\d+\/apis\/\S+\/tokenreviews: /);
      assert.match(found, expected);
      secret.replace(api.reviewerToken);
      assert.equal(await nameOf(verifier, token), 'prod/default');
    });
  }

  test('cannot be had while the server is down, and can when it is back', async (t) => {
    const { api, verifier } = await open(t, 'review');
    const token = await api.token();
    await api.stop();
    assert.match(await nameOf(verifier, token), /^UNAVAILABLE no answer from localhost/);
    await api.restart();
    assert.equal(await nameOf(verifier, token), 'prod/default');
  });

  test('is not asked of a server with a certificate nobody trusts', async (t) => {
    const api = await startKubernetesApi(t);
    const { ca: _, ...settings } = modes.review(api);
    const { verifier } = await openVerifier(t, driver, settings);
    assert.match(await nameOf(verifier, await api.token()), /^UNAVAILABLE .*name its authority as `ca`/);
    assert.deepEqual(api.requests, []);
  });

  test('goes no other way than to the server', async (t) => {
    const { api, verifier } = await open(t, 'review');
    api.faults.set(
      reviewPath,
      (_, response) => void response.writeHead(307, { location: `${api.url}${keySetPath}` }).end(),
    );
    assert.match(await nameOf(verifier, await api.token()), /^UNAVAILABLE .*307; redirects are not followed/);
    assert.deepEqual(api.requests, [`POST ${reviewPath}`]);
  });

  for (const [what, answer] of Object.entries(brokenAnswers)) {
    test(`is UNAVAILABLE where the server ${what}`, async (t) => {
      const { api, verifier } = await open(t, 'review', { timeout: '300ms' });
      api.faults.set(reviewPath, (_, response) => answer(response));
      assert.match(await nameOf(verifier, await api.token()), /^UNAVAILABLE /);
    });
  }
});

describe('whose tokens are whose', () => {
  const recognised = (verifier: Verifier, token: string) => verifier.recognises?.(shown(token)) === true;

  test('by the issuer, where one is configured', async (t) => {
    for (const mode of all) {
      const { api, verifier } = await open(t, mode, mode === 'review' ? { issuer: 'https://a.example' } : {});
      const issuer = mode === 'review' ? 'https://a.example' : api.issuer;
      const [mine, other] = [
        await api.token({ claims: { iss: issuer } }),
        await api.token({ claims: { iss: `${issuer}/` } }),
      ];
      assert.deepEqual([recognised(verifier, mine), recognised(verifier, other)], [true, false], mode);
      assert.equal(await outcome(verifier, other), 'not mine');
    }
  });

  test('by the claims of Kubernetes, where none is', async (t) => {
    const { api, verifier } = await open(t, 'review');
    const legacy = { 'kubernetes.io': undefined, 'kubernetes.io/serviceaccount/namespace': 'prod' };
    for (const [claims, expected] of [
      [{}, true],
      [legacy, true],
      [{ 'kubernetes.io': 'x' }, false],
      [{ 'kubernetes.io': undefined }, false],
    ] as const) {
      assert.equal(recognised(verifier, await api.token({ claims })), expected, JSON.stringify(claims));
    }
    assert.equal(recognised(verifier, 'wonderland'), false);
  });
});

describe('the settings', () => {
  const issuer = 'https://oidc.example.com/id/1';
  const review = { server: 'https://k8s.example.com', token: { env: 'TOKEN' } };
  for (const [what, settings, expected] of [
    ['nothing but audiences', { audiences }, /without it, or `review`/],
    ['no audience', { issuer }, /list of audiences/],
    ['an empty list of audiences', { issuer, audiences: [] }, /at least one audience/],
    ['an empty list of namespaces', { issuer, audiences, namespaces: [] }, /at least one namespace/],
    ['both ways', { audiences, review, issuer, server: 'https://k8s.example.com' }, /cannot stand beside/],
    ['two places for keys', { audiences, issuer, server: issuer, jwksUri: issuer }, /from one place/],
    ['a token for nobody', { audiences, issuer, token: { env: 'TOKEN' } }, /shown to `server` alone/],
    [
      'an issuer’s document',
      { audiences, issuer: `${issuer}/.well-known/openid-configuration` },
      /leave out \/\.well-known/,
    ],
    ['an issuer that is no URL', { audiences, issuer: 'kubernetes/serviceaccount' }, /no.* https URL/],
    ['a server over plain http', { audiences, issuer, server: 'http://k8s.example.com' }, /https/],
    ['a review over plain http', { audiences, review: { ...review, server: 'http://k8s' } }, /https/],
    ['a token in the file itself', { audiences, review: { ...review, token: 'hunter2' } }, /secret/],
    ['an issuer', { audiences, issuer }, undefined],
    ['a review', { audiences, review }, undefined],
    ['a review for one issuer', { audiences, review, issuer: 'kubernetes/serviceaccount' }, undefined],
    ['an issuer that is a name, and its server', { audiences, issuer: 'k8s', server: issuer }, undefined],
  ] as const) {
    test(`${what}: ${expected ?? 'fine'}`, () => {
      const issues = driver.config.safeParse(settings).error?.issues ?? [];
      assert.match(issues.map(({ message }) => message).join('\n') || 'fine', expected ?? /^fine$/);
    });
  }

  test('a server that is down does not keep the proxy from starting; a missing file does', async (t) => {
    const api = await startKubernetesApi(t);
    await api.stop();
    for (const mode of all) await openVerifier(t, driver, modes[mode](api));
    const token = { file: `${api.caFile}-missing` };
    const settings = { ...modes.review(api), review: { server: api.url, token } };
    await assert.rejects(openVerifier(t, driver, settings), /cannot read .*ca\.crt-missing/);
    writeFileSync(api.caFile, 'no certificate');
    await assert.rejects(openVerifier(t, driver, modes.review(api)), /holds no PEM certificate/);
  });
});
