import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { readErrorCode, readInstance } from '../../src/verifiers/aws-identity/ec2-answer.js';
import { document, startAwsDocuments } from './harness/aws-documents.js';
import { described, type Ec2, type Ec2Instance, startEc2 } from './harness/aws-ec2.js';
import {
  type AwsHouse,
  awsEnvironment,
  keysInEnvironment,
  noSecretIn,
  startAwsHouse,
} from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { accepted, openVerifier, refusal, shown } from './harness/aws-identity-house.js';

// Whether EC2 still knows the instance: its document says so for ever.

const documents = startAwsDocuments(['eu-west-1']);
after(() => documents.close());
const certificates = documents.directory;
const { instanceId, imageId, region } = document;
const name = `${owner}/${instanceId}`;
const good = shown(documents.sign(document));
const signal = new AbortController().signal;

interface Ec2House extends AwsHouse {
  readonly ec2: Ec2;
  /** Of the verifier; the services have the real one. */
  readonly time: FakeClock;
  verifier(settings?: object, more?: object): ReturnType<typeof openVerifier>;
}

/** The verifier's credentials are in the environment; one instance runs. */
async function start(t: TestContext): Promise<Ec2House> {
  const house = await startAwsHouse(t);
  awsEnvironment(t, house.directory, keysInEnvironment(house.identities.user('proxy')));
  const ec2 = startEc2(house.world, house.identities, region);
  ec2.instances.push({ instanceId, imageId, ownerId: owner, state: 'running' });
  const time = new FakeClock(Date.now());
  const verifier = (settings: object = {}, more: object = {}) => {
    const describeInstances = { ...house.way, timeout: '2s', ...settings };
    return openVerifier(t, { certificates, describeInstances, ...more }, { clock: time, log: house.log });
  };
  return { ...house, ec2, time, verifier };
}

function change({ ec2 }: Ec2House, changed: Partial<Ec2Instance>): void {
  const [instance] = ec2.instances;
  assert.ok(instance, 'there is no instance');
  Object.assign(instance, changed);
}

describe('an instance that EC2 is asked about', () => {
  test('is accepted where it runs', async (t) => {
    const house = await start(t);
    assert.equal((await accepted(await house.verifier(), good)).name, name);
    assert.deepEqual(house.ec2.asked, [{ instanceId, by: `arn:aws:iam::${owner}:user/proxy` }]);
    assert.deepEqual(
      house.world.requests.map(({ host, method, path }) => `${method} ${host}${path}`),
      ['POST ec2.eu-west-1.amazonaws.com/'],
    );
    noSecretIn(house);
  });

  const changes: Readonly<Record<string, readonly [happens: (house: Ec2House) => void, says: RegExp]>> = {
    'is gone': [
      ({ ec2 }) => void ec2.instances.pop(),
      /EC2 in eu-west-1 shows no instance 123456789012\/i-\S+: it is gone, or of another account/,
    ],
    'was terminated': [(house) => change(house, { state: 'terminated' }), /EC2 says that \S+ is terminated/],
    'is stopped': [(house) => change(house, { state: 'stopped' }), /EC2 says that \S+ is stopped/],
    'shuts down': [(house) => change(house, { state: 'shutting-down' }), /is shutting-down/],
    'is in a state that nobody knows': [(house) => change(house, { state: 'hibernating' }), /is hibernating/],
    'is of another account': [
      (house) => change(house, { ownerId: '999900000000' }),
      /is of account 999900000000/,
    ],
    'was made from another image': [
      (house) => change(house, { imageId: 'ami-0ffff' }),
      /was made from ami-0ffff/,
    ],
  };
  for (const [what, [happens, says]] of Object.entries(changes)) {
    test(`is refused where it ${what}, and is not bound`, async (t) => {
      const house = await start(t);
      happens(house);
      const verifier = await house.verifier();
      assert.match(await refusal(verifier, good), says);
      const [instance] = house.ec2.instances;
      if (instance) Object.assign(instance, { ownerId: owner, imageId, state: 'pending' });
      else house.ec2.instances.push({ instanceId, imageId, ownerId: owner, state: 'pending' });
      house.time.advance(60_000);
      const elsewhere = shown(documents.sign(document), { address: '203.0.113.9' });
      assert.equal((await accepted(verifier, elsewhere)).name, name);
    });
  }

  test('is not asked about where a rule refuses it', async (t) => {
    const house = await start(t);
    await refusal(await house.verifier({}, { instanceTypes: ['t3.*'] }), good);
    await refusal(await house.verifier({}, { firstUse: 'nonce' }), good);
    assert.deepEqual(house.ec2.asked, []);
  });

  test('that was gone is asked about again after ten seconds: EC2 may not know it yet', async (t) => {
    const house = await start(t);
    const [instance] = house.ec2.instances.splice(0);
    assert.ok(instance, 'there is no instance');
    const verifier = await house.verifier();
    await refusal(verifier, good);
    house.ec2.instances.push(instance);
    await refusal(verifier, good);
    assert.equal(house.ec2.asked.length, 1);
    house.time.advance(10_000);
    await accepted(verifier, good);
  });

  test('is asked about once a minute, by whomever', async (t) => {
    const house = await start(t);
    const verifier = await house.verifier();
    await Promise.all(Array.from({ length: 8 }, () => verifier.verify(good, { signal })));
    assert.equal(house.ec2.asked.length, 1);
    house.time.advance(59_999);
    change(house, { state: 'terminated' });
    await accepted(verifier, good);
    house.time.advance(1);
    assert.match(await refusal(verifier, good), /is terminated/);
    assert.match(await refusal(verifier, good), /is terminated/);
    assert.equal(house.ec2.asked.length, 2);
  });
});

