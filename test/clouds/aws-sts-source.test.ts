import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { Credential, CredentialSource } from '../../src/contracts/index.js';
import { driver } from '../../src/credential-sources/aws-sts.js';
import { RegistryError } from '../../src/errors.js';
import { proofIn } from '../../src/protocol/identity-envelope.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { describeCredentialSourceConformance } from '../../src/testing/conformance/credential-source.js';
import { awsEnvironment, keysInEnvironment } from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { startSts } from './harness/aws-sts.js';
import { type Imds, startImds } from './harness/imds.js';
import {
  audience,
  roleArn,
  type StsHouse,
  sessionArn,
  shown,
  startStsHouse,
  target,
} from './harness/sts-house.js';

const signal = new AbortController().signal;
const minute = 60_000;

async function ask(source: CredentialSource, registry?: string, rejected?: Credential) {
  const of = registry === undefined ? target : { registry: parseRegistryHost(registry) };
  const credential = await source.credentialFor(of, { signal, ...(rejected && { rejected }) });
  assert.ok(credential?.kind === 'basic', 'no user and password');
  return credential;
}

/** `AUDIENCE`, and the parameters of the query. */
function read(credential: Credential) {
  assert.ok(credential.kind === 'basic', 'no user and password');
  const envelope = proofIn(credential.password.reveal());
  assert.ok(envelope !== undefined && 'proof' in envelope, 'no envelope');
  const [audienceOf, query] = envelope.proof.split('?');
  const parameters = Object.fromEntries(new URLSearchParams(query));
  return { audience: audienceOf, parameters, region: parameters['X-Amz-Credential']?.split('/')[2] };
}

/** Its keys are in the environment. */
async function withSession(t: TestContext, env: Readonly<Record<string, string>> = {}): Promise<StsHouse> {
  const house = await startStsHouse(t);
  awsEnvironment(t, house.directory, {
    AWS_REGION: 'eu-west-1',
    ...keysInEnvironment(house.session()),
    ...env,
  });
  return house;
}

async function onInstance(t: TestContext, region?: string): Promise<{ house: StsHouse; imds: Imds }> {
  const house = await startStsHouse(t);
  const imds = await startImds(house.identities, sessionArn, region === undefined ? {} : { region });
  t.after(() => imds.close());
  awsEnvironment(t, house.directory, {
    AWS_EC2_METADATA_DISABLED: 'false',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
  });
  return { house, imds };
}

describeCredentialSourceConformance(
  'aws-sts',
  async (t) => {
    const house = await withSession(t);
    return {
      source: await house.source(),
      known: { ...target, name: parseRepositoryName('team/app') },
      now: () => house.clock.now(),
      rotate: () => house.clock.advance(1000),
      break: () => {
        delete process.env.AWS_ACCESS_KEY_ID;
      },
    };
  },
  ['it has none for a repository it does not know'],
);

