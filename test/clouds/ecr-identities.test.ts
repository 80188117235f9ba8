import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { startAwsContainer } from './harness/aws-container.js';
import {
  type AwsHouse,
  ask,
  awsEnvironment,
  keysInEnvironment,
  noSecretIn,
  ownerOf,
  profile,
  startAwsHouse,
} from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { startSso } from './harness/aws-sso.js';
import { startImds } from './harness/imds.js';

// Where AWS credentials come from, each way up to a token that the fake ECR gave for a right signature.

const role = `arn:aws:iam::${owner}:role/pull`;
const session = (name: string) => `arn:aws:sts::${owner}:assumed-role/pull/${name}`;

/** Each sets up one way, and says whose the credentials are then. */
const ways: Readonly<
  Record<string, (t: TestContext, house: AwsHouse) => Promise<{ arn: string; settings?: object }>>
> = {
  'keys in the environment': async (t, house) => {
    const keys = house.identities.user('ci');
    awsEnvironment(t, house.directory, keysInEnvironment(keys));
    return { arn: keys.arn };
  },
  'temporary keys in the environment': async (t, house) => {
    const keys = house.identities.session(session('by-hand'));
    awsEnvironment(t, house.directory, keysInEnvironment(keys));
    return { arn: keys.arn };
  },
  'the default profile': async (t, house) => {
    const keys = house.identities.user('default');
    awsEnvironment(t, house.directory);
    house.file('aws-credentials', profile('default', keys));
    return { arn: keys.arn };
  },
  'AWS_PROFILE before keys in the environment': async (t, house) => {
    const keys = house.identities.user('profile');
    awsEnvironment(t, house.directory, {
      ...keysInEnvironment(house.identities.user('other')),
      AWS_PROFILE: 'work',
    });
    house.file('aws-credentials', profile('work', keys));
    return { arn: keys.arn };
  },
  'a profile of the configuration, whose role is taken on with source_profile': async (t, house) => {
    const base = house.identities.user('base');
    house.identities.roles.set(role, { trusts: base.arn, externalId: 'ours' });
    awsEnvironment(t, house.directory, keysInEnvironment(house.identities.user('other')));
    house.file('aws-credentials', profile('base', base));
    const lines = `role_arn = ${role}\nsource_profile = base\nexternal_id = ours\nrole_session_name = x1\n`;
    house.file('aws-config', `[profile work]\n${lines}`);
    return { arn: session('x1'), settings: { profile: 'work' } };
  },
  'a profile with a web identity': async (t, house) => {
    awsEnvironment(t, house.directory);
    const token = house.file('token', 'a.web.identity');
    house.sts.webIdentities.set('a.web.identity', 'system:serviceaccount:registry:proxy');
    house.identities.roles.set(role, { trusts: 'system:serviceaccount:registry:proxy' });
    const lines = `role_arn = ${role}\nweb_identity_token_file = ${token}\nrole_session_name = x2\n`;
    house.file('aws-config', `[profile irsa]\n${lines}`);
    return { arn: session('x2'), settings: { profile: 'irsa' } };
  },
  'a profile with credential_process': async (t, house) => {
    const keys = house.identities.session(session('process'));
    awsEnvironment(t, house.directory);
    const answer = {
      Version: 1,
      AccessKeyId: keys.accessKeyId,
      SecretAccessKey: keys.secretAccessKey,
      SessionToken: keys.sessionToken,
      Expiration: new Date(keys.expiresAt).toISOString(),
    };
    const file = house.file('answer.json', JSON.stringify(answer));
    house.file('aws-config', `[profile program]\ncredential_process = cat ${file}\n`);
    return { arn: keys.arn, settings: { profile: 'program' } };
  },
  'a profile with SSO': async (t, house) => {
    awsEnvironment(t, house.directory);
    return { arn: startSso(t, house, 3_600_000), settings: { profile: 'sso' } };
  },
  IRSA: async (t, house) => {
    const token = house.file('token', 'service.account.token');
    awsEnvironment(t, house.directory, {
      AWS_ROLE_ARN: role,
      AWS_WEB_IDENTITY_TOKEN_FILE: token,
      AWS_ROLE_SESSION_NAME: 'pod',
    });
    house.sts.webIdentities.set('service.account.token', 'system:serviceaccount:registry:proxy');
    house.identities.roles.set(role, { trusts: 'system:serviceaccount:registry:proxy' });
    return { arn: session('pod') };
  },
  'Pod Identity': async (t, house) => {
    const arn = session('pod-identity');
    const container = await startAwsContainer(house.identities, arn);
    t.after(() => container.close());
    container.token = 'pod.token';
    awsEnvironment(t, house.directory, {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: container.url,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: house.file('pod-token', 'pod.token'),
    });
    return { arn };
  },
  'an instance role (IMDSv2)': async (t, house) => {
    const arn = session('i-0123456789abcdef0');
    const imds = await startImds(house.identities, arn);
    t.after(() => imds.close());
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url, AWS_EC2_METADATA_DISABLED: 'false' };
    awsEnvironment(t, house.directory, env);
    return { arn };
  },
  'a role of another account, taken on with an external id': async (t, house) => {
    const keys = house.identities.user('first');
    house.identities.roles.set(role, { trusts: keys.arn, externalId: 'ours:1' });
    awsEnvironment(t, house.directory, keysInEnvironment(keys));
    const assumeRole = { arn: role, externalId: 'ours:1', sessionName: 'elsewhere' };
    return { arn: session('elsewhere'), settings: { assumeRole } };
  },
};

describe('AWS credentials', () => {
  for (const [name, set] of Object.entries(ways)) {
    test(`of ${name}`, async (t) => {
      const house = await startAwsHouse(t);
      const { arn, settings } = await set(t, house);
      const source = await house.open(settings);
      const credential = await ask(source);
      assert.equal(ownerOf(house, credential), arn);
      assert.equal(ownerOf(house, await ask(source, credential)), arn);
      assert.equal(house.ecr.passwords.size, 2, 'a rejected credential is replaced by a new one');
      assert.deepEqual(house.world.unknownNames, []);
      noSecretIn(house);
    });
  }
});
