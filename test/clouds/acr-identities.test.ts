import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { o, openAcrSource, openSource, reasonOf, target, tokenOf, whoSaw } from './harness/acr-source.js';
import type { EntraFault } from './harness/azure-entra.js';
import { type AzureHouse, azureVariables, openAzureHouse } from './harness/azure-house.js';
import { type IdentityFault, startIdentityEndpoint } from './harness/azure-identity-endpoint.js';
import { hostsThatSaw } from './harness/front-secrets.js';

describe('a managed identity', () => {
  it('is asked for directly, never through the proxy, with the header and the audience', async (t) => {
    const { machine, source, known, house } = await openAcrSource(t, 'managed');
    await source.credentialFor(known, o);
    const [{ path, headers } = { path: '', headers: {} }] = machine.requests;
    const url = new URL(path, machine.url);
    assert.equal(url.pathname, '/metadata/identity/oauth2/token');
    assert.deepEqual(Object.fromEntries(url.searchParams), {
      'api-version': '2018-02-01',
      resource: 'https://containerregistry.azure.net',
    });
    assert.equal(headers.metadata, 'true');
    assert.deepEqual(house.world.unknownNames, []);
  });

  it('is chosen by clientId where there are several', async (t) => {
    const { machine, house, known } = await openAcrSource(t, 'managed');
    machine.assigned.push(house.entra.register());
    const without = await openSource(t, house, house.settings('managed'));
    assert.match(
      await reasonOf(without, house.acr.host, house),
      /400 invalid_request: there are several identities/,
    );
    const { clientId } = house.application;
    tokenOf(
      await (await openSource(t, house, { ...house.settings('managed'), clientId })).credentialFor(known, o),
    );
    const other = { ...house.settings('managed'), clientId: '11111111-2222-3333-4444-555555555555' };
    const wrong = await reasonOf(await openSource(t, house, other), house.acr.host, house);
    assert.match(wrong, /the identity that `clientId` names is not assigned here/);
  });

  it('of an app is asked for as the app is told', async (t) => {
    const house = await openAzureHouse(t);
    const app = await startIdentityEndpoint(house.entra, 'app', house.application);
    t.after(() => app.close());
    const { url, header } = app;
    azureVariables(t, { IDENTITY_ENDPOINT: `${url}/msi/token`, IDENTITY_HEADER: header });
    const { clientId } = house.application;
    const source = await openSource(t, house, { ...house.settings('managed'), clientId });
    tokenOf(await source.credentialFor(target(house.acr.host), o));
    assert.deepEqual(hostsThatSaw(house.world, header), []);
    const asked = new URL(app.requests[0]?.path ?? '', url).searchParams;
    assert.deepEqual([asked.get('client_id'), asked.get('api-version')], [clientId, '2019-08-01']);
    azureVariables(t, { IDENTITY_ENDPOINT: `${url}/msi/token`, IDENTITY_HEADER: 'another' });
    const wrong = await reasonOf(
      await openSource(t, house, house.settings('managed')),
      house.acr.host,
      house,
    );
    assert.match(wrong, /answers 401/);
  });

  for (const [what, fault, told] of [
    ['404', { kind: 'status', status: 404 }, /answers 404 unavailable: it is being updated, or it is none/],
    ['410', { kind: 'status', status: 410 }, /answers 410 unavailable: .* back within 70 seconds/],
    [
      '429',
      { kind: 'status', status: 429, headers: { 'retry-after': '7' } },
      /answers 429 unavailable: it slows us down/,
    ],
    ['500', { kind: 'status', status: 500 }, /answers 500 unavailable: it is in trouble/],
    [
      'a redirect',
      { kind: 'status', status: 302, headers: { location: 'http://127.0.0.1:1/' } },
      /answers 302 unavailable: it redirects/,
    ],
    ['200 without a token', { kind: 'no token' }, /answers 200: that is no access token/],
    [
      'nothing',
      { kind: 'silent' },
      /no answer from the identity endpoint 127\.0\.0\.1:\d+: does this run in Azure\?/,
    ],
  ] as const satisfies readonly (readonly [string, IdentityFault, RegExp])[]) {
    it(`whose endpoint answers ${what} says so`, async (t) => {
      const { machine, source, house, known } = await openAcrSource(t, 'managed', {
        settings: { timeout: '500ms' },
      });
      machine.fault = fault;
      assert.match(await reasonOf(source, house.acr.host, house), told);
      if (what === '429') {
        const { retryAfter } = await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
        assert.equal(retryAfter, 7);
      }
      assert.deepEqual(house.acr.exchanges, []);
    });
  }

  it('without an endpoint says what to use elsewhere', async (t) => {
    const { machine, source, house } = await openAcrSource(t, 'managed');
    await machine.close();
    assert.match(
      await reasonOf(source, house.acr.host, house),
      /Elsewhere name tenant, clientId and clientSecret, or tokenFile/,
    );
  });

  it('that nobody assigned is told', async (t) => {
    const { machine, source, house } = await openAcrSource(t, 'managed');
    machine.assigned.length = 0;
    assert.match(
      await reasonOf(source, house.acr.host, house),
      /400 invalid_request: no managed identity is assigned/,
    );
  });

  it('asks for the audience that is configured', async (t) => {
    const unknown = { audience: 'https://registry.contoso.com' };
    const { source, house } = await openAcrSource(t, 'managed', { settings: unknown });
    assert.match(
      await reasonOf(source, house.acr.host, house),
      /invalid_resource AADSTS500011: look at `audience`/,
    );
  });
});

