import assert from 'node:assert/strict';
import { createSign, generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { ProxyAgent, request } from 'undici';
import { type GoogleRegistry, startGoogleRegistry } from './harness/google-registry.js';
import { type GoogleCloud, startGoogleCloud } from './harness/google-token-endpoint-cloud.js';
import type { Storage } from './harness/storage.js';
import { startWorld, type World } from './harness/world.js';

// The fakes of Google Cloud refuse what Google refuses: a test that passes against them has sent what is right.

let world: World;
let cloud: GoogleCloud;
let agent: ProxyAgent;
before(async () => {
  world = await startWorld();
  cloud = await startGoogleCloud(world);
  agent = new ProxyAgent({ uri: world.proxyUrl, requestTls: { ca: world.authority } });
});
after(async () => {
  await agent.destroy();
  await cloud.close();
  await world.close();
});

async function ask(url: string, headers: Record<string, string> = {}, body?: string) {
  const method = body === undefined ? ('GET' as const) : ('POST' as const);
  const answer = await request(url, { method, headers, body: body ?? null, dispatcher: agent });
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
}

const form = { 'content-type': 'application/x-www-form-urlencoded' };
const post = (url: string, fields: Record<string, string>) =>
  ask(url, form, new URLSearchParams(fields).toString());

describe('the metadata server', () => {
  const path = '/computeMetadata/v1/instance/service-accounts/default/token';
  for (const [what, headers, asked, status] of [
    ['a right request', { 'metadata-flavor': 'Google' }, path, 200],
    ['no flavor', {}, path, 403],
    ['a forwarded request', { 'metadata-flavor': 'Google', 'x-forwarded-for': '10.0.0.1' }, path, 403],
    ['another account', { 'metadata-flavor': 'Google' }, path.replace('default', 'other'), 404],
  ] as const) {
    test(`${what}: ${status}`, async () => {
      const answer = await request(`http://${cloud.metadata.host}${asked}`, { headers });
      await answer.body.dump();
      assert.deepEqual([answer.statusCode, answer.headers['metadata-flavor']], [status, 'Google']);
    });
  }
});

describe('oauth2.googleapis.com', () => {
  const url = 'https://oauth2.googleapis.com/token';
  const now = () => Math.floor(Date.now() / 1000);
  const claims = () => ({
    ...{ iss: cloud.robot.email, aud: url, scope: 'https://www.googleapis.com/auth/cloud-platform' },
    ...{ iat: now(), exp: now() + 3600 },
  });
  const sign = (payload: object, key: string, alg = 'RS256') => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg })}.${part(payload)}`;
    return `${text}.${createSign('RSA-SHA256').update(text).sign(key, 'base64url')}`;
  };
  const ownKey = () => String(JSON.parse(cloud.robot.keyFile).private_key);
  const otherKey = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  }).privateKey;
  const grant_type = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
  const rows: Readonly<Record<string, readonly [assertion: () => string, error: string | undefined]>> = {
    'what is right': [() => sign(claims(), ownKey()), undefined],
    'another key': [() => sign(claims(), otherKey), 'Invalid JWT Signature.'],
    'another algorithm': [() => sign(claims(), ownKey(), 'none'), 'Invalid JWT Signature.'],
    'another audience': [
      () => sign({ ...claims(), aud: 'https://gcr.io' }, ownKey()),
      'Failed audience check',
    ],
    'a long life': [() => sign({ ...claims(), exp: now() + 7200 }, ownKey()), 'short-lived token'],
    'a past life': [() => sign({ ...claims(), iat: 1, exp: 3000 }, ownKey()), 'short-lived token'],
    'no scope': [() => sign({ ...claims(), scope: undefined }, ownKey()), 'Invalid OAuth scope'],
    'another account': [() => sign({ ...claims(), iss: 'x@y.z' }, ownKey()), 'account not found'],
  };
  for (const [what, [assertion, error]] of Object.entries(rows)) {
    test(`${what}: ${error ?? 'a token'}`, async () => {
      const { status, text } = await post(url, { grant_type, assertion: assertion() });
      assert.equal(status, error === undefined ? 200 : 400);
      assert.ok(text.includes(error ?? 'access_token'), text);
    });
  }
  test('another grant, and a wrong refresh token', async () => {
    assert.equal((await post(url, { grant_type: 'password' })).status, 400);
    const { client_id, client_secret } = JSON.parse(cloud.userFile);
    const fields = { grant_type: 'refresh_token', client_id, refresh_token: 'wrong' };
    assert.match((await post(url, { ...fields, client_secret })).text, /invalid_grant/);
    assert.equal((await post(url, { ...fields, client_secret: 'wrong' })).status, 401);
  });
});

describe('sts.googleapis.com and iamcredentials.googleapis.com', () => {
  const right = () => ({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    audience: cloud.provider.audience,
    scope: 'https://www.googleapis.com/auth/cloud-platform',
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    subject_token_type: cloud.provider.subjectTokenType,
    subject_token: cloud.subjectToken,
  });
  const url = 'https://sts.googleapis.com/v1/token';
  test('what is right gives a token that may be exchanged once more', async () => {
    const { access_token } = JSON.parse((await post(url, right())).text);
    const name = `projects/-/serviceAccounts/${cloud.target.email}:generateAccessToken`;
    const asked = `https://iamcredentials.googleapis.com/v1/${name}`;
    const body = JSON.stringify({
      scope: ['https://www.googleapis.com/auth/cloud-platform'],
      lifetime: '3600s',
    });
    const impersonate = (token: string, where = asked, what = body) =>
      ask(where, { authorization: `Bearer ${token}` }, what);
    assert.equal((await impersonate(access_token)).status, 200);
    assert.equal((await impersonate('wrong')).status, 401);
    assert.equal((await impersonate(access_token, asked.replace('target', 'robot'))).status, 403);
    assert.equal((await impersonate(access_token, asked.replace('target', 'nobody'))).status, 404);
    assert.equal((await impersonate(access_token, asked, '{}')).status, 400);
  });
  for (const [field, value, error] of [
    ['grant_type', 'refresh_token', 'unsupported_grant_type'],
    ['audience', '//iam.googleapis.com/other', 'invalid_target'],
    ['scope', 'email', 'invalid_scope'],
    ['requested_token_type', 'x', 'invalid_request'],
    ['subject_token_type', 'x', 'invalid_request'],
    ['subject_token', 'x', 'invalid_grant'],
  ] as const) {
    test(`another ${field}: ${error}`, async () => {
      const { status, text } = await post(url, { ...right(), [field]: value });
      assert.deepEqual([status, JSON.parse(text).error], [400, error]);
    });
  }
});

