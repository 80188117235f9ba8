import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Secret } from '../../src/secret.js';
import { OpenIdClient } from '../../src/sign-in/open-id-client.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { brokenAnswers, json, type Script, startScriptedServer } from './harness/scripted-server.js';

// What a provider may answer to a refresh token, and whether it ends the person's access.

/** @param answer of the token endpoint */
async function refresh(t: Parameters<typeof startScriptedServer>[0], answer: Script) {
  const provider = await startScriptedServer(t, (request, response) => {
    if (request.path === '/token') return answer(request, response);
    const issuer = `http://${request.headers.host}`;
    json(response, 200, {
      ...{ issuer, authorization_endpoint: `${issuer}/auth`, token_endpoint: `${issuer}/token` },
    });
  });
  const client = new OpenIdClient({
    provider: { issuer: provider.url, audiences: ['registry'], fetch: (input, init) => fetch(input, init) },
    ...{ clientId: 'registry', scopes: [], clock: new FakeClock() },
    redirectUri: new URL('https://docker.test/sign-in/callback'),
  });
  t.after(() => client.close());
  const outcome = await client.refresh(new Secret('one'), { signal: AbortSignal.timeout(30_000) });
  assert.equal(provider.requests.at(-1)?.form.get('refresh_token'), 'one');
  return outcome;
}

describe('a refresh token', () => {
  const no: readonly (readonly [status: number, error: string])[] = [
    [400, 'invalid_grant'],
    [401, 'invalid_grant'],
    [400, 'access_denied'],
    [403, 'access_denied'],
    [400, 'interaction_required'],
    [403, 'interaction_required'],
    [400, 'login_required'],
    [403, 'login_required'],
    [400, 'consent_required'],
    [400, 'account_selection_required'],
  ];
  for (const [status, error] of no) {
    test(`that is answered ${status} ${error} is gone`, async (t) => {
      assert.equal(await refresh(t, (_, response) => json(response, status, { error })), 'gone');
    });
  }

  const notNow: readonly (readonly [status: number, error: string])[] = [
    [400, 'invalid_client'],
    [401, 'invalid_client'],
    [400, 'unauthorized_client'],
    [403, 'unauthorized_client'],
    [400, 'invalid_scope'],
    [400, 'invalid_request'],
    [400, 'unsupported_grant_type'],
    [400, 'out_of_cheese'],
    [403, 'forbidden'],
    [429, 'access_denied'],
    [404, 'access_denied'],
    [500, 'access_denied'],
    [500, 'invalid_grant'],
    [503, 'temporarily_unavailable'],
  ];
  for (const [status, error] of notNow) {
    test(`that is answered ${status} ${error} may be good another time`, async (t) => {
      await assert.rejects(
        refresh(t, (_, response) => json(response, status, { error })),
        { code: 'UNAVAILABLE' },
      );
    });
  }

  for (const what of ['answers 401 and a page', 'answers 503 and a page', 'cuts the connection']) {
    test(`whose provider ${what} may be good another time`, async (t) => {
      const broken = brokenAnswers[what] ?? assert.fail(`no broken answer: ${what}`);
      await assert.rejects(
        refresh(t, (_, response) => broken(response)),
        { code: 'UNAVAILABLE' },
      );
    });
  }
});
