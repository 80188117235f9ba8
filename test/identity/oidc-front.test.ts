import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import { basic, bearer, claimsOf, startFront } from '../harness/index.js';
import { startOpenIdProvider } from './harness/openid-provider.js';

describe('a proxy that trusts an OpenID provider', () => {
  it('lets a token pull what its groups may, and is loud about a provider that is down', async (t) => {
    const registry = await startMemoryRegistry();
    t.after(() => registry.close());
    registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
    const provider = await startOpenIdProvider();
    t.after(() => provider.close());
    const front = await startFront(
      t,
      `
upstreams: { one: { url: "${registry.url}" } }
routes: [{ prefix: "", upstream: one }]
verifiers:
  - { id: local, type: htpasswd, file: users.htpasswd }
  - { id: sso, type: oidc, issuer: "${provider.issuer}", audiences: [registry], groupsClaim: groups }
policy:
  - { names: ["local:alice"], repositories: ["**"], actions: [pull] }
  - { groups: ["sso:developers"], repositories: ["team/**"], actions: [pull] }
`,
    );
    const manifest = '/v2/team/app/manifests/1';
    const { id_token: token } = await provider.signIn();
    const { id_token: guest } = await provider.signIn({ login: 'bob' });
    const asked = '/token?service=docker.test&scope=repository:team/app:pull';

    await provider.stop();
    const down = await front.send(asked, { headers: { authorization: basic('whoever', token) } });
    assert.equal(down.status, 503, down.text);
    assert.ok(!/127\.0\.0\.1/.test(down.text), 'the answer tells of our servers');
    assert.match(front.log(), /no answer from 127\.0\.0\.1:\d+/);
    assert.equal((await front.sendAs('alice', manifest)).status, 200, 'others are locked out');

    await provider.start();
    const limit = AbortSignal.timeout(20_000);
    let answer = await front.send(asked, { headers: { authorization: basic('whoever', token) } });
    while (answer.status !== 200 && !limit.aborted) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      answer = await front.send(asked, { headers: { authorization: basic('whoever', token) } });
    }
    assert.equal(answer.status, 200, answer.text);
    const ours = (JSON.parse(answer.text) as { token: string }).token;
    const { exp: end } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      exp: number;
    };
    assert.ok(claimsOf(ours).exp <= end, 'our token outlives the one it was made from');
    assert.equal((await front.send(manifest, { headers: { authorization: bearer(ours) } })).status, 200);
    assert.equal((await front.send(manifest, { headers: { authorization: basic('x', token) } })).status, 200);
    assert.equal((await front.send(manifest, { headers: { authorization: basic('x', guest) } })).status, 403);
    const forged = `${token.slice(0, -6)}AAAAAA`;
    assert.equal(
      (await front.send(manifest, { headers: { authorization: basic('x', forged) } })).status,
      401,
    );
    for (const secret of [token, guest, forged, token.split('.')[2] ?? '']) {
      assert.ok(!front.log().includes(secret), 'a token is in the log');
    }
  });
});
