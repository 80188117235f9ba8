import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { identityEnvelope, machineUsers } from '../../src/protocol/identity-envelope.js';
import { serverIdHeader } from '../../src/protocol/sts-proof.js';
import type { WorldRequest } from '../clouds/harness/world.js';
import { type Front, sharedScope } from '../harness/index.js';
import {
  account,
  audience,
  login,
  type MachineHouse,
  openMachineHouse,
  otherAccount,
  region,
  sessionOf,
  shown,
  stsProofOf,
} from './machine-house.js';

// Through the whole proxy: whatever a client shows as its request to STS, what leaves is one request, built by us, or
// nothing.

const address = '203.0.113.1';
const host = `sts.${region}.amazonaws.com`;
const parameters = [
  ...['Action', 'Version', 'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Expires'],
  ...['X-Amz-Security-Token', 'X-Amz-Signature', 'X-Amz-SignedHeaders'],
];
/** What HTTP itself needs, and ours. */
const headers = [
  'accept',
  'accept-encoding',
  'accept-language',
  'connection',
  'host',
  'sec-fetch-mode',
  'user-agent',
];

/** A request as it may leave, whoever asked for it. */
function assertRebuilt({ host: name, method, path, headers: sent, body }: WorldRequest): void {
  assert.equal(name, host, 'another host was asked');
  assert.equal(sent.host, host);
  assert.equal(method, 'GET');
  assert.equal(body, '');
  assert.ok(path.startsWith('/?'), `another path: ${path.slice(0, 40)}`);
  const pairs = path.slice(2).split('&');
  const names = pairs.map((pair) => decodeURIComponent(pair.split('=')[0] ?? ''));
  assert.equal(new Set(names.map((one) => one.toLowerCase())).size, names.length, `twice: ${names}`);
  for (const one of names) assert.ok(parameters.includes(one), `the parameter ${one}`);
  for (const pair of pairs) assert.match(pair, /^[\w-]+=(?:[\w.~-]|%[0-9A-F]{2})*$/, 'coded as in RFC 3986');
  const query = new URLSearchParams(path.slice(2));
  assert.equal(query.get('Action'), 'GetCallerIdentity');
  assert.equal(query.get('Version'), '2011-06-15');
  assert.equal(query.get('X-Amz-SignedHeaders'), `host;${serverIdHeader}`);
  assert.equal(sent[serverIdHeader], audience);
  assert.equal(sent.accept, 'application/json');
  const others = Object.keys(sent).filter((one) => one !== serverIdHeader && !headers.includes(one));
  assert.deepEqual(others, [], 'headers of somebody else');
  assert.equal(sent.authorization, undefined);
}

/** A change of a good proof. */
type Change = (proof: string) => string;
const add =
  (text: string): Change =>
  (proof) =>
    proof + text;
const put =
  (name: string, value: string): Change =>
  (proof) =>
    proof.replace(new RegExp(`(?<=[?&]${name}=)[^&]*`), () => value);
const instead =
  (text: string | RegExp, by: string): Change =>
  (proof) =>
    proof.replace(text, () => by);
/** Of `KEY/DAY/REGION/SERVICE/aws4_request`. */
const scope = (place: string, service = 'sts'): Change => {
  const end = encodeURIComponent(`/${place}/${service}/aws4_request`);
  return (proof) => proof.replace(/(?<=X-Amz-Credential=[A-Z0-9]+%2F\d{8})%2F[^&]*/, () => end);
};