describe('what a source shows', () => {
  test('is taken by the verifier, and names the role', async (t) => {
    const house = await withSession(t);
    const { username, password, isConfigured, expiresAt, refreshAt } = await ask(await house.source());
    assert.deepEqual([username, isConfigured], ['_sts', true]);
    const verifier = await house.verifier();
    const principal = await verifier.verify(shown(password.reveal()), { signal });
    assert.equal(principal?.name, roleArn);
    const now = house.clock.now();
    assert.deepEqual([expiresAt, refreshAt], [now + 15 * minute, now + 10 * minute]);
    assert.deepEqual(house.sts.asked, ['GetCallerIdentity'], 'the source itself asks nobody');
  });

  test('of an instance with a role is its role, with nothing configured', async (t) => {
    const { house, imds } = await onInstance(t, 'us-west-2');
    startSts(house.world, house.identities, 'us-west-2');
    const credential = await ask(await house.source());
    assert.equal(read(credential).region, 'us-west-2');
    const principal = await (await house.verifier()).verify(shown(credential.password.reveal()), { signal });
    const { region, sessionName } = principal?.attributes ?? {};
    assert.deepEqual([principal?.name, region, sessionName], [roleArn, 'us-west-2', 'i-0123456789abcdef0']);
    assert.deepEqual(imds.askedByVersion1, []);
  });

  for (const identity of ['any', 'machine']) {
    test(`of a pod is the role that its web identity takes on, with identity: ${identity}`, async (t) => {
      const house = await startStsHouse(t);
      const token = join(house.directory, 'token');
      writeFileSync(token, 'token-of-the-pod');
      house.sts.webIdentities.set('token-of-the-pod', 'system:serviceaccount:ci:builder');
      house.identities.roles.set(roleArn, { trusts: 'system:serviceaccount:ci:builder' });
      awsEnvironment(t, house.directory, {
        AWS_REGION: 'eu-west-1',
        AWS_ROLE_ARN: roleArn,
        AWS_WEB_IDENTITY_TOKEN_FILE: token,
      });
      const { password } = await ask(await house.source({ identity }));
      const principal = await (await house.verifier()).verify(shown(password.reveal()), { signal });
      assert.equal(principal?.name, roleArn);
    });
  }

  test('can be of a role that was taken on', async (t) => {
    const house = await withSession(t);
    const arn = `arn:aws:iam::${owner}:role/pull`;
    house.identities.roles.set(arn, { trusts: sessionArn, externalId: 'ours' });
    const source = await house.source({ assumeRole: { arn, externalId: 'ours', sessionName: 'ci-1' } });
    const { password, expiresAt } = await ask(source);
    const principal = await (await house.verifier()).verify(shown(password.reveal()), { signal });
    assert.deepEqual([principal?.name, principal?.attributes.sessionName], [arn, 'ci-1']);
    assert.equal(expiresAt, house.clock.now() + 15 * minute);
  });

  test('can be of a user', async (t) => {
    const house = await startStsHouse(t);
    awsEnvironment(t, house.directory, keysInEnvironment(house.identities.user('ci')));
    const { password } = await ask(await house.source({ region: 'eu-west-1' }));
    assert.equal(
      Object.hasOwn(read(await ask(await house.source())).parameters, 'X-Amz-Security-Token'),
      false,
    );
    const verifier = await house.verifier({ users: ['ci'] });
    assert.equal(
      (await verifier.verify(shown(password.reveal()), { signal }))?.name,
      `arn:aws:iam::${owner}:user/ci`,
    );
  });

  test('ends with the keys where those end first', async (t) => {
    const end = Math.floor(Date.now() / 1000) * 1000 + 3 * minute;
    const house = await withSession(t, { AWS_CREDENTIAL_EXPIRATION: new Date(end).toISOString() });
    const { expiresAt, refreshAt = 0 } = await ask(await house.source());
    assert.equal(expiresAt, end);
    assert.ok(refreshAt > house.clock.now() && refreshAt < end, 'it is asked for again before');
  });

  test('is signed anew where it was rejected', async (t) => {
    const { house } = await onInstance(t, 'eu-west-1');
    const source = await house.source();
    const first = await ask(source);
    const second = await ask(source, undefined, first);
    assert.notEqual(first.password.reveal(), second.password.reveal());
  });
});

describe('the audience', () => {
  test('is the registry that is asked, or the one that is configured', async (t) => {
    const house = await withSession(t);
    const [usual, fixed] = [await house.source(), await house.source({ audience: 'proxies-of-acme' })];
    const of = async (source: CredentialSource, registry: string) =>
      read(await ask(source, registry)).audience;
    assert.equal(await of(usual, 'docker.example.com'), 'docker.example.com');
    assert.equal(await of(usual, 'localhost:5000'), 'localhost:5000');
    assert.equal(await of(fixed, 'docker.example.com'), 'proxies-of-acme');
    const key = (source: CredentialSource, registry: string) =>
      source.keyFor?.({ registry: parseRegistryHost(registry) });
    assert.notEqual(key(usual, 'a.example.com'), key(usual, 'b.example.com'));
    assert.deepEqual(
      [key(fixed, 'a.example.com'), key(usual, 'a.example.com')],
      ['proxies-of-acme', 'a.example.com'],
    );
    assert.equal(key(fixed, 'a.example.com'), key(fixed, 'b.example.com'));
  });

  test('of one proxy does not count at another', async (t) => {
    const house = await withSession(t);
    const { password } = await ask(await house.source(), 'evil.example.com');
    const verifier = await house.verifier();
    assert.equal(await verifier.verify(shown(password.reveal()), { signal }), undefined);
    const renamed = password.reveal().replace('evil.example.com', audience);
    const failed = await verifier.verify(shown(renamed), { signal }).catch((error: unknown) => error);
    assert.ok(failed instanceof RegistryError && failed.code === 'UNAUTHORIZED', String(failed));
  });
});

