import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { requireProgram } from '../../src/testing/programs.js';
import { openWorkspace } from '../e2e/harness/workspace.js';
import { htpasswd } from '../harness/house.js';
import { startKubernetesApi } from './harness/kubernetes-api.js';
import { proxyClient, revoke, startOAuth2Provider, tokenFor } from './harness/oauth2-provider.js';
import { MovableClock } from './harness/open-oidc.js';
import { registryClient, startOpenIdProvider } from './harness/openid-provider.js';
import { signInForToken } from './harness/personal-token.js';
import { startRelay } from './harness/relay.js';
import { people, startSlapd } from './harness/slapd.js';
import { countOf, login, logins, startJudging } from './harness/token-logins.js';

// What clients see at the token endpoint while something behind it is down, and once it has changed its mind.

const minute = 60_000;

describe('a directory that is stopped and started again', () => {
  const robot = ['robot-1', 'a password of robots'] as const;
  const alice = ['alice', 'wonderland'] as const;
  const bob = ['bob', 'builder'] as const;
  const wrong = ['alice', 'looking-glass'] as const;
  /** Another bob's, whom `local` knows. */
  const bobElsewhere = ['bob', 'l00king-glass'] as const;
  const nobody = ['nobody', 'nothing'] as const;

  async function setUp(t: TestContext, remember: string, clock?: MovableClock) {
    if (requireProgram(t, 'slapd', 'slapd') === undefined) return undefined;
    const workspace = await openWorkspace('waiting');
    t.after(() => workspace.close());
    const slapd = await startSlapd(workspace);
    const members = [await slapd.addPerson(...alice), await slapd.addPerson(...bob)];
    await slapd.addGroup('developers', members);
    const { secureUrl, ca, service } = slapd;
    const users = await htpasswd(Object.fromEntries([robot, alice, bobElsewhere]));
    const open = (url = secureUrl, timeout = '10s') =>
      startJudging(t, {
        verifiers: `
  - id: corp
    type: ldap
    url: ${url}
    ca: ${ca}
    timeout: ${timeout}
    bind: { dn: "${service.dn}", password: { file: "${service.passwordFile}" } }
    search: { base: "${people}" }
    groups: { attribute: memberOf }
  - { id: local, type: htpasswd, file: all.htpasswd }
  - { id: robots, type: htpasswd, usernames: ["robot-*"], file: all.htpasswd }`,
        rules: `
  - { groups: ["corp:developers"], repositories: ["team/**"], actions: [pull] }
  - { names: ["robots:robot-1", "local:*"], repositories: ["team/**"], actions: [pull] }`,
        more: `rememberLogins: ${remember}`,
        files: { 'all.htpasswd': users },
        ...(clock && { clock }),
      });
    return { slapd, open };
  }

  const good = (name: string) => `${name} team/app:pull`;

  it('keeps its own people waiting, and never asks another verifier about them', async (t) => {
    const parts = await setUp(t, '{ accepted: 0s, refused: 0s }');
    if (parts === undefined) return;
    const { slapd, open } = parts;
    const front = await open();
    const all = [alice, wrong, bobElsewhere, nobody, robot];
    const judged = [good('corp:alice'), 401, 401, 401, good('robots:robot-1')];
    assert.deepEqual(await logins(front, all), judged);
    for (let round = 1; round <= 2; round++) {
      await slapd.stop();
      // `local` would take the first and the third.
      const asked = await countOf(front, 'local', 'accepted');
      assert.deepEqual(await logins(front, all), [503, 503, 503, 503, good('robots:robot-1')]);
      assert.equal(await countOf(front, 'local', 'accepted'), asked);
      assert.equal(await countOf(front, 'corp', 'unavailable'), 4 * round);
      await slapd.restart();
      assert.deepEqual(await logins(front, all), judged);
    }
    assert.match(front.log(), /UNAVAILABLE: no answer from 127\.0\.0\.1:\d+: connect ECONNREFUSED/);
    for (const status of [401, 503]) {
      const line = await front.logLine((one) => one.event === 'token' && one.status === status);
      assert.deepEqual([line.verifier, line.principal], ['corp', undefined]);
    }
    assert.ok(!front.log().includes(slapd.service.password), 'a password is in the log');
  });

  it('lets those go on for a while who have just logged in', async (t) => {
    const clock = new MovableClock();
    const parts = await setUp(t, '{ accepted: 30s, refused: 10s }', clock);
    if (parts === undefined) return;
    const { slapd, open } = parts;
    const front = await open();
    assert.equal(await login(front, ...alice), good('corp:alice'));
    await slapd.stop();
    assert.deepEqual(await logins(front, [alice, bob]), [good('corp:alice'), 503]);
    clock.advance(30_000);
    assert.equal(await login(front, ...alice), 503);
    await slapd.restart();
    assert.deepEqual(await logins(front, [alice, bob]), [good('corp:alice'), good('corp:bob')]);
  });

  it('is waited for by few while it hangs', async (t) => {
    const parts = await setUp(t, '{ accepted: 0s, refused: 0s }');
    if (parts === undefined) return;
    const { slapd, open } = parts;
    const relay = await startRelay(t, slapd.secureUrl);
    const front = await open(relay.url, '1500ms');
    assert.deepEqual(await logins(front, [alice, robot]), [good('corp:alice'), good('robots:robot-1')]);
    relay.freeze();
    const before = relay.connections();
    const crowd = Array.from({ length: 60 }, (_, i) => login(front, `user-${i}`, 'a password'));
    const robots = login(front, ...robot);
    assert.deepEqual(new Set(await Promise.all(crowd)), new Set([503]));
    assert.equal(await robots, good('robots:robot-1'));
    assert.ok(relay.connections() - before <= 10, `${relay.connections() - before} waited`);
    const lines = front
      .log()
      .split('\n')
      .filter((line) => line.includes('another login is trying them again'));
    assert.ok(lines.length >= 50, `${lines.length} were told at once`);
    relay.thaw();
    assert.deepEqual(await logins(front, [alice, wrong]), [good('corp:alice'), 401]);
  });

  it('does not keep the proxy from starting', async (t) => {
    const parts = await setUp(t, '{ accepted: 0s, refused: 0s }');
    if (parts === undefined) return;
    const { slapd, open } = parts;
    await slapd.stop();
    const front = await open();
    assert.deepEqual(await logins(front, [alice, robot]), [503, good('robots:robot-1')]);
    await slapd.restart();
    assert.deepEqual(await logins(front, [alice, wrong]), [good('corp:alice'), 401]);
  });
});

