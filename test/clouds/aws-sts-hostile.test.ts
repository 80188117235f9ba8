import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { serverIdHeader, stsQuery } from '../../src/protocol/sts-proof.js';
import {
  audience,
  refusalOf,
  type Signing,
  type StsHouse,
  shown,
  startStsHouse,
  verify,
} from './harness/sts-house.js';

// Threat 6: who shows a presigned request must not make the proxy ask STS anything but the one question, nor read the
// answer to another.

const iso = (time: number) => new Date(time).toISOString().replace(/[:-]|\.\d{3}/g, '');
const minute = 60_000;

/** What is changed, and what is said of it. Each is refused before STS is asked. */
interface Hostile {
  /** Of what is signed: the signature is right. */
  readonly signing?: (house: StsHouse) => Partial<Signing>;
  /** Of the proof that was signed. */
  readonly change?: (proof: string, house: StsHouse) => string;
  readonly settings?: object;
  readonly says: RegExp;
}

const other = (name: string, value: string) => (proof: string) =>
  proof.replace(new RegExp(`([?&])${name}=[^&]*`), `$1${name}=${value}`);
const added = (text: string) => (proof: string) => `${proof}&${text}`;
const without = (name: string) => (proof: string) =>
  proof.replace(new RegExp(`([?&])${name}=[^&]*&?`), '$1').replace(/&$/, '');