const hostile: Readonly<Record<string, Change>> = {
  'another action': put('Action', 'AssumeRole'),
  'the action in other letters': put('Action', 'getcalleridentity'),
  'a second action': add('&Action=AssumeRole'),
  'a second action before it': instead('?', '?Action=CreateUser&'),
  'the same action twice': add('&Action=GetCallerIdentity'),
  'a second token': add('&X-Amz-Security-Token=abcd'),
  'a second token in other letters': add('&x-amz-security-token=abcd'),
  'a second action in other letters': add('&action=AssumeRole'),
  'a second action, its name coded': add('&%41ction=AssumeRole'),
  'an action in place of another parameter': instead('Version=2011-06-15', 'Action=AssumeRole'),
  'another version': put('Version', '2010-05-08'),
  'a parameter of another call': add('&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fadmin'),
  'a parameter without a value': add('&X-Amz-Extra'),
  'a parameter within a value': put('X-Amz-Security-Token', 'abc%26Action%3DAssumeRole'),
  'a semicolon between parameters': add(';Action=AssumeRole'),
  'a line within a value': put('X-Amz-Security-Token', 'abc%0D%0AHost%3A%20evil.example.com'),
  'a null within a value': put('X-Amz-Security-Token', 'abc%00'),
  'a value that is badly coded': put('X-Amz-Security-Token', 'abc%zz'),
  'a value that is coded twice': put('Action', '%2547etCallerIdentity'),
  'a plus for a space': put('X-Amz-Security-Token', 'abc+def'),
  'a fragment': add('#'),
  'a fragment before the end': instead('&X-Amz-Signature', '#&X-Amz-Signature'),
  'a whole URL': (proof) => `https://evil.example.com/${proof.slice(proof.indexOf('?'))}`,
  'another path': instead('?', '/admin?'),
  'a path that leads up': instead('?', '/../?'),
  'a host behind an @': instead('?', '@evil.example.com?'),
  'a second question mark': instead('?', '??'),
  'no audience': (proof) => proof.slice(proof.indexOf('?')),
  'a line within the audience': instead('?', '%0d%0ax-evil: 1?'),
  'a list as the audience': instead('?', ',evil.example.com?'),
  'a region that is a host': scope('evil.example.com'),
  'a region with a host behind': scope('eu-west-1.evil.example.com'),
  'a region with an @': scope('eu-west-1@evil.example.com'),
  'a region with a fragment': scope('eu-west-1#'),
  'a region with a slash': scope('eu-west-1/evil'),
  'a region with a port': scope('eu-west-1:8443'),
  'a region with a space': scope('eu-west-1 '),
  'a region of capitals': scope('EU-WEST-1'),
  'a region that is none': scope('localhost'),
  'no region': scope(''),
  'a region of another partition': scope('cn-north-1'),
  'another service': scope(region, 'iam'),
  'another algorithm': put('X-Amz-Algorithm', 'AWS4-ECDSA-P256-SHA256'),
  'more signed headers': put(
    'X-Amz-SignedHeaders',
    'host%3Bx-amz-target%3Bx-docker-registry-proxy-server-id',
  ),
  'fewer signed headers': put('X-Amz-SignedHeaders', 'host'),
  'signed headers in another order': put('X-Amz-SignedHeaders', 'x-docker-registry-proxy-server-id%3Bhost'),
  'a longer life': put('X-Amz-Expires', '43200'),
  'a life that is none': put('X-Amz-Expires', '-1'),
  'a life that is a list': put('X-Amz-Expires', '900,900'),
  'another day': put('X-Amz-Date', '20200101T000000Z'),
  'a time that is none': put('X-Amz-Date', '20261332T256199Z'),
  'a signature of another form': put('X-Amz-Signature', 'abcd'),
  'a signature in capitals': (proof) =>
    proof.replace(/(?<=X-Amz-Signature=)[0-9a-f]+/, (text) => text.toUpperCase()),
  'headers behind it': add('\r\nx-evil: 1'),
};

