import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ProxyAgent, request } from 'undici';
import { startAwsContainer } from './harness/aws-container.js';
import { AwsIdentities } from './harness/aws-identities.js';
import { startSts } from './harness/aws-sts.js';
import { startEcrApi } from './harness/ecr-api.js';
import { startImds } from './harness/imds.js';
import { checkSignature, type Refusal, type SignedRequest, type SigningKeys } from './harness/sigv4.js';
import { startWorld, type World } from './harness/world.js';

// A fake that takes everything would let everything pass.

/** The example of AWS's own documentation of Signature Version 4 ("GET ListUsers"). */
const example: SignedRequest = {
  method: 'GET',
  url: new URL('https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08'),
  headers: {
    host: 'iam.amazonaws.com',
    'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
    'x-amz-date': '20150830T123600Z',
    authorization:
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, ' +
      'SignedHeaders=content-type;host;x-amz-date, ' +
      'Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  },
  body: '',
};
const exampleKeys: SigningKeys = { secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const exampleTime = Date.parse('2015-08-30T12:36:00Z');

function judge(
  request: Partial<SignedRequest>,
  {
    keys = exampleKeys,
    now = exampleTime,
    region = 'us-east-1',
  }: { keys?: SigningKeys | undefined; now?: number; region?: string } = {},
): Refusal | 'taken' {
  const known = (id: string) => (id === 'AKIDEXAMPLE' ? keys : undefined);
  const verdict = checkSignature({ ...example, ...request }, { service: 'iam', region, keys: known, now });
  return 'refused' in verdict ? verdict.refused : 'taken';
}

describe('a signature', () => {
  const { headers } = example;
  const authorization = headers.authorization ?? '';
  const minutes = 60_000;
  const cases: Readonly<
    Record<string, readonly [got: () => Refusal | 'taken', expected: Refusal | 'taken']>
  > = {
    'of the documentation': [() => judge({}), 'taken'],
    'of another method': [() => judge({ method: 'POST' }), 'wrong signature'],
    'of another query': [
      () => judge({ url: new URL('https://iam.amazonaws.com/?Action=X') }),
      'wrong signature',
    ],
    'of another body': [() => judge({ body: '{}' }), 'wrong signature'],
    'of another host': [() => judge({ headers: { ...headers, host: 'evil.com' } }), 'wrong signature'],
    'with another key': [() => judge({}, { keys: { secretAccessKey: 'x' } }), 'wrong signature'],
    'for another region': [() => judge({}, { region: 'eu-west-1' }), 'wrong signature'],
    'of 6 minutes ago': [() => judge({}, { now: exampleTime + 6 * minutes }), 'skewed'],
    'of 6 minutes from now': [() => judge({}, { now: exampleTime - 6 * minutes }), 'skewed'],
    'that is missing': [() => judge({ headers: { ...headers, authorization: undefined } }), 'unsigned'],
    'by nobody': [
      () =>
        judge({ headers: { ...headers, authorization: authorization.replace('AKIDEXAMPLE', 'AKIAOTHER') } }),
      'unknown key',
    ],
    'without its date among what is signed': [
      () => judge({ headers: { ...headers, authorization: authorization.replace(';x-amz-date', '') } }),
      'unsigned',
    ],
    'by temporary keys without their token': [
      () => judge({}, { keys: { ...exampleKeys, sessionToken: 'token' } }),
      'wrong token',
    ],
    'by temporary keys whose token is not signed': [
      () =>
        judge(
          { headers: { ...headers, 'x-amz-security-token': 'token' } },
          { keys: { ...exampleKeys, sessionToken: 'token' } },
        ),
      'unsigned',
    ],
    'by temporary keys that have ended': [
      () => judge({}, { keys: { ...exampleKeys, expiresAt: exampleTime } }),
      'expired token',
    ],
  };
  for (const [name, [got, expected]] of Object.entries(cases)) {
    test(`${name} is ${expected}`, () => assert.equal(got(), expected));
  }
});

describe('the fakes of AWS refuse', () => {
  const identities = new AwsIdentities();
  let world: World;
  let dispatcher: ProxyAgent;
  before(async () => {
    world = await startWorld();
    dispatcher = new ProxyAgent({ uri: world.proxyUrl, requestTls: { ca: world.authority } });
    startSts(world, identities, 'eu-west-1');
    startEcrApi(world, identities, { region: 'eu-west-1' });
  });
  after(async () => {
    await dispatcher.destroy();
    await world.close();
  });

  const json = { 'content-type': 'application/x-amz-json-1.1' };
  const operation = 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken';
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const asked: Readonly<
    Record<
      string,
      readonly [host: string, headers: Record<string, string>, body: string, status: number, says: RegExp]
    >
  > = {
    'an unsigned request to ECR': [
      'api.ecr.eu-west-1.amazonaws.com',
      { ...json, 'x-amz-target': operation },
      '{}',
      400,
      /MissingAuthenticationTokenException/,
    ],
    'another content type': [
      'api.ecr.eu-west-1.amazonaws.com',
      { 'content-type': 'application/json', 'x-amz-target': operation },
      '{}',
      400,
      /UnknownOperationException/,
    ],
    'an unsigned AssumeRole': [
      'sts.eu-west-1.amazonaws.com',
      form,
      'Action=AssumeRole&Version=2011-06-15&RoleArn=x',
      403,
      /<Code>MissingAuthenticationToken</,
    ],
    'a web identity that it does not know': [
      'sts.eu-west-1.amazonaws.com',
      form,
      'Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=x&WebIdentityToken=y',
      400,
      /<Code>ExpiredTokenException</,
    ],
    'another version of STS': [
      'sts.eu-west-1.amazonaws.com',
      form,
      'Action=AssumeRole&Version=2099-01-01',
      400,
      /<Code>MissingAction</,
    ],
  };
  for (const [name, [host, headers, body, status, says]] of Object.entries(asked)) {
    test(name, async () => {
      const answer = await request(`https://${host}/`, { method: 'POST', headers, body, dispatcher });
      assert.equal(answer.statusCode, status);
      assert.match(await answer.body.text(), says);
    });
  }

  test('what comes to the metadata server without its token', async (t) => {
    const imds = await startImds(identities, 'arn:aws:iam::123456789012:role/node');
    t.after(() => imds.close());
    const list = '/latest/meta-data/iam/security-credentials/';
    const tokenHeader = 'x-aws-ec2-metadata-token';
    const get = (headers: Record<string, string> = {}) => fetch(`${imds.url}${list}`, { headers });
    const put = (headers: Record<string, string>) =>
      fetch(`${imds.url}/latest/api/token`, { method: 'PUT', headers });
    const ttl = `${tokenHeader}-ttl-seconds`;
    assert.equal((await get()).status, 401);
    assert.equal((await get({ [tokenHeader]: 'made up' })).status, 401);
    assert.equal((await put({})).status, 400);
    assert.equal((await put({ [ttl]: '21601' })).status, 400);
    assert.equal((await put({ [ttl]: '60', 'x-forwarded-for': '10.0.0.1' })).status, 403);
    const given = await put({ [ttl]: '60' });
    assert.equal(given.headers.get(ttl), '60');
    assert.equal(await (await get({ [tokenHeader]: await given.text() })).text(), 'node-role');
  });

  test('a pod without its token', async (t) => {
    const container = await startAwsContainer(identities, 'arn:aws:iam::123456789012:role/pod');
    t.after(() => container.close());
    container.token = 'right';
    const status = async (headers: Record<string, string>) =>
      (await fetch(container.url, { headers })).status;
    assert.equal(await status({}), 401);
    assert.equal(await status({ authorization: 'wrong' }), 401);
    assert.equal(await status({ authorization: 'right' }), 200);
  });
});