describe('where EC2 cannot tell it is unavailable:', () => {
  const faults: Readonly<Record<string, readonly [fault: Ec2['fault'], says: RegExp]>> = {
    'it is throttled': [
      { status: 503, code: 'RequestLimitExceeded' },
      /^EC2 in eu-west-1: answered 503 RequestLimitExceeded: AWS limits/,
    ],
    'it fails': [{ status: 500, code: 'InternalError' }, /answered 500 InternalError/],
    'a 400 of another kind': [{ status: 400, code: 'InvalidRequest' }, /answered 400 InvalidRequest/],
    'not found, but as a 500': [{ status: 500, code: 'InvalidInstanceID.NotFound' }, /answered 500/],
    'no XML': [
      { status: 200, text: '{"reservations":[]}' },
      /EC2 in eu-west-1 sent an answer that cannot be used/,
    ],
    'an error that is none': [{ status: 400, text: '<html>' }, /answered 400 an unknown error/],
    'another instance': [
      { status: 200, text: described({ instanceId: 'i-0ffff', imageId, ownerId: owner, state: 'running' }) },
      /sent an answer that cannot be used/,
    ],
    'a redirect': [{ status: 307, text: '' }, /answered 307/],
  };
  for (const [what, [fault, says]] of Object.entries(faults)) {
    test(what, async (t) => {
      const house = await start(t);
      house.ec2.fault = fault;
      const verifier = await house.verifier();
      assert.match(await refusal(verifier, good, 'UNAVAILABLE'), says);
      house.ec2.fault = undefined;
      await accepted(verifier, good);
    });
  }

  test('nobody answers', async (t) => {
    const house = await start(t);
    house.world.remove(house.ec2.host);
    assert.match(await refusal(await house.verifier(), good, 'UNAVAILABLE'), /no answer from ec2\.eu-west-1/);
  });

  test('we may not ask', async (t) => {
    const house = await start(t);
    house.identities.forbidden.add(`arn:aws:iam::${owner}:user/proxy ec2:DescribeInstances`);
    assert.match(
      await refusal(await house.verifier(), good, 'UNAVAILABLE'),
      /answered 403 UnauthorizedOperation: arn:aws:iam::123456789012:user\/proxy may not ec2:DescribeInstances/,
    );
  });

  test('there are no AWS credentials', async (t) => {
    const house = await start(t);
    awsEnvironment(t, house.directory);
    assert.match(await refusal(await house.verifier(), good, 'UNAVAILABLE'), /no AWS credentials; tried/);
  });

  test('the secret is another one', async (t) => {
    const house = await start(t);
    const { accessKeyId } = house.identities.user('other');
    const keys = keysInEnvironment({ accessKeyId, secretAccessKey: 'another-secret' });
    awsEnvironment(t, house.directory, keys);
    assert.match(await refusal(await house.verifier(), good, 'UNAVAILABLE'), /answered 401 AuthFailure/);
    assert.deepEqual(house.ec2.asked, []);
  });

  test('the keys are unknown to AWS', async (t) => {
    const house = await start(t);
    awsEnvironment(t, house.directory, {
      AWS_ACCESS_KEY_ID: 'AKIAAAAAAAAAAAAAAAAA',
      AWS_SECRET_ACCESS_KEY: 'x',
    });
    assert.match(await refusal(await house.verifier(), good, 'UNAVAILABLE'), /answered 401 AuthFailure/);
    assert.deepEqual(house.ec2.asked, []);
  });
});