describe('gcr.io and pkg.dev', () => {
  const basic = (user: string, password: string) => ({
    authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  });
  let registry: GoogleRegistry;
  before(() => {
    const storage: Storage = {
      host: '127.0.0.1:1',
      forward: async ({ text }) => text(200, 'stored'),
    };
    registry = startGoogleRegistry(world, cloud.accounts, storage);
    registry.roles.set(cloud.robot.email, 'reader');
  });

  test('challenge: pkg.dev names no service to a ping', async () => {
    const of = async (url: string) => (await ask(url)).headers['www-authenticate'];
    const host = 'europe-west1-docker.pkg.dev';
    assert.equal(await of(`https://${host}/v2/`), `Bearer realm="https://${host}/v2/token"`);
    assert.equal(await of('https://gcr.io/v2/'), 'Bearer realm="https://gcr.io/v2/token",service="gcr.io"');
    assert.equal(
      await of(`https://${host}/v2/acme/images/app/tags/list`),
      `Bearer realm="https://${host}/v2/token",service="${host}",scope="repository:acme/images/app:pull"`,
    );
  });

  test('a token for whom has a role, and with nothing that is not good now', async () => {
    const token = (scope: string, headers: Record<string, string>) =>
      ask(`https://gcr.io/v2/token?scope=${scope}`, headers);
    const own = basic('oauth2accesstoken', cloud.accounts.giveToken(cloud.robot.email).token);
    const pull = 'repository:acme/app:pull';
    assert.equal((await token(pull, own)).status, 200);
    assert.equal((await token(pull, basic('_json_key', cloud.robot.keyFile))).status, 200);
    assert.equal((await token('repository:acme/app:pull,push', own)).status, 403);
    assert.equal((await token(pull, {})).status, 403);
    const stranger = basic('oauth2accesstoken', cloud.accounts.giveToken('x@y.z').token);
    assert.equal((await token(pull, stranger)).status, 403);
    for (const wrong of [
      basic('oauth2accesstoken', 'ya29.wrong'),
      basic('robot', cloud.accounts.giveToken(cloud.robot.email).token),
      basic('_json_key', cloud.robot.keyFile.replace('client_id', 'client')),
    ]) {
      assert.equal((await token(pull, wrong)).status, 401);
    }
    cloud.accounts.revokeTokens();
    assert.equal((await token(pull, own)).status, 401);
  });

  test('tokens end', async (t) => {
    t.after(() => Object.assign(registry, { tokenLife: 3600 }));
    t.after(() => Object.assign(cloud.accounts, { tokenLife: 3599 }));
    registry.tokenLife = 0;
    const { text } = await ask('https://gcr.io/v2/token', basic('_json_key', cloud.robot.keyFile));
    const authorization = `Bearer ${JSON.parse(text).token}`;
    assert.equal((await ask('https://gcr.io/v2/', { authorization })).status, 401);
    cloud.accounts.tokenLife = 0;
    const ended = basic('oauth2accesstoken', cloud.accounts.giveToken(cloud.robot.email).token);
    assert.equal((await ask('https://gcr.io/v2/token', ended)).status, 401);
  });

  test('a token of its own lets in, for what its account may', async () => {
    const { text } = await ask('https://gcr.io/v2/token', basic('_json_key', cloud.robot.keyFile));
    const authorization = `Bearer ${JSON.parse(text).token}`;
    const tags = 'https://gcr.io/v2/acme/app/tags/list';
    assert.equal((await ask(tags, { authorization })).status, 200);
    assert.equal((await ask(tags, { authorization: `${authorization}x` })).status, 401);
    assert.equal((await ask('https://gcr.io/v2/acme/app/blobs/uploads/', { authorization }, '')).status, 403);
    assert.equal((await ask('https://gcr.io/artifacts-uploads/x/uploads/guessed', {}, '')).status, 404);
  });
});