describe('an application', () => {
  for (const [what, spoil, told] of [
    [
      'a wrong secret',
      ({ application }) => application.secrets.splice(0),
      /401 invalid_client AADSTS7000215: clientSecret is wrong/,
    ],
    [
      'an unknown tenant',
      ({ entra }) => Object.assign(entra, { tenant: 'other' }),
      /400 invalid_request AADSTS90002: there is no such tenant/,
    ],
    [
      'an answer without a token',
      answers({ status: 200, body: '{"token_type":"Bearer"}' }),
      /answers 200: that is no access token: is `authority` right/,
    ],
    [
      'a page',
      answers({ status: 200, body: '<html>sign in</html>' }),
      /answers 200: that is no access token/,
    ],
    [
      'a redirect',
      answers({ status: 302, body: '', headers: { location: 'https://evil.example.com/' } }),
      /answers 302: it redirects, which is not followed/,
    ],
    [
      'too many requests',
      answers({ status: 429, body: '{}', headers: { 'retry-after': '30' } }),
      /answers 429: it slows us down/,
    ],
    ['trouble', answers({ status: 503, body: 'oops' }), /answers 503: it is in trouble/],
    [
      'an expired secret',
      answers(entraError(401, 'invalid_client', 7000222)),
      /AADSTS7000222: clientSecret has expired/,
    ],
    [
      'an error nobody knows',
      answers(entraError(400, 'invalid_client', 7999999)),
      /400 invalid_client AADSTS7999999: it refuses this identity/,
    ],
    [
      'an error that quotes',
      answers({ status: 400, body: '{"error":"a <b>","error_codes":["x"]}' }),
      /answers 400: it refuses/,
    ],
  ] as const satisfies readonly (readonly [string, (house: AzureHouse) => unknown, RegExp])[]) {
    it(`that meets ${what} says so`, async (t) => {
      const { source, house } = await openAcrSource(t, 'secret');
      spoil(house);
      assert.match(await reasonOf(source, house.acr.host, house), told);
      assert.deepEqual(house.acr.exchanges, []);
      assert.deepEqual(whoSaw(house, house.secret), ['login.microsoftonline.com']);
    });
  }

  it('shows a rotated secret without a restart', async (t) => {
    const { house, source, known } = await openAcrSource(t, 'secret');
    await source.credentialFor(known, o);
    house.application.secrets.splice(0, 1, 'the-new-one~');
    await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
    writeFileSync(join(house.directory, 'secret'), 'the-new-one~');
    tokenOf(await source.credentialFor(known, o));
  });

  it('is one of a sovereign cloud where `authority` says so', async (t) => {
    const { house, known } = await openAcrSource(t, 'secret');
    const source = await openSource(t, house, {
      ...house.settings('secret'),
      authority: 'https://login.microsoftonline.us/',
    });
    await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
    assert.deepEqual(house.world.unknownNames, ['login.microsoftonline.us:443']);
    assert.deepEqual(house.world.requests, []);
  });
});

describe('a federated token', () => {
  for (const [what, renew, told] of [
    ['has ended', { lifetime: -60 }, /401 invalid_client AADSTS700024: the token in tokenFile has expired/],
    [
      'is another subject’s',
      { subject: 'system:serviceaccount:a:b' },
      /AADSTS700213: the application's federated credentials name another/,
    ],
    [
      'is for another audience',
      { audience: 'https://kubernetes' },
      /AADSTS700212: the application's federated credentials name another/,
    ],
  ] as const) {
    it(`that ${what} is told`, async (t) => {
      const { house, source } = await openAcrSource(t, 'federated');
      const token = house.renewToken(renew);
      const reason = await reasonOf(source, house.acr.host, house);
      assert.match(reason, told);
      assert.ok(!reason.includes(token), reason);
    });
  }

  it('is read again each time', async (t) => {
    const { house, source, known } = await openAcrSource(t, 'federated');
    house.renewToken({ lifetime: -60 });
    await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
    const token = house.renewToken();
    tokenOf(await source.credentialFor(known, o));
    assert.deepEqual(hostsThatSaw(house.world, token), ['login.microsoftonline.com']);
  });

  it('is found by the variables of AKS, and goes before the machine’s identity', async (t) => {
    const { house, machine, known } = await openAcrSource(t, 'managed');
    const { entra, application, directory } = house;
    const variables = {
      AZURE_FEDERATED_TOKEN_FILE: join(directory, 'token'),
      AZURE_TENANT_ID: entra.tenant,
      AZURE_CLIENT_ID: application.clientId,
      AZURE_AUTHORITY_HOST: 'https://login.microsoftonline.com/',
      AZURE_POD_IDENTITY_AUTHORITY_HOST: machine.url,
    };
    azureVariables(t, variables);
    tokenOf(await (await openSource(t, house, house.settings('managed'))).credentialFor(known, o));
    assert.deepEqual(house.acr.exchanges, [{ tenant: entra.tenant, status: 200 }]);
    assert.deepEqual(machine.requests, []);
    const machines = await openSource(t, house, { ...house.settings('managed'), identity: 'managed' });
    tokenOf(await machines.credentialFor(known, o));
    assert.equal(machine.requests.length, 1);
    azureVariables(t, { ...variables, AZURE_AUTHORITY_HOST: 'http://login.evil.com' });
    await assert.rejects(
      openSource(t, house, house.settings('managed')),
      /AZURE_AUTHORITY_HOST is not an https URL/,
    );
  });
});

function answers(fault: EntraFault): (house: AzureHouse) => void {
  return ({ entra }) => {
    entra.fault = fault;
  };
}

function entraError(status: number, error: string, code: number): EntraFault {
  const body = { error, error_description: `AADSTS${code}: Words. Trace ID: 1`, error_codes: [code] };
  return { status, body: JSON.stringify(body) };
}