describe('an issuer that changes its keys', () => {
  const good = 'sso:alice team/app:pull';

  async function setUp(t: TestContext) {
    const provider = await startOpenIdProvider({ idTokenLife: 2 * 86_400 });
    t.after(() => provider.close());
    const clock = new MovableClock();
    const front = await startJudging(t, {
      verifiers: `
  - { id: sso, type: oidc, issuer: "${provider.issuer}", audiences: [registry], groupsClaim: groups }`,
      rules: `
  - { groups: ["sso:developers"], repositories: ["team/**"], actions: [pull] }`,
      more: 'rememberLogins: { accepted: 0s, refused: 0s }',
      clock,
    });
    const token = async () => (await provider.signIn()).id_token;
    return { provider, clock, token, loginWith: (text: string) => login(front, 'token', text) };
  }

  it('is followed at once, and what it no longer publishes ends', async (t) => {
    const { provider, clock, token, loginWith } = await setUp(t);
    const first = await token();
    assert.equal(await loginWith(first), good);
    await provider.rotateKeys({ keepOld: true });
    const second = await token();
    clock.advance(5_000); // it is asked no more often
    assert.equal(await loginWith(second), good);
    assert.equal(await loginWith(first), good, 'the old key is still published');
    provider.dropOldKeys();
    clock.advance(10 * minute);
    assert.equal(await loginWith(first), 401, 'a key that is no longer published');
    assert.equal(await loginWith(second), good);
  });

  it('and is down cannot tell of tokens by the new one; those by the old one go on', async (t) => {
    const { provider, clock, token, loginWith } = await setUp(t);
    const first = await token();
    assert.equal(await loginWith(first), good);
    await provider.rotateKeys({ keepOld: false });
    const second = await token();
    await provider.stop();
    clock.advance(60 * minute);
    assert.equal(await loginWith(first), good, 'for a day');
    clock.advance(5_000);
    assert.equal(await loginWith(second), 503);
    assert.equal(await loginWith(first), good);
    await provider.start();
    clock.advance(5_000);
    assert.equal(await loginWith(second), good);
    assert.equal(await loginWith(first), 401);
  });

  it('does not sign old claims with its new key for whoever puts the two together', async (t) => {
    const { provider, clock, token, loginWith } = await setUp(t);
    const first = await token();
    assert.equal(await loginWith(first), good);
    await provider.rotateKeys({ keepOld: false });
    const [, payload] = first.split('.');
    const [header, , signature] = (await token()).split('.');
    clock.advance(5_000);
    assert.equal(await loginWith([header, payload, signature].join('.')), 401);
  });
});

