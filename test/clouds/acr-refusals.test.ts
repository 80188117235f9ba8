import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { driver } from '../../src/credential-sources/acr.js';
import { o, openAcrSource, openSource, reasonOf, tokenOf } from './harness/acr-source.js';
import { type AzureHouse, azureVariables, openAzureHouse } from './harness/azure-house.js';

describe('an exchange that is refused', () => {
  for (const [what, spoil, told] of [
    [
      'without a role',
      ({ acr }) => acr.roles.clear(),
      /contoso\.azurecr\.io answers 401 UNAUTHORIZED: it does not take this identity\. Give it AcrPull/,
    ],
    [
      'by the firewall',
      exchangeAnswers(403, acrError('DENIED', "client with IP '192.0.2.1' is not allowed access")),
      /answers 403 DENIED: it does not let this address in/,
    ],
    ['with 404', exchangeAnswers(404, 'not here'), /answers 404: it has no \/oauth2\/exchange/],
    [
      'with 429',
      exchangeAnswers(429, acrError('TOOMANYREQUESTS', 'slow')),
      /answers 429 TOOMANYREQUESTS: it slows us down/,
    ],
    ['with 500', exchangeAnswers(500, 'oops'), /answers 500: it is in trouble/],
    ['by a page', exchangeAnswers(200, '<html/>'), /answers 200: that is no refresh token/],
    [
      'by a redirect',
      exchangeAnswers(307, '', { location: 'https://evil.example.com/' }),
      /answers 307: it refuses our request/,
    ],
  ] as const satisfies readonly (readonly [string, (house: AzureHouse) => unknown, RegExp])[]) {
    it(`${what} says what to do`, async (t) => {
      const { house, source } = await openAcrSource(t, 'secret');
      spoil(house);
      const reason = await reasonOf(source, house.acr.host, house);
      assert.match(reason, told);
      assert.ok(!reason.includes('192.0.2.1'), reason);
      assert.deepEqual(house.world.unknownNames, []);
    });
  }

  it('for the audience says so; the default one is taken', async (t) => {
    const { house, source, known } = await openAcrSource(t, 'secret');
    house.acr.takesArmTokens = false;
    const arm = { ...house.settings('secret'), audience: 'https://management.azure.com' };
    const reason = await reasonOf(await openSource(t, house, arm), house.acr.host, house);
    assert.match(reason, /401 UNAUTHORIZED: it refuses the token itself: look at `audience`/);
    tokenOf(await source.credentialFor(known, o));
  });

  it('and a refresh token that has ended already is none', async (t) => {
    const { house, source } = await openAcrSource(t, 'secret');
    house.acr.tokens.refreshLifetime = -1;
    assert.match(await reasonOf(source, house.acr.host, house), /is this machine's clock right/);
  });

  it('a refresh token that tells no end is renewed by and by', async (t) => {
    const { house, source, known } = await openAcrSource(t, 'secret');
    exchangeAnswers(200, '{"refresh_token":"opaque"}')(house);
    const credential = await source.credentialFor(known, o);
    assert.equal(tokenOf(credential), 'opaque');
    assert.equal(credential?.expiresAt, undefined);
    const wait = (credential?.refreshAt ?? 0) - Date.now();
    assert.ok(wait > 0 && wait <= 30 * 60_000, `${wait} ms`);
  });
});

describe('the settings of acr', () => {
  const id = '11111111-2222-3333-4444-555555555555';
  const clientSecret = { env: 'X' };
  for (const [what, settings, told] of [
    ['clientSecret alone', { clientSecret }, /clientSecret needs tenant and clientId/],
    [
      'both proofs',
      { clientSecret, tokenFile: 'x', tenant: 'a', clientId: id },
      /cannot stand beside clientSecret/,
    ],
    ['secret without one', { identity: 'secret' }, /identity is secret/],
    ['managed with a tenant', { identity: 'managed', tenant: 'a' }, /Azure knows them/],
    [
      'managed with a secret',
      { identity: 'managed', clientSecret, tenant: 'a', clientId: id },
      /another kind of identity/,
    ],
    ['a name for a client', { clientId: 'app' }, /expected a client ID/],
    ['a path for a tenant', { tenant: 'a/../b' }, /expected the tenant's ID/],
    ['http for the authority', { authority: 'http://login.example.com' }, /expected an https URL/],
    ['a literal secret', { clientSecret: 'hunter2' }, /expected \{ file: NAME \}/],
    ['an unknown key', { clientid: id }, /clientid/],
  ] as const) {
    it(`refuse ${what}`, () => {
      const result = driver.config.safeParse(settings);
      assert.match(result.error?.message ?? 'it was taken', told);
    });
  }

  for (const [what, settings, variables, told] of [
    [
      'no token file',
      { identity: 'federated' },
      {},
      /AZURE_FEDERATED_TOKEN_FILE is not set: has the pod the label/,
    ],
    [
      'a token file without a tenant',
      { tokenFile: 'token', clientId: id },
      {},
      /tenant is missing, and AZURE_TENANT_ID/,
    ],
    [
      'a token file without a client',
      { tokenFile: 'token', tenant: 'a' },
      {},
      /clientId is missing, and AZURE_CLIENT_ID/,
    ],
    ['a tenant alone', { tenant: 'a' }, {}, /tenant stands without clientSecret or tokenFile/],
    [
      'a token file that is not there',
      { tokenFile: 'nowhere', tenant: 'a', clientId: id },
      {},
      /cannot read .*nowhere/,
    ],
    [
      'Azure Arc',
      {},
      { IDENTITY_ENDPOINT: 'http://localhost:40342/x' },
      /identity of Azure Arc is not supported/,
    ],
    [
      'Service Fabric',
      {},
      {
        IDENTITY_ENDPOINT: 'https://localhost:2377/x',
        IDENTITY_HEADER: 'x',
        IDENTITY_SERVER_THUMBPRINT: 'x',
      },
      /Service Fabric is not supported/,
    ],
    [
      'no URL',
      {},
      { AZURE_POD_IDENTITY_AUTHORITY_HOST: 'imds' },
      /AZURE_POD_IDENTITY_AUTHORITY_HOST is not an http URL/,
    ],
  ] as const) {
    it(`do not open with ${what}`, async (t) => {
      const house = await openAzureHouse(t);
      azureVariables(t, variables);
      await assert.rejects(openSource(t, house, settings), told);
    });
  }
});

function exchangeAnswers(status: number, body: string, headers = {}): (house: AzureHouse) => void {
  return ({ acr }) => {
    acr.fault = { at: 'exchange', status, body, headers };
  };
}

function acrError(code: string, message: string): string {
  return JSON.stringify({ errors: [{ code, message }] });
}