const cases: Readonly<Record<string, Hostile>> = {
  'another action, signed': {
    signing: () => ({ query: { Action: 'GetSessionToken', Version: '2011-06-15' } }),
    says: /parameter Action is not what it must be/,
  },
  'another action that begins the same': {
    signing: () => ({ query: { Action: 'GetCallerIdentityX', Version: '2011-06-15' } }),
    says: /parameter Action is not/,
  },
  'a line break after the action': {
    signing: () => ({ query: { Action: 'GetCallerIdentity\n', Version: '2011-06-15' } }),
    says: /parameter Action is not/,
  },
  'another version': {
    signing: () => ({ query: { Action: 'GetCallerIdentity', Version: '2011-06-16' } }),
    says: /parameter Version is not/,
  },
  'a second action (CVE-2022-2385)': {
    change: added('Action=AssumeRole'),
    says: /Action stands there twice/,
  },
  'a second action before the first': {
    change: (proof) => proof.replace('?', '?Action=AssumeRole&'),
    says: /parameter Action is not/,
  },
  'a second action in small letters': {
    change: added('action=AssumeRole'),
    says: /Action stands there twice/,
  },
  'the same action twice': { change: added('Action=GetCallerIdentity'), says: /Action stands there twice/ },
  'a second list of signed headers': {
    change: added('x-amz-signedheaders=host'),
    says: /X-Amz-SignedHeaders stands there twice/,
  },
  'a second credential': { change: added('X-Amz-Credential=x'), says: /X-Amz-Credential stands there twice/ },
  'a parameter in small letters alone': {
    change: (proof) => proof.replace('X-Amz-Date', 'x-amz-date'),
    says: /X-Amz-Date is not written as that/,
  },
  'a name that is percent-coded': {
    change: (proof) => proof.replace('X-Amz-Date', 'X%2DAmz-Date'),
    says: /a parameter that is none of Action,/,
  },
  'a parameter of another action': { change: added('RoleArn=arn'), says: /a parameter that is none of/ },
  'a parameter of a prototype': { change: added('__proto__=x'), says: /a parameter that is none of/ },
  'a parameter without a name': { change: added('=x'), says: /a parameter that is none of/ },
  'a parameter without a value': {
    change: added('X-Amz-Security-Token'),
    says: /a parameter that is none of/,
  },
  'nothing after an ampersand': { change: added(''), says: /a parameter that is none of/ },
  'a semicolon for an ampersand': { change: other('Version', '2011-06-15;Action=x'), says: /Version is not/ },
  'a fragment': { change: added('X#Action=x'), says: /a parameter that is none of/ },
  'no action': { change: without('Action'), says: /parameter Action is missing/ },
  'no date': { change: without('X-Amz-Date'), says: /parameter X-Amz-Date is missing/ },
  'no end': { change: without('X-Amz-Expires'), says: /parameter X-Amz-Expires is missing/ },
  'no signature': { change: without('X-Amz-Signature'), says: /parameter X-Amz-Signature is missing/ },
  'no signed headers': { change: without('X-Amz-SignedHeaders'), says: /X-Amz-SignedHeaders is missing/ },
  'another algorithm': {
    change: other('X-Amz-Algorithm', 'AWS4-ECDSA-P256-SHA256'),
    says: /parameter X-Amz-Algorithm is not/,
  },
  'the server not among what is signed': {
    signing: () => ({ headers: {} }),
    says: /parameter X-Amz-SignedHeaders is not/,
  },
  'another header signed along': {
    signing: () => ({ headers: { [serverIdHeader]: audience, 'x-amz-target': 'x' } }),
    says: /parameter X-Amz-SignedHeaders is not/,
  },
  'a header that is no name': {
    signing: () => ({ headers: { 'x-docker-registry-proxy-server-id2': audience } }),
    says: /parameter X-Amz-SignedHeaders is not/,
  },
  'a request of yesterday': {
    signing: ({ clock }) => ({ now: clock.now() - 24 * 60 * minute }),
    says: /it has ended \d{4}-\S+: do the clocks differ\?$/,
  },
  'a request of 15 minutes ago': {
    signing: ({ clock }) => ({ now: clock.now() - 15 * minute - 1000 }),
    says: /it has ended/,
  },
  'one that says itself that it has ended': {
    signing: ({ clock }) => ({ now: clock.now() - 3 * minute, life: 120 }),
    says: /it has ended/,
  },
  'one that is older than maxLife': {
    signing: ({ clock }) => ({ now: clock.now() - 6 * minute }),
    settings: { maxLife: '5m' },
    says: /it has ended/,
  },
  'a request of tomorrow': {
    signing: ({ clock }) => ({ now: clock.now() + 24 * 60 * minute }),
    says: /in the future: do the clocks differ\?/,
  },
  'a request of 2 minutes from now': {
    signing: ({ clock }) => ({ now: clock.now() + 2 * minute }),
    says: /in the future/,
  },
  'one for over 15 minutes': { signing: () => ({ life: 901 }), says: /X-Amz-Expires is over 900 seconds/ },
  'one for a week': { signing: () => ({ life: 604_800 }), says: /X-Amz-Expires is over 900 seconds/ },
  'one without an end': { change: other('X-Amz-Expires', '0'), says: /X-Amz-Expires is not/ },
  'an end that is a float': { change: other('X-Amz-Expires', '9e2'), says: /X-Amz-Expires is not/ },
  'a date that is none': {
    change: (proof) =>
      other('X-Amz-Date', '20260231T000000Z')(proof).replace(/%2F\d{8}%2F/, '%2F20260231%2F'),
    says: /X-Amz-Date is no time/,
  },
  'a date of another day than the scope': {
    change: (proof, { clock }) => other('X-Amz-Date', iso(clock.now() + 24 * 60 * minute))(proof),
    says: /another day than that of X-Amz-Credential/,
  },
  'another service': {
    change: (proof) => proof.replace('%2Fsts%2F', '%2Fiam%2F'),
    says: /parameter X-Amz-Credential is not/,
  },
  'a region that is a path': {
    change: (proof) => proof.replace('%2Feu-west-1%2F', '%2Fevil.example.com%2Fx%2F'),
    says: /parameter X-Amz-Credential is not/,
  },
  'a region with a host behind it': {
    change: (proof) => proof.replace('eu-west-1', 'evil.example.com%23-west-1'),
    says: /parameter X-Amz-Credential is not/,
  },
  'a region with an at sign': {
    change: (proof) => proof.replace('eu-west-1', 'x%40evil-west-1'),
    says: /parameter X-Amz-Credential is not/,
  },
  'a region of another partition': {
    signing: () => ({ region: 'cn-north-1', host: 'sts.cn-north-1.amazonaws.com.cn' }),
    says: /the partition aws-cn is not one of `partitions` \(cn-north-1, /,
  },
  'a region that is not allowed': {
    signing: () => ({ region: 'us-east-1' }),
    settings: { regions: ['eu-west-1'] },
    says: /the region us-east-1 is not one of `regions`/,
  },
  ...Object.fromEntries(
    ['zz-a-1', 'evil-host-9', 'us-evil-1', 'usa-east-1', 'us-east-0', 'us-east-100', 'eusc-fr-east-1'].map(
      (region): [string, Hostile] => [
        `a region that nobody has heard of: ${region}`,
        {
          signing: () => ({ region }),
          says: new RegExp(`the region ${region} is none that is known here; \`regions\` can name it`),
        },
      ],
    ),
  ),
  'a region that is long': {
    signing: () => ({ region: `us-${'x'.repeat(60)}-1` }),
    says: /parameter X-Amz-Credential is not/,
  },
  'a token with a line break': {
    change: added('X-Amz-Security-Token=a%0d%0ax'),
    says: /X-Amz-Security-Token (?:is not|stands there twice)/,
  },
  'a plus that is not coded': {
    change: (proof) => proof.replace('AWS4-HMAC-SHA256', 'AWS4+HMAC-SHA256'),
    says: /X-Amz-Algorithm is not coded as in a URL/,
  },
  'half a percent code': { change: other('Version', '2011-06-15%2'), says: /Version is not coded/ },
  'bytes that are no UTF-8': { change: other('Version', '%ff'), says: /Version is not coded/ },
  'a signature in capitals': {
    change: (proof) =>
      proof.replace(/X-Amz-Signature=\w+/, (all) => `X-Amz-Signature=${all.slice(16).toUpperCase()}`),
    says: /X-Amz-Signature is not/,
  },
  'a whole URL': {
    change: (proof) => `${proof.slice(0, 18)}?https://evil.example.com/${proof.slice(18)}`,
    says: /a parameter that is none of/,
  },
  'no audience': { change: (proof) => proof.slice(audience.length), says: /expected AUDIENCE\?Action=/ },
  nothing: { change: () => '', says: /expected AUDIENCE\?Action=/ },
  'a word': { change: () => 'password', says: /expected AUDIENCE\?Action=/ },
  'nothing after the question mark': { change: () => `${audience}?`, says: /a parameter that is none of/ },
};

describe('what is refused before STS is asked', () => {
  for (const [name, { signing, change = (proof: string) => proof, settings, says }] of Object.entries(
    cases,
  )) {
    test(name, async (t) => {
      const house = await startStsHouse(t);
      const verifier = await house.verifier(settings);
      const proof = change(await house.proof(signing?.(house)), house);
      const signature = /X-Amz-Signature=([^&]+)/.exec(proof)?.[1];
      const secrets = [...house.identities.secrets, ...(signature === undefined ? [] : [signature])];
      const reason = await refusalOf(verify(verifier, proof), secrets);
      assert.match(reason, /^a machine's proof is refused: /);
      assert.match(reason, says);
      assert.deepEqual([house.world.requests, house.world.unknownNames], [[], []]);
    });
  }

  test('one that is too long, shown without an envelope', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const long = `${audience}?${'Action=x&'.repeat(2000)}`;
    const asked = verifier.verify(shown(long), { signal: new AbortController().signal });
    assert.match(await refusalOf(asked, []), /no presigned request/);
  });
});

describe('what STS is asked', () => {
  async function askedOf(t: TestContext, change: (proof: string) => string = (proof) => proof) {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const keys = house.session();
    const signed = await house.sign({ keys });
    const principal = await verify(verifier, change(`${audience}?${stsQuery(signed)}`));
    const { requests } = house.world;
    return { house, principal, signed, requests };
  }

  test('is one GET of our own: fixed host and path, the parameters, and our headers alone', async (t) => {
    const { requests, signed, principal } = await askedOf(t);
    assert.ok(principal, 'no principal');
    const [request, ...more] = requests;
    assert.ok(request, 'nothing was asked');
    assert.equal(more.length, 0);
    assert.deepEqual(
      [request.method, request.host, request.body],
      ['GET', 'sts.eu-west-1.amazonaws.com', ''],
    );
    const url = new URL(request.path, 'https://sts.eu-west-1.amazonaws.com');
    assert.deepEqual([url.pathname, url.hash], ['/', '']);
    assert.deepEqual(Object.fromEntries(url.searchParams), { ...signed });
    const { connection: _connection, ...headers } = request.headers;
    assert.deepEqual(headers, {
      host: 'sts.eu-west-1.amazonaws.com',
      accept: 'application/json',
      'user-agent': 'docker-registry-proxy',
      [serverIdHeader]: audience,
    });
  });

  test('is the same for a proof in another order and another coding', async (t) => {
    const turned = (proof: string) => {
      const [before, query = ''] = proof.split('?');
      return `${before}?${query.split('&').reverse().join('&').replaceAll('%2F', '/').replaceAll('%3B', '%3b')}`;
    };
    const { requests, principal } = await askedOf(t, turned);
    assert.ok(principal, 'the signature is right whatever the order');
    assert.match(
      requests[0]?.path ?? '',
      /^\/\?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=/,
    );
  });

  test('keeps the characters of a session’s token', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    for (let i = 0; i < 5; i++) assert.ok(await verify(verifier, await house.proof()), 'refused');
    const tokens = house.identities.secrets.filter((secret) => secret.startsWith('session-'));
    assert.match(tokens.join(''), /[+]/);
    assert.match(tokens.join(''), /[/=]/);
  });
});