describe('another account', () => {
  const account = '210987654321';
  const theirs = shown(documents.sign({ ...document, accountId: account }));
  const role = `arn:aws:iam::${account}:role/see-instances`;
  const settings = { accounts: [owner, account] };

  test('is seen by a role there', async (t) => {
    const house = await start(t);
    house.ec2.instances.push({ instanceId, imageId, ownerId: account, state: 'running' });
    house.identities.roles.set(role, { trusts: `arn:aws:iam::${owner}:user/proxy`, externalId: 'x1' });
    const assumeRole = { arn: 'arn:aws:iam::{accountId}:role/see-instances', externalId: 'x1' };
    const verifier = await house.verifier({ assumeRole }, settings);
    assert.equal((await accepted(verifier, theirs)).name, `${account}/${instanceId}`);
    assert.deepEqual(house.ec2.asked, [
      { instanceId, by: `arn:aws:sts::${account}:assumed-role/see-instances/docker-registry-proxy` },
    ]);
    noSecretIn(house);
  });

  test('is not seen without one', async (t) => {
    const house = await start(t);
    house.ec2.instances[0] = { instanceId, imageId, ownerId: account, state: 'running' };
    const verifier = await house.verifier({}, settings);
    assert.match(
      await refusal(verifier, theirs),
      /shows no instance 210987654321\/.*describeInstances\.assumeRole/,
    );
  });

  test('that does not trust us makes it unavailable', async (t) => {
    const house = await start(t);
    const verifier = await house.verifier(
      { assumeRole: { arn: 'arn:aws:iam::{accountId}:role/see-instances' } },
      settings,
    );
    assert.match(
      await refusal(verifier, theirs, 'UNAVAILABLE'),
      /STS in eu-west-1, for assumeRole: answered 403 AccessDenied/,
    );
    assert.deepEqual(house.ec2.asked, []);
  });
});

describe('the answer of EC2', () => {
  const running = described({ instanceId, imageId, ownerId: owner, state: 'running' });
  test('is read, whatever tags say', () => {
    assert.deepEqual(readInstance(running, instanceId), { ownerId: owner, imageId, state: 'running' });
  });

  test('may list none', () => {
    const none =
      '<DescribeInstancesResponse><requestId>x</requestId><reservationSet/></DescribeInstancesResponse>';
    assert.equal(readInstance(none, instanceId), undefined);
  });

  const damages: Readonly<Record<string, string>> = {
    'of another operation': running.replaceAll('DescribeInstancesResponse', 'DescribeImagesResponse'),
    'cut short': running.slice(0, -20),
    'with a document type': running.replace('<Describe', '<!DOCTYPE x [<!ENTITY a "b">]><Describe'),
    'with a comment': running.replace('<instanceState>', '<!-- x --><instanceState>'),
    'with CDATA': running.replace('running', '<![CDATA[running]]>'),
    'with an instruction in the middle': running.replace('<instanceState>', '<?x y?><instanceState>'),
    'with two states': running.replace(
      '<instanceState>',
      '<instanceState><name>running</name></instanceState><instanceState>',
    ),
    'with two owners': running.replace('<ownerId>', '<ownerId>210987654321</ownerId><ownerId>'),
    'with an owner in parts': running.replace(owner, `${owner}<b/>`),
    'without a state': running.replace(/<instanceState>.*<\/instanceState>/, ''),
    'with two roots': `${running}<x/>`,
    'with text beside the root': `${running}x`,
    'with tags that do not match': running.replace('</ownerId>', '</ownerID>'),
    'with a tag in a tag': running.replace('<ownerId>', '<ownerId<x>>'),
    'with a stray end': `</x>${running}`,
    empty: '',
    'that is deep': running.replace('<groupSet/>', `${'<a>'.repeat(40)}${'</a>'.repeat(40)}`),
    'that never ends': '<a>'.repeat(100_000),
    'with very many elements': running.replace('<groupSet/>', '<b/>'.repeat(30_000)),
  };
  for (const [what, text] of Object.entries(damages)) {
    test(`is not read ${what}`, () => {
      assert.throws(() => readInstance(text, instanceId), { name: 'XmlError' });
      assert.equal(readErrorCode(text), undefined);
    });
  }
});
