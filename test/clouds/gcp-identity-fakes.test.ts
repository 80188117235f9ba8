import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { ProxyAgent, request } from 'undici';
import { type GceMetadata, startGceMetadata } from './harness/gce-metadata.js';
import { type GoogleIdentity, startGoogleIdentity } from './harness/google-identity.js';
import { googleAccounts } from './harness/google-token-endpoint-accounts.js';
import { startWorld, type World } from './harness/world.js';

// The fakes refuse what Google refuses, and give what Google gives.

let world: World;
let google: GoogleIdentity;
let metadata: GceMetadata;
let agent: ProxyAgent;
before(async () => {
  world = await startWorld();
  google = startGoogleIdentity(world);
  metadata = await startGceMetadata(googleAccounts(), google);
  agent = new ProxyAgent({ uri: world.proxyUrl, requestTls: { ca: world.authority } });
});
after(async () => {
  await agent.destroy();
  await metadata.close();
  await world.close();
});

const flavor = { 'metadata-flavor': 'Google' };

async function ask(path: string, headers: Record<string, string> = flavor, method: 'GET' | 'POST' = 'GET') {
  const answer = await request(
    `http://${metadata.host}/computeMetadata/v1/instance/service-accounts/${path}`,
    {
      headers,
      method,
    },
  );
  return { status: answer.statusCode, text: await answer.body.text() };
}

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;

async function keySet(): Promise<JSONWebKeySet> {
  const get = async (url: string) =>
    (await (await request(url, { dispatcher: agent })).body.json()) as Record<string, unknown>;
  const { issuer, jwks_uri: uri } = await get('https://accounts.google.com/.well-known/openid-configuration');
  assert.equal(issuer, 'https://accounts.google.com');
  return (await get(String(uri))) as unknown as JSONWebKeySet;
}

describe('the metadata server', () => {
  for (const [what, path, headers, status, text] of [
    ['what is right', 'default/identity?audience=x&format=full', flavor, 200, /^[\w-]+\.[\w-]+\.[\w-]+$/],
    ['the account’s name', 'vm@acme.iam.gserviceaccount.com/identity?audience=x', flavor, 200, /\./],
    ['no flavor', 'default/identity?audience=x', {}, 403, /Missing Metadata-Flavor/],
    [
      'a forwarded request',
      'default/identity?audience=x',
      { ...flavor, 'x-forwarded-for': '10.0.0.1' },
      403,
      /X-Forwarded-For/,
    ],
    ['no audience', 'default/identity', flavor, 400, /^non-empty audience parameter required$/],
    ['an empty audience', 'default/identity?audience=', flavor, 400, /^non-empty audience/],
    ['another format', 'default/identity?audience=x&format=Full', flavor, 400, /format/],
    ['another account', 'other/identity?audience=x', flavor, 404, /Not Found/],
    ['another path', 'default/identities?audience=x', flavor, 404, /Not Found/],
  ] as const) {
    test(`${what}: ${status}`, async () => {
      const answer = await ask(path, headers);
      assert.equal(answer.status, status);
      assert.match(answer.text, text);
    });
  }

  test('another method: 404', async () => {
    assert.equal((await ask('default/identity?audience=x', flavor, 'POST')).status, 404);
  });

  test('tells the machine in full format alone', async (t) => {
    t.after(() => Object.assign(metadata, { serves: 'machine' }));
    const of = async (query: string) => {
      const {
        google: named,
        email,
        iss,
        aud,
        exp,
        iat,
      } = claimsOf((await ask(`default/identity?${query}`)).text);
      assert.deepEqual([iss, aud, Number(exp) - Number(iat)], ['https://accounts.google.com', 'x', 3600]);
      return [named !== undefined, email !== undefined];
    };
    assert.deepEqual(await of('audience=x'), [false, false]);
    assert.deepEqual(await of('audience=x&format=standard'), [false, false]);
    assert.deepEqual(await of('audience=x&format=full'), [true, true]);
    metadata.serves = 'pods';
    assert.deepEqual(await of('audience=x&format=full'), [false, true]);
    metadata.serves = 'none';
    assert.equal((await ask('default/identity?audience=x&format=full')).status, 404);
  });

  test('gives no identity where the test has none', async (t) => {
    const bare = await startGceMetadata(googleAccounts());
    t.after(() => bare.close());
    const path = '/computeMetadata/v1/instance/service-accounts/default/identity?audience=x';
    const answer = await request(`http://${bare.host}${path}`, { headers: flavor });
    await answer.body.dump();
    assert.equal(answer.statusCode, 404);
  });
});

describe('accounts.google.com', () => {
  test('names the keys that the tokens are by, before and after a change', async () => {
    const verify = async (token: string) => jwtVerify(token, createLocalJWKSet(await keySet()));
    const old = google.standardToken('x');
    await verify(old);
    google.rotateKeys();
    const next = google.standardToken('x');
    await Promise.all([verify(old), verify(next)]);
    google.rotateKeys(false);
    await assert.rejects(verify(old), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    await verify(google.standardToken('x'));
    assert.equal((await keySet()).keys.length, 1);
  });

  test('has nothing else', async () => {
    for (const url of [
      'https://accounts.google.com/',
      'https://accounts.google.com/oauth2/v3/certs',
      'https://www.googleapis.com/.well-known/openid-configuration',
    ]) {
      const answer = await request(url, { dispatcher: agent });
      await answer.body.dump();
      assert.equal(answer.statusCode, 404, url);
    }
  });
});