describe('a cluster that changes its keys', () => {
  it('is followed by discovery and by reviews', async (t) => {
    const cluster = await startKubernetesApi(t);
    const clock = new MovableClock();
    const settings = `type: kubernetes, audiences: [docker.example.com], ca: ${cluster.caFile}`;
    const review = `{ server: "${cluster.url}", token: { file: ${cluster.reviewerTokenFile} } }`;
    const front = await startJudging(t, {
      verifiers: `
  - { id: discovery, ${settings}, issuer: "${cluster.issuer}", usernames: [_discovery] }
  - { id: review, ${settings}, review: ${review}, usernames: [_review] }`,
      rules: `
  - { names: ["discovery:ci/builder", "review:ci/builder"], repositories: ["team/**"], actions: [pull] }`,
      more: 'rememberLogins: { accepted: 0s, refused: 0s }',
      clock,
    });
    const builder = { namespace: 'ci', name: 'builder' };
    const first = await cluster.token(builder);
    const good = ['discovery:ci/builder team/app:pull', 'review:ci/builder team/app:pull'];
    const both = (token: string) =>
      logins(front, [
        ['_discovery', token],
        ['_review', token],
      ]);
    assert.deepEqual(await both(first), good);
    await cluster.rotateKeys();
    await cluster.renewReviewer();
    clock.advance(5_000);
    assert.deepEqual(await both(await cluster.token(builder)), good);
    assert.deepEqual(await both(first), [401, 401]);
  });
});