describe('the region', () => {
  const profile = (name: string, region: string) => `[profile ${name}]\nregion = ${region}\n`;
  const rows: Readonly<
    Record<string, readonly [env: Record<string, string>, config: string, settings: object, region: string]>
  > = {
    'that is set': [
      { AWS_REGION: 'us-east-2' },
      profile('ci', 'eu-west-2'),
      { region: 'eu-north-1' },
      'eu-north-1',
    ],
    'of AWS_REGION': [{ AWS_REGION: 'us-east-2', AWS_DEFAULT_REGION: 'us-west-1' }, '', {}, 'us-east-2'],
    'of AWS_DEFAULT_REGION': [{ AWS_DEFAULT_REGION: 'us-west-1' }, '', {}, 'us-west-1'],
    'of the default profile': [{}, '[default]\nregion = eu-west-3\n', {}, 'eu-west-3'],
    'of a variable that is empty': [{ AWS_REGION: '' }, '[default]\nregion = eu-west-3\n', {}, 'eu-west-3'],
    'of nothing': [{}, '', {}, 'us-east-1'],
  };
  for (const [name, [env, config, settings, region]] of Object.entries(rows)) {
    test(`${name} is ${region}`, async (t) => {
      const house = await withSession(t, { AWS_REGION: '', ...env });
      writeFileSync(join(house.directory, 'aws-config'), config);
      assert.equal(read(await ask(await house.source(settings))).region, region);
    });
  }

  test('of a profile that is set goes with it', async (t) => {
    const house = await startStsHouse(t);
    const { accessKeyId, secretAccessKey } = house.identities.user('ci');
    awsEnvironment(t, house.directory);
    const keys = `aws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
    writeFileSync(join(house.directory, 'aws-config'), `${profile('ci', 'ap-south-1')}${keys}`);
    assert.equal(read(await ask(await house.source({ profile: 'ci' }))).region, 'ap-south-1');
  });

  test('of an instance that does not tell it is us-east-1', async (t) => {
    const { house } = await onInstance(t);
    assert.equal(read(await ask(await house.source())).region, 'us-east-1');
  });

  test('of a partition of its own has its host there', async (t) => {
    const house = await startStsHouse(t);
    const sts = startSts(house.world, house.identities, 'cn-north-1');
    const keys = house.identities.session(sessionArn.replace('arn:aws:', 'arn:aws-cn:'));
    awsEnvironment(t, house.directory, { AWS_REGION: 'cn-north-1', ...keysInEnvironment(keys) });
    const { password } = await ask(await house.source());
    const verifier = await house.verifier({ partitions: ['aws-cn'] });
    assert.ok(await verifier.verify(shown(password.reveal()), { signal }), 'the host is signed along');
    assert.deepEqual(sts.asked, ['GetCallerIdentity']);
  });

  for (const [name, region] of [
    ['a host', 'evil.example.com'],
    ['a path', 'eu-west-1/x'],
    ['a line', 'eu-west-1\nx'],
  ] as const) {
    test(`that is ${name} is refused`, async (t) => {
      const house = await withSession(t, { AWS_REGION: region });
      const failed = await ask(await house.source()).catch((error: unknown) => error);
      assert.ok(failed instanceof RegistryError && failed.code === 'UNAVAILABLE', String(failed));
      assert.match(failed.reason ?? '', /^the variable AWS_REGION names ".*", which is no region of AWS$/);
    });
  }
});

describe('where there is no proof', () => {
  test('of no keys it is said what was looked for', async (t) => {
    const house = await startStsHouse(t);
    awsEnvironment(t, house.directory, { AWS_REGION: 'eu-west-1' });
    const failed = await ask(await house.source()).catch((error: unknown) => error);
    assert.ok(failed instanceof RegistryError && failed.code === 'UNAVAILABLE', String(failed));
    assert.match(failed.reason ?? '', /no AWS credentials; tried the environment .*the profile default/);
  });

  test('of a machine nothing else is looked at than what AWS gave to it', async (t) => {
    const house = await withSession(t);
    const failed = await ask(await house.source({ identity: 'machine' })).catch((error: unknown) => error);
    assert.ok(failed instanceof RegistryError && failed.code === 'UNAVAILABLE', String(failed));
    assert.match(
      failed.reason ?? '',
      /^no AWS credentials; tried nothing, for AWS_EC2_METADATA_DISABLED is set: give it a role \([^)]*\)$/,
    );
  });

  test('of a session’s token that no header carries it is said', async (t) => {
    const house = await withSession(t, { AWS_SESSION_TOKEN: 'x'.repeat(12_000) });
    const failed = await ask(await house.source()).catch((error: unknown) => error);
    assert.ok(failed instanceof RegistryError && failed.code === 'UNAVAILABLE', String(failed));
    assert.match(failed.reason ?? '', /show as _sts is too long for a login: a proof of 1\d{4} characters/);
    assert.doesNotMatch(failed.reason ?? '', /xxx/);
  });

  for (const [settings, says] of [
    [{ audience: '' }, /expected a name without spaces/],
    [{ identity: 'user' }, /expected any or machine/],
    [{ identity: 'machine', profile: 'work' }, /is not for identity: machine/],
    [{ audience: 'a?b' }, /expected a name without spaces and question marks/],
    [{ region: 'evil.com' }, /expected a region such as eu-west-1/],
    [{ assumeRole: { arn: 'role' } }, /expected the ARN of a role/],
    [{ audiences: ['x'] }, /audiences/],
  ] as const) {
    test(`${JSON.stringify(settings)} is refused`, () => {
      const { success, error } = driver.config.safeParse(settings);
      assert.equal(success, false, 'it is taken');
      assert.match(error?.issues.map(({ message }) => message).join('; ') ?? '', says);
    });
  }
});
