import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { basic, bearer, claimsOf, type Front, sharedScope, startFront } from '../harness/index.js';
import { type KubernetesApi, startKubernetesApi } from './harness/kubernetes-api.js';

const issuer = 'https://kubernetes.default.svc.cluster.local';
const path = '/token?service=docker.test&scope=repository:apps/web:pull,push';

describe('a proxy that knows several clusters', () => {
  const scope = sharedScope();
  let front: Front;
  let a: KubernetesApi;
  let b: KubernetesApi;
  let own: KubernetesApi;

  before(async () => {
    [a, b, own] = await Promise.all([
      startKubernetesApi(scope, { issuer }),
      startKubernetesApi(scope, { issuer }),
      startKubernetesApi(scope),
    ]);
    front = await startFront(
      scope,
      `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
rememberLogins: { accepted: 0s, refused: 0s }
verifiers:
  - id: a
    type: kubernetes
    usernames: [_kubernetes-a]
    audiences: [docker.example.com]
    issuer: ${issuer}
    server: ${a.url}
    ca: ${a.caFile}
  - id: b
    type: kubernetes
    usernames: [_kubernetes-b]
    audiences: [docker.example.com]
    issuer: ${issuer}
    ca: ${b.caFile}
    review: { server: "${b.url}", token: { file: ${b.reviewerTokenFile} } }
  - { id: own, type: kubernetes, audiences: [docker.example.com], issuer: "${own.url}", ca: ${own.caFile} }
  - { id: local, type: htpasswd, file: users.htpasswd }
policy:
  - { names: ["b:ci/builder"], repositories: ["apps/**"], actions: [pull, push] }
  - { groups: ["a:system:serviceaccounts:web"], repositories: ["apps/web"], actions: [pull] }
`,
    );
  });

  /** @returns the principal and what it was granted, or the status */
  async function login(authorization: string): Promise<string | number> {
    const answer = await front.send(path, { headers: { authorization } });
    if (answer.status !== 200) return answer.status;
    const { sub, access } = claimsOf((JSON.parse(answer.text) as { token: string }).token);
    return [sub, ...access.map(({ name, actions }) => `${name}:${actions}`)].join(' ');
  }

  test('tells those of one issuer apart by the reserved user names', async () => {
    const [ofA, ofB] = [await a.token({ namespace: 'web' }), await b.token({ namespace: 'web' })];
    assert.equal(await login(basic('_kubernetes-a', ofA)), 'a:web/default apps/web:pull');
    assert.equal(await login(basic('_kubernetes-b', ofB)), 'b:web/default');
    assert.equal(await login(basic('_kubernetes-a', ofB)), 401);
    assert.equal(await login(basic('_kubernetes-b', ofA)), 401);
    assert.equal(await login(basic('anybody', ofA)), 401);
    assert.deepEqual(
      b.reviews.map(({ token }) => token === ofA || token === ofB),
      [true, true],
    );
  });

  test('grants a ServiceAccount what the rules do', async () => {
    const builder = await b.token({ namespace: 'ci', name: 'builder' });
    assert.equal(await login(basic('_kubernetes-b', builder)), 'b:ci/builder apps/web:pull,push');
    const same = await own.token({ namespace: 'ci', name: 'builder' });
    assert.equal(await login(basic('anybody', same)), 'own:ci/builder');
    assert.equal(await login(bearer(same)), 'own:ci/builder');
  });

  test('answers 503 for the one whose API server is down, and serves the others', async () => {
    const token = await b.token({ namespace: 'ci', name: 'builder' });
    const builder = basic('_kubernetes-b', token);
    await b.stop();
    assert.equal(await login(builder), 503);
    assert.equal(await login(basic('_kubernetes-a', await a.token())), 'a:prod/default');
    assert.equal((await front.sendAs('alice', path)).status, 200);
    await front.logLine(
      ({ status, reason }) => status === 503 && /no answer from localhost/.test(String(reason)),
    );
    await b.restart();
    assert.equal(await login(builder), 'b:ci/builder apps/web:pull,push');
    for (const secret of [token, b.reviewerToken]) {
      assert.ok(!front.log().includes(secret), 'a token is in the log');
    }
  });
});
