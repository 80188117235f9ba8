import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { ProxyAgent, request } from 'undici';
import { serverIdHeader, stsQuery } from '../../src/protocol/sts-proof.js';
import { checkPresigned, type SignedRequest } from './harness/sigv4.js';
import { audience, type Signing, sessionArn, startStsHouse } from './harness/sts-house.js';

// A fake that takes everything would let everything pass.

/** AWS's own documentation of presigned requests ("Authenticating Requests: Using Query Parameters", example). */
const example: SignedRequest = {
  method: 'GET',
  url: new URL(
    'https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256' +
      '&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request' +
      '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host' +
      '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  ),
  headers: { host: 'examplebucket.s3.amazonaws.com' },
  body: '',
};

test('a presigned request of the documentation is taken, but for the body that S3 alone does not sign', () => {
  const keys = () => ({ secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' });
  const rules = { service: 's3', region: 'us-east-1', keys, now: Date.parse('2013-05-24T00:00:00Z') };
  assert.deepEqual(checkPresigned({ ...example, unsignedBody: true }, rules), { keys: keys() });
  assert.deepEqual(checkPresigned(example, rules), { refused: 'wrong signature' });
});

describe('the fake of STS', () => {
  const minute = 60_000;
  interface Asked {
    readonly signing?: Partial<Signing>;
    readonly headers?: Readonly<Record<string, string>>;
    readonly method?: 'GET' | 'POST';
    readonly path?: string;
    readonly change?: (query: string) => string;
    readonly session?: 'revoked' | 'ended';
  }
  const server = { [serverIdHeader]: audience };
  async function answerTo(t: TestContext, { signing, method = 'GET', path = '/', ...asked }: Asked) {
    const { headers = server, change = (query) => query, session } = asked;
    const house = await startStsHouse(t);
    const dispatcher = new ProxyAgent({
      uri: house.world.proxyUrl,
      requestTls: { ca: house.world.authority },
    });
    t.after(() => dispatcher.destroy());
    const keys = house.identities.session(sessionArn, session === 'ended' ? -1 : undefined);
    const query = change(stsQuery(await house.sign({ keys, ...signing })));
    if (session === 'revoked') house.identities.revoke(keys);
    const url = `https://${house.sts.host}${path}?${query}`;
    const answer = await request(url, { method, headers, dispatcher });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  test('answers who it is, in JSON where that is accepted and else in XML', async (t) => {
    const json = await answerTo(t, { headers: { ...server, accept: 'application/json' } });
    assert.equal(json.status, 200);
    assert.equal(JSON.parse(json.text).GetCallerIdentityResponse.GetCallerIdentityResult.Arn, sessionArn);
    const xml = await answerTo(t, {});
    assert.match(xml.text, new RegExp(`^<GetCallerIdentityResponse .*<Arn>${sessionArn}</Arn>`));
  });

  const ago = (minutes: number) => ({ now: Date.now() - minutes * minute });
  const refused: Readonly<Record<string, readonly [asked: Asked, code: string]>> = {
    'another value of a signed header': [{ headers: { [serverIdHeader]: 'x' } }, 'SignatureDoesNotMatch'],
    'a signed header that is not sent': [{ headers: {} }, 'MissingAuthenticationToken'],
    'a header of AWS that is not signed': [
      { headers: { ...server, 'x-amz-target': 'x' } },
      'MissingAuthenticationToken',
    ],
    'another path': [{ path: '/x' }, 'MissingAction'],
    'another method': [{ method: 'POST' }, 'MissingAction'],
    'another host': [{ signing: { host: 'sts.amazonaws.com' } }, 'SignatureDoesNotMatch'],
    'another region': [
      { signing: { region: 'us-east-1', host: 'sts.eu-west-1.amazonaws.com' } },
      'SignatureDoesNotMatch',
    ],
    'another action': [{ signing: { query: { Action: 'X', Version: '2011-06-15' } } }, 'InvalidAction'],
    'another version': [
      { signing: { query: { Action: 'GetCallerIdentity', Version: '1' } } },
      'MissingAction',
    ],
    'a parameter that was added': [{ change: (query) => `${query}&X=1` }, 'SignatureDoesNotMatch'],
    'a parameter that was changed': [
      { change: (query) => query.replace('Expires=900', 'Expires=800') },
      'SignatureDoesNotMatch',
    ],
    'a signature that is missing': [
      { change: (query) => query.replace(/&X-Amz-Signature=\w+/, '') },
      'MissingAuthenticationToken',
    ],
    'two signatures': [
      { change: (query) => `${query}${/&X-Amz-Signature=\w+/.exec(query)?.[0]}` },
      'MissingAuthenticationToken',
    ],
    'a token that is missing': [
      { change: (query) => query.replace(/&X-Amz-Security-Token=[^&]+/, '') },
      'InvalidClientTokenId',
    ],
    'a request of 16 minutes ago': [{ signing: ago(16) }, 'SignatureDoesNotMatch'],
    'a request of 6 minutes from now': [{ signing: ago(-6) }, 'SignatureDoesNotMatch'],
    'keys that nobody has': [{ session: 'revoked' }, 'InvalidClientTokenId'],
    'keys that have ended': [{ session: 'ended' }, 'ExpiredToken'],
  };
  for (const [name, [asked, code]] of Object.entries(refused)) {
    test(`refuses ${name}: ${code}`, async (t) => {
      const { status, text } = await answerTo(t, asked);
      assert.match(String(status), /^40[03]$/);
      assert.match(text, new RegExp(`<Code>${code}</Code>`));
    });
  }

  test('refuses in JSON whoever accepts that', async (t) => {
    const headers = { accept: 'application/json', [serverIdHeader]: 'x' };
    const { status, text } = await answerTo(t, { headers });
    assert.equal(status, 403);
    assert.equal(JSON.parse(text).Error.Code, 'SignatureDoesNotMatch');
  });

  test('takes 14 minutes ago, whatever the request says itself', async (t) => {
    assert.equal((await answerTo(t, { signing: { ...ago(14), life: 60 } })).status, 200);
  });
});
