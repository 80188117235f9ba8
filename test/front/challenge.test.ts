import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { parseChallenges } from '../../src/protocol/challenge.js';
import { type MemoryRegistry, startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  type Answer,
  assertError,
  basic,
  bearer,
  type Front,
  sharedScope,
  startFront,
} from '../harness/index.js';

const version = 'registry/2.0';

describe('challenges', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let front: Front;

  before(async () => {
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
    front = await startFront(
      scope,
      `
externalUrl: https://docker.test:8443
upstreams: { one: { url: "${registry.url}" } }
routes:
  - { prefix: "", upstream: one, rewrite: team/ }
  - { prefix: "", host: "other.test", upstream: one, rewrite: team/ }
  - { prefix: "", host: "third.test:9000", upstream: one, rewrite: team/ }
`,
    );
  });

  const challengeOf = (answer: Answer) => {
    assert.equal(answer.status, 401);
    assert.equal(answer.headers['docker-distribution-api-version'], version);
    assertError(answer, 401, 'UNAUTHORIZED');
    const challenges = parseChallenges(answer.headers['www-authenticate'] ?? '');
    assert.equal(challenges.length, 1, 'one challenge: clients differ in which of several they take');
    assert.equal(challenges[0]?.scheme, 'bearer');
    return Object.fromEntries(challenges[0]?.parameters ?? []);
  };

  const home = { realm: 'https://docker.test:8443/token', service: 'docker.test:8443' };
  const app = 'repository:app:pull';

  test('the ping asks for credentials, with and without the last slash', async () => {
    for (const path of ['/v2/', '/v2']) {
      assert.deepEqual(challengeOf(await front.send(path, { host: 'docker.test:8443' })), home);
    }
  });

  test('the text of a challenge is what docker and containerd parse', async () => {
    const { headers } = await front.send('/v2/app/manifests/1', { host: 'docker.test:8443' });
    assert.equal(
      headers['www-authenticate'],
      `Bearer realm="${home.realm}",service="${home.service}",scope="${app}"`,
    );
  });

  for (const [what, host, forwarded, expected] of [
    ['the external URL', 'docker.test:8443', {}, home],
    ['upper case', 'DOCKER.test:8443', {}, home],
    ['an unknown host', 'evil.test', {}, home],
    ['the external host with another port', 'docker.test:1', {}, home],
    ['a host whose name ends as ours', 'evil-docker.test:8443', {}, home],
    ['an address', '127.0.0.1:5000', {}, home],
    ['no sensible host', '"><script>', {}, home],
    ['a host of a route, with our port', 'other.test:8443', {}, of('other.test:8443')],
    ['a host of a route that has a port', 'third.test:9000', {}, of('third.test:9000')],
    ['forwarded headers', 'docker.test:8443', forwardedTo('evil.test'), home],
    ['forwarded headers to another served host', 'docker.test:8443', forwardedTo('other.test:8443'), home],
  ] as const) {
    test(`realm and service come from the configuration: ${what}`, async () => {
      const challenge = challengeOf(await front.send('/v2/', { host, headers: forwarded }));
      assert.deepEqual(challenge, expected);
    });
  }

  function of(host: string) {
    return { realm: `https://${host}/token`, service: host };
  }

  function forwardedTo(host: string) {
    return {
      'x-forwarded-host': host,
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '1',
      forwarded: `host=${host};proto=http`,
    };
  }

  for (const [method, path, wanted] of [
    ['GET', 'app/manifests/1', app],
    ['HEAD', 'app/manifests/1', app],
    ['GET', 'app/tags/list', app],
    ['PUT', 'app/manifests/1', 'repository:app:pull,push'],
    ['DELETE', 'app/manifests/1', 'repository:app:delete'],
    ['POST', 'app/blobs/uploads/', 'repository:app:pull,push'],
    ['GET', '_catalog', 'registry:catalog:*'],
  ] as const) {
    test(`${method} ${path} asks for ${wanted}`, async () => {
      const answer = await front.send(`/v2/${path}`, { method, host: 'docker.test:8443' });
      const { 'www-authenticate': header = '' } = answer.headers;
      assert.equal(answer.status, 401);
      assert.equal(parseChallenges(header)[0]?.parameters.get('scope'), wanted);
      assert.equal(answer.headers['docker-distribution-api-version'], version);
      if (method === 'HEAD') assert.equal(answer.body.length, 0);
    });
  }

  test('a bad token is invalid_token, with the scope', async () => {
    const authorization = bearer('not-a-token');
    const answer = await front.send('/v2/app/manifests/1', {
      headers: { authorization },
      host: 'docker.test:8443',
    });
    assert.deepEqual(challengeOf(answer), { ...home, scope: app, error: 'invalid_token' });
  });

  test('a token with too little access is insufficient_scope, with the scope that is missing', async () => {
    const token = await front.token('alice', ['repository:app:pull'], { host: 'docker.test:8443' });
    const headers = { authorization: bearer(token) };
    const answer = await front.send('/v2/app/manifests/1', {
      method: 'PUT',
      headers,
      host: 'docker.test:8443',
    });
    assert.deepEqual(challengeOf(answer), {
      ...home,
      scope: 'repository:app:pull,push',
      error: 'insufficient_scope',
    });
  });

  test('a wrong password is asked for a Bearer token too: containerd gives up on Basic', async () => {
    const authorization = basic('alice', 'wrong');
    const answer = await front.send('/v2/', { headers: { authorization }, host: 'docker.test:8443' });
    assert.deepEqual(challengeOf(answer), home);
  });

  test('an Authorization that cannot be understood is not nobody', async () => {
    for (const authorization of [
      'Basic !!!',
      'Basic YWxpY2U=',
      'Negotiate abc',
      'Bearer',
      'garbage',
      'Bearer a b',
    ]) {
      const answer = await front.send('/v2/', { headers: { authorization }, host: 'docker.test:8443' });
      assert.deepEqual(challengeOf(answer), home, authorization);
    }
  });
});