describe('threat 6: a client steers the proxy to another request', () => {
  const life = sharedScope();
  let house: MachineHouse;
  let front: Front;
  const ready = (async () => {
    house = await openMachineHouse(life);
    const settings = `audiences: [${audience}], accounts: ["${account}"], ${house.way}`;
    front = await house.open(life, [`{ id: aws, type: aws-sts, ${settings} }`]);
  })();
  const proofOf = async (...o: Parameters<typeof sessionOf> extends [unknown, ...infer R] ? R : never) =>
    stsProofOf(sessionOf(house.identities, ...o));
  /** What left since it was asked last. */
  let seen = 0;
  const sent = () => {
    const requests = house.world.requests.slice(seen);
    seen = house.world.requests.length;
    assert.deepEqual(house.world.unknownNames, [], 'a host that is none was asked for');
    for (const request of requests) assertRebuilt(request);
    return requests;
  };

  test('a good request is built anew, and says who it is', async () => {
    await ready;
    const { principal } = await login(front, shown(machineUsers.sts, await proofOf()), address);
    assert.equal(principal, `aws:arn:aws:iam::${account}:role/node`);
    assert.equal(sent().length, 1, 'one request');
  });

  test('its parameters in another order, and coded otherwise, are the same request', async () => {
    await ready;
    const proof = await proofOf();
    const [, query = ''] = proof.split('?');
    const turned = `${audience}?${query.split('&').reverse().join('&').replaceAll('%2F', '%2f')}`;
    assert.notEqual(turned, proof);
    const { status, reason } = await login(front, shown(machineUsers.sts, turned), address);
    assert.equal(status, 200, reason);
    assert.equal(sent().length, 1, 'one request');
  });

  for (const [what, change] of Object.entries(hostile)) {
    test(`${what}: nothing is sent`, async () => {
      await ready;
      const good = await proofOf();
      const proof = change(good);
      assert.notEqual(proof, good, 'it changes nothing');
      // Not by `identityEnvelope`, which would not take all of them.
      const { status, reason } = await login(
        front,
        { user: machineUsers.sts, password: `drp-id1.${proof}` },
        address,
      );
      assert.equal(status, 401, reason);
      assert.deepEqual(sent(), [], 'something was sent');
    });
  }

  test('a request that was signed for somebody else is of no use here', async () => {
    await ready;
    const theirs = await stsProofOf(sessionOf(house.identities), 'evil.example.com');
    assert.equal((await login(front, shown(machineUsers.sts, theirs), address)).status, 401);
    assert.deepEqual(sent(), [], 'for another audience nothing is asked');
    const renamed = theirs.replace('evil.example.com', audience);
    const { status, reason } = await login(front, shown(machineUsers.sts, renamed), address);
    assert.equal(status, 401);
    assert.match(reason, /SignatureDoesNotMatch/);
    assert.equal(sent().length, 1, 'STS says so');
  });

  test('a role of another account is refused by what STS says, and by nothing else', async () => {
    await ready;
    const { status, reason } = await login(
      front,
      shown(machineUsers.sts, await proofOf(otherAccount)),
      address,
    );
    assert.equal(status, 401);
    assert.match(reason, new RegExp(otherAccount));
    assert.equal(sent().length, 1, 'one request');
  });

  test('whatever is put into a good request: what leaves is of one form', async () => {
    await ready;
    const pieces = fc.constantFrom(
      ...['&', '=', '?', '#', '/', '@', ':', ';', '%', '%26', '%00', '%0d%0a', '..', '&Action=AssumeRole'],
      ...['Action=', 'evil.example.com', '://', '\\', '\u2028', ' ', '+', '[', '&&', '%c0%af', 'eu-west-1'],
    );
    const hostileChange = fc.record({
      piece: pieces,
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat(12),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(hostileChange, { minLength: 1, maxLength: 4 }), async (changes) => {
        let proof = await proofOf();
        for (const { piece, at, cut } of changes) {
          const place = Math.floor(at * proof.length);
          proof = proof.slice(0, place) + piece + proof.slice(place + cut);
        }
        const { status } = await login(
          front,
          { user: machineUsers.sts, password: `drp-id1.${proof}` },
          address,
        );
        assert.ok(status === 401 || status === 200, String(status));
        sent();
      }),
      { numRuns: 120 },
    );
  });

  test('where STS redirects, nobody else is asked', async () => {
    await ready;
    const end = house.world.intercept((exchange) => {
      exchange.text(307, '', { location: `https://evil.example.com${exchange.record.path}` });
      return true;
    });
    const answer = await login(front, shown(machineUsers.sts, await proofOf()), address);
    end();
    assert.equal(answer.status, 503, answer.reason);
    assert.equal(sent().length, 1, 'one request');
  });

  test('an envelope of somebody else’s user name is shown to nobody', async () => {
    await ready;
    const password = identityEnvelope(await proofOf());
    for (const user of ['alice', '_gcp', 'AWS', '_STS']) {
      const answer = await login(front, { user: user as typeof machineUsers.sts, password }, address);
      assert.equal(answer.status, 401, user);
    }
    assert.deepEqual(sent(), [], 'something was sent');
  });
});
