import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { type Dispatcher, ProxyAgent, request } from 'undici';
import { createTokenIssuer } from './harness/azure-entra.js';
import { type AzureHouse, openAzureHouse } from './harness/azure-house.js';
import { startIdentityEndpoint } from './harness/azure-identity-endpoint.js';

// The fakes answer as Azure does to what is wrong: a source that sends it would not pass.

const form = { 'content-type': 'application/x-www-form-urlencoded' };
const audience = 'https://containerregistry.azure.net';

interface Reply {
  readonly status: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly text: string;
}

describe('the fakes of Azure', () => {
  const scope: { closers: (() => Promise<void> | void)[] } = { closers: [] };
  let house: AzureHouse;
  let agent: ProxyAgent;
  before(async () => {
    house = await openAzureHouse({ after: (close) => void scope.closers.unshift(close) });
    agent = new ProxyAgent({ uri: house.world.proxyUrl, requestTls: { ca: house.world.authority } });
  });
  after(async () => {
    await agent.destroy();
    for (const close of scope.closers) await close();
  });

  const ask = async (
    url: string,
    options: { method?: 'GET' | 'POST'; headers?: Record<string, string>; body?: string } = {},
  ): Promise<Reply> => {
    const { method = 'GET', headers = {}, body = null } = options;
    const answer = await request(url, { method, headers, body, dispatcher: agent });
    return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
  };
  const post = (url: string, fields: Record<string, string>, headers: Record<string, string> = form) =>
    ask(url, { method: 'POST', headers, body: new URLSearchParams(fields).toString() });

  describe('Entra ID', () => {
    const right = () => ({
      grant_type: 'client_credentials',
      client_id: house.application.clientId,
      scope: `${audience}/.default`,
      client_secret: house.secret,
    });
    const url = () => `https://login.microsoftonline.com/${house.entra.tenant}/oauth2/v2.0/token`;

    it('gives a token to the right secret', async () => {
      const answer = await post(url(), right());
      assert.equal(answer.status, 200, answer.text);
      const { access_token } = JSON.parse(answer.text) as { access_token: string };
      assert.equal(house.entra.verify(access_token)?.aud, audience);
      assert.equal(house.entra.verify(`${access_token.slice(0, -4)}AAAA`), undefined);
    });

    for (const [what, change, code] of [
      ['another secret', { client_secret: 'wrong' }, 7000215],
      ['another client', { client_id: 'x' }, 700016],
      ['another grant', { grant_type: 'password' }, 70003],
      ['an audience without /.default', { scope: audience }, 1002012],
      ['an audience that is not there', { scope: 'https://evil.example.com/.default' }, 500011],
    ] as const) {
      it(`refuses ${what}`, async () => {
        const answer = await post(url(), { ...right(), ...change });
        assert.ok(answer.status >= 400, answer.text);
        assert.deepEqual((JSON.parse(answer.text) as { error_codes: number[] }).error_codes, [code]);
      });
    }

    it('refuses JSON, GET and an assertion without its type', async () => {
      assert.equal((await post(url(), right(), { 'content-type': 'application/json' })).status, 400);
      assert.equal((await ask(url())).status, 404);
      const { client_secret: _, ...rest } = right();
      const token = house.renewToken();
      assert.match((await post(url(), { ...rest, client_assertion: token })).text, /AADSTS7000218/);
      const client_assertion_type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
      const shown = { ...rest, client_assertion_type };
      assert.equal((await post(url(), { ...shown, client_assertion: token })).status, 200);
      const forged = `${token.slice(0, -8)}AAAAAAAA`;
      assert.match((await post(url(), { ...shown, client_assertion: forged })).text, /AADSTS50013/);
      const stranger = createTokenIssuer().token({
        subject: 'system:serviceaccount:proxy:docker-registry-proxy',
      });
      assert.match((await post(url(), { ...shown, client_assertion: stranger })).text, /AADSTS700211/);
    });
  });

  it('the identity endpoint of a machine refuses what any web page could ask', async (t: TestContext) => {
    const machine = await startIdentityEndpoint(house.entra, 'imds', house.application);
    t.after(() => machine.close());
    const get = async (query: string, headers: Record<string, string>) =>
      (await request(`${machine.url}/metadata/identity/oauth2/token?${query}`, { headers })).statusCode;
    const query = `api-version=2018-02-01&resource=${audience}`;
    assert.equal(await get(query, { metadata: 'true' }), 200);
    assert.equal(await get(query, {}), 400);
    assert.equal(await get(query, { metadata: 'true', 'x-forwarded-for': '192.0.2.1' }), 400);
    assert.equal(await get(`resource=${audience}`, { metadata: 'true' }), 400);
    assert.equal(await get('api-version=2018-02-01&resource=https://x', { metadata: 'true' }), 400);
  });

  describe('the registry', () => {
    const right = () => ({
      grant_type: 'access_token',
      service: house.acr.host,
      access_token: house.entra.issue(house.application, audience),
    });
    const url = (path: string) => `https://${house.acr.host}${path}`;

    it('exchanges a token of Entra ID', async () => {
      assert.equal((await post(url('/oauth2/exchange'), right())).status, 200);
    });

    for (const [what, change, status] of [
      ['another service', { service: 'fabrikam.azurecr.io' }, 400],
      ['another grant', { grant_type: 'refresh_token' }, 400],
      ['another tenant', { tenant: 'x' }, 401],
      ['no token', { access_token: '' }, 401],
      ['a forged token', { access_token: 'eyJhbGciOiJub25lIn0.e30.' }, 401],
    ] as const) {
      it(`exchanges nothing for ${what}`, async () => {
        assert.equal((await post(url('/oauth2/exchange'), { ...right(), ...change })).status, status);
      });
    }

    it('has one way to exchange, and it is POST', async () => {
      assert.equal((await ask(url(`/oauth2/exchange?${new URLSearchParams(right())}`))).status, 404);
    });

    it('takes a refresh token at /oauth2/token alone', async () => {
      const { refresh_token } = JSON.parse((await post(url('/oauth2/exchange'), right())).text) as {
        refresh_token: string;
      };
      const guid = '00000000-0000-0000-0000-000000000000';
      const basic = { authorization: `Basic ${Buffer.from(`${guid}:${refresh_token}`).toString('base64')}` };
      const refused = await ask(url('/v2/'), { headers: basic });
      assert.equal(refused.headers['www-authenticate'], 'Basic realm="Azure Container Registry"');
      const bearer = await ask(url('/v2/'), { headers: { authorization: `Bearer ${refresh_token}` } });
      assert.match(String(bearer.headers['www-authenticate']), /error="invalid_token"/);
      const asked = { grant_type: 'refresh_token', service: house.acr.host, refresh_token };
      assert.equal((await post(url('/oauth2/token'), { ...asked, service: 'x' })).status, 400);
      assert.equal((await post(url('/oauth2/token'), { ...asked, refresh_token: 'x' })).status, 401);
      const granted = await post(url('/oauth2/token'), { ...asked, scope: 'repository:a:pull,delete' });
      assert.deepEqual(Object.keys(JSON.parse(granted.text) as object), ['access_token']);
      const { access_token } = JSON.parse(granted.text) as { access_token: string };
      assert.deepEqual(house.acr.tokens.granted(access_token), [
        { type: 'repository', name: 'a', actions: ['pull'] },
      ]);
      const service = `service=${house.acr.host}&scope=repository:a:pull`;
      assert.equal((await ask(url(`/oauth2/token?${service}`), { headers: basic })).status, 200);
      assert.equal((await ask(url(`/oauth2/token?${service}`))).status, 401);
    });

    it('lists tags to metadata_read alone, and says so', async () => {
      const authorization = `Bearer ${house.acr.tokens.access([{ type: 'repository', name: 'a', actions: ['pull'] }])}`;
      const answer = await ask(url('/v2/a/tags/list'), { headers: { authorization } });
      assert.equal(answer.status, 401);
      assert.equal(
        answer.headers['www-authenticate'],
        'Bearer realm="https://contoso.azurecr.io/oauth2/token",service="contoso.azurecr.io",' +
          'scope="repository:a:metadata_read",error="insufficient_scope"',
      );
    });
  });
});