describe('a token that is revoked', () => {
  async function setUpOAuth2(t: TestContext, remember: string, clock?: MovableClock) {
    const provider = await startOAuth2Provider();
    t.after(() => provider.close());
    const front = await startJudging(t, {
      verifiers: `
  - id: opaque
    type: oauth2-introspection
    usernames: [_oauth2]
    passwords: true
    issuer: "${provider.issuer}"
    clientId: "${proxyClient.client_id}"
    clientSecret: { file: client-secret }
    clients: ["${proxyClient.client_id}"]`,
      rules: `
  - { names: ["opaque:alice", "opaque:bob"], repositories: ["team/**"], actions: [pull] }`,
      more: `rememberLogins: ${remember}`,
      files: { 'client-secret': proxyClient.client_secret },
      ...(clock && { clock }),
    });
    const token = async (who: string) => (await tokenFor(provider, who)).access_token;
    return { provider, front, token };
  }

  it('at its authorization server is refused at the next question', async (t) => {
    const { provider, front, token } = await setUpOAuth2(t, '{ accepted: 0s, refused: 0s }');
    const [one, other] = [await token('alice'), await token('bob')];
    assert.equal(await login(front, '_oauth2', one), 'opaque:alice team/app:pull');
    await revoke(provider, one);
    assert.equal(await login(front, '_oauth2', one), 401);
    assert.equal(await login(front, '_oauth2', other), 'opaque:bob team/app:pull');
    await provider.stop();
    assert.equal(await login(front, '_oauth2', other), 503);
    await provider.start();
    assert.equal(await login(front, '_oauth2', other), 'opaque:bob team/app:pull');
    for (const secret of [one, other, proxyClient.client_secret]) {
      assert.ok(!front.log().includes(secret), 'a secret is in the log');
    }
  });

  it('is good for no longer than a login is remembered', async (t) => {
    const clock = new MovableClock();
    const { provider, front, token } = await setUpOAuth2(t, '{ accepted: 30s }', clock);
    const one = await token('alice');
    assert.equal(await login(front, '_oauth2', one), 'opaque:alice team/app:pull');
    await revoke(provider, one);
    assert.equal(await login(front, '_oauth2', one), 'opaque:alice team/app:pull');
    clock.advance(30_000);
    assert.equal(await login(front, '_oauth2', one), 401);
  });

  it('with its pod, where the cluster is asked', async (t) => {
    const cluster = await startKubernetesApi(t);
    const front = await startJudging(t, {
      verifiers: `
  - id: edge
    type: kubernetes
    audiences: [docker.example.com]
    ca: ${cluster.caFile}
    review: { server: "${cluster.url}", token: { file: ${cluster.reviewerTokenFile} } }`,
      rules: `
  - { names: ["edge:ci/builder"], repositories: ["team/**"], actions: [pull] }`,
      more: 'rememberLogins: { accepted: 0s, refused: 0s }',
    });
    const token = await cluster.token({ namespace: 'ci', name: 'builder', pod: 'build-1' });
    assert.equal(await login(front, '_kubernetes', token), 'edge:ci/builder team/app:pull');
    cluster.deletePod('ci', 'build-1');
    assert.equal(await login(front, '_kubernetes', token), 401);
  });

  it('on its owner’s page, and no other', async (t) => {
    const client = { ...registryClient, redirect_uris: ['https://docker.test/sign-in/callback'] };
    const provider = await startOpenIdProvider({ clients: [client] });
    t.after(() => provider.close());
    const clock = new MovableClock();
    const front = await startJudging(t, {
      verifiers: `
  - { id: sso, type: oidc, issuer: "${provider.issuer}", audiences: [registry], groupsClaim: groups }`,
      rules: `
  - { groups: ["sso:developers"], repositories: ["team/**"], actions: [pull] }`,
      more: `
externalUrl: https://docker.test
signIn: { verifier: sso, clientId: registry, clientSecret: { file: client-secret }, scopes: [groups] }`,
      files: { 'client-secret': client.client_secret },
      clock,
    });
    const good = 'sso:alice team/app:pull';
    const signIn = (who: { login: string; password: string }) =>
      signInForToken((path, headers) => front.send(path, { headers }), 'https://docker.test', who);
    const { token: one, ...page } = await signIn({ login: 'alice', password: 'wonderland' });
    const { token: other } = await signIn({ login: 'bob', password: 'builder' });
    assert.deepEqual(
      await logins(front, [
        ['alice', one],
        ['bob', other],
      ]),
      [good, 'sso:bob'],
    );
    const form = 'application/x-www-form-urlencoded';
    const answer = await front.send('/personal-tokens/revoke', {
      method: 'POST',
      headers: { cookie: page.cookie, 'content-type': form, 'sec-fetch-site': 'same-origin' },
      body: page.revokeForm,
    });
    assert.equal(answer.status, 303, answer.text);
    clock.advance(30_000); // until then it is remembered
    assert.deepEqual(
      await logins(front, [
        ['alice', one],
        ['bob', other],
      ]),
      [401, 'sso:bob'],
    );
    for (const token of [one, other]) assert.ok(!front.log().includes(token), 'a token is in the log');
  });
});
