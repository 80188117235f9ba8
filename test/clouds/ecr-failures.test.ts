import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { CredentialSource } from '../../src/contracts/index.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { startAwsContainer } from './harness/aws-container.js';
import {
  type AwsHouse,
  ask,
  awsEnvironment,
  keysInEnvironment,
  profile,
  reasonOf,
  startAwsHouse,
  target,
} from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { startSso } from './harness/aws-sso.js';
import { startImds } from './harness/imds.js';

const role = `arn:aws:iam::${owner}:role/pull`;
const hour = 3_600_000;

interface Case {
  readonly set: (t: TestContext, house: AwsHouse) => Promise<object | undefined> | object | undefined;
  readonly says: RegExp;
}

/** Keys of a user in the environment, and more. */
const withUser =
  (more: (house: AwsHouse, keys: ReturnType<AwsHouse['identities']['user']>) => void) =>
  (t: TestContext, house: AwsHouse): undefined => {
    const keys = house.identities.user('ci');
    awsEnvironment(t, house.directory, keysInEnvironment(keys));
    more(house, keys);
    return undefined;
  };

const cases: Readonly<Record<string, Case>> = {
  'no credentials anywhere: which places were tried': {
    set: (t, { directory }) => void awsEnvironment(t, directory),
    says: /^no AWS credentials; tried the environment \(nothing there\), the profile default \(no such profile, or nothing in it\): give it a role \(IRSA, Pod Identity, an instance role\), a profile or keys$/,
  },
  'a profile that is not there, and nothing else is tried': {
    set: (t, house) => {
      awsEnvironment(t, house.directory, keysInEnvironment(house.identities.user('other')));
      return { profile: 'missing' };
    },
    says: /^no AWS credentials; tried the profile missing \(no such profile, or nothing in it\): /,
  },
  'an instance without a role': {
    set: async (t, house) => {
      const imds = await startImds(house.identities, role);
      t.after(() => imds.close());
      imds.withoutRole = true;
      const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url, AWS_EC2_METADATA_DISABLED: 'false' };
      awsEnvironment(t, house.directory, env);
      return undefined;
    },
    says: /the instance metadata \(it answers 404: no role\?\)/,
  },
  'a metadata server that is not there': {
    set: async (t, house) => {
      const imds = await startImds(house.identities, role);
      await imds.close();
      const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url, AWS_EC2_METADATA_DISABLED: 'false' };
      awsEnvironment(t, house.directory, env);
      return undefined;
    },
    says: /the instance metadata \(no answer\)/,
  },
  'Pod Identity with a token that does not count': {
    set: async (t, house) => {
      const container = await startAwsContainer(house.identities, role);
      t.after(() => container.close());
      container.token = 'another';
      awsEnvironment(t, house.directory, {
        AWS_CONTAINER_CREDENTIALS_FULL_URI: container.url,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: house.file('pod-token', 'pod.token'),
      });
      return undefined;
    },
    says: /the container \(Pod Identity, ECS\) \(it answers 401\)/,
  },
  'a container URL where keys would cross a network in clear': {
    set: (t, { directory }) =>
      void awsEnvironment(t, directory, { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://example.com/keys' }),
    says: /the container \(Pod Identity, ECS\) \(its endpoint is not one: expected https, or http to 169/,
  },
  'a web identity whose file is not there': {
    set: (t, { directory }) =>
      void awsEnvironment(t, directory, {
        AWS_ROLE_ARN: role,
        AWS_WEB_IDENTITY_TOKEN_FILE: `${directory}/no`,
      }),
    says: /^the AWS credentials of the web identity \(IRSA\): cannot read \/[^ ]+\/no: ENOENT$/,
  },
  'a role that does not trust the web identity': {
    set: (t, house) => {
      const token = house.file('token', 'a.b.c');
      house.sts.webIdentities.set('a.b.c', 'system:serviceaccount:x:y');
      awsEnvironment(t, house.directory, { AWS_ROLE_ARN: role, AWS_WEB_IDENTITY_TOKEN_FILE: token });
      return undefined;
    },
    says: /^the AWS credentials of the web identity \(IRSA\): answered 403 AccessDenied: it may not sts:AssumeRoleWithWebIdentity: .*trust policy/,
  },
  'a role that may not be taken on': {
    set: (t, house) => {
      awsEnvironment(t, house.directory, keysInEnvironment(house.identities.user('ci')));
      return { assumeRole: { arn: role } };
    },
    says: /^STS in eu-west-1, for assumeRole: answered 403 AccessDenied: arn:aws:iam::123456789012:user\/ci may not sts:AssumeRole: /,
  },
  'a session of SSO that has ended': {
    set: (t, house) => {
      awsEnvironment(t, house.directory);
      startSso(t, house, -hour);
      return { profile: 'sso' };
    },
    says: /^the AWS credentials of the profile sso: the SSO session has expired or is missing: run `aws sso login`/,
  },
  'a credential_process that fails, without its words': {
    set: (t, house) => {
      awsEnvironment(t, house.directory);
      house.identities.secrets.push('hunter2');
      house.file('aws-config', '[profile program]\ncredential_process = sh -c "echo hunter2 >&2; exit 1"\n');
      return { profile: 'program' };
    },
    says: /the profile program \(its credential_process: it failed with exit code 1; run it by hand/,
  },
  'ECR that refuses the identity': {
    set: withUser((house, keys) => house.identities.forbidden.add(`${keys.arn} ecr:GetAuthorizationToken`)),
    says: /^ECR in eu-west-1: answered 400 AccessDeniedException: arn:aws:iam::123456789012:user\/ci may not ecr:GetAuthorizationToken: its IAM policy does not allow it$/,
  },
  'keys that were deleted': {
    set: withUser((house, keys) => house.identities.revoke(keys)),
    says: /^ECR in eu-west-1: answered 400 UnrecognizedClientException: AWS does not know these keys/,
  },
  'a wrong secret key': {
    set: (t, house) => {
      const keys = house.identities.user('ci');
      awsEnvironment(t, house.directory, keysInEnvironment({ ...keys, secretAccessKey: 'wrong' }));
      return undefined;
    },
    says: /^ECR in eu-west-1: answered 400 InvalidSignatureException: the secret key is wrong, or this machine's clock/,
  },
  'a wrong secret key with a token, which AWS repeats': {
    set: (t, house) => {
      const keys = house.identities.session(role);
      awsEnvironment(t, house.directory, keysInEnvironment({ ...keys, secretAccessKey: 'wrong' }));
      return undefined;
    },
    says: /^ECR in eu-west-1: answered 400 InvalidSignatureException: /,
  },
  'temporary keys without their token': {
    set: (t, house) => {
      const { accessKeyId, secretAccessKey } = house.identities.session(role);
      awsEnvironment(t, house.directory, keysInEnvironment({ accessKeyId, secretAccessKey }));
      return undefined;
    },
    says: /UnrecognizedClientException/,
  },
  'temporary keys that have ended': {
    set: (t, house) => {
      awsEnvironment(t, house.directory, keysInEnvironment(house.identities.session(role, -hour)));
      return undefined;
    },
    says: /^ECR in eu-west-1: answered 400 ExpiredTokenException: these AWS credentials have expired: renew them$/,
  },
  'ECR that is broken': {
    set: withUser((house) => {
      house.ecr.fault = { status: 500, type: 'ServerException' };
    }),
    says: /^ECR in eu-west-1: answered 500 ServerException$/,
  },
  'ECR that limits us for long': {
    set: withUser((house) => {
      house.ecr.fault = { status: 400, type: 'ThrottlingException' };
    }),
    says: /^ECR in eu-west-1: answered 400 ThrottlingException: AWS limits how often/,
  },
  'ECR that is not there': {
    set: withUser((house) => house.world.remove('api.ecr.eu-west-1.amazonaws.com')),
    says: /^no answer from api\.ecr\.eu-west-1\.amazonaws\.com/,
  },
  'an answer that is none': {
    set: withUser((house) =>
      house.world.host('api.ecr.eu-west-1.amazonaws.com', ({ json }) => json(200, { authorizationData: [] })),
    ),
    says: /^ECR in eu-west-1 sent no token$/,
  },
};

async function open(t: TestContext, { set }: Case): Promise<{ house: AwsHouse; source: CredentialSource }> {
  const house = await startAwsHouse(t);
  const settings = await set(t, house);
  return { house, source: await house.open({ timeout: '2s', ...settings }) };
}

describe('the reason why there is no credential of ECR', () => {
  for (const [name, one] of Object.entries(cases)) {
    test(name, async (t) => {
      const { house, source } = await open(t, one);
      assert.match(await reasonOf(house, ask(source)), one.says);
    });
  }

  test('a host that is none of Amazon and no region', async (t) => {
    const house = await startAwsHouse(t);
    awsEnvironment(t, house.directory);
    const source = await house.open();
    const signal = new AbortController().signal;
    const asked = source.credentialFor({ registry: parseRegistryHost('ecr.example.com') }, { signal });
    assert.match(await reasonOf(house, asked), /^ecr\.example\.com is no host of ECR .*: set `region`/);
  });
});

describe('what passes by itself', () => {
  const passing = async (t: TestContext, set: (house: AwsHouse) => void) => {
    const house = await startAwsHouse(t);
    withUser(set)(t, house);
    const source = await house.open();
    await ask(source);
    return house;
  };

  test('being limited once', async (t) => {
    const house = await passing(t, ({ ecr }) => {
      ecr.fault = { status: 400, type: 'ThrottlingException', times: 1 };
    });
    assert.equal(house.ecr.asked.length, 2);
  });

  test('two errors of the server', async (t) => {
    const house = await passing(t, ({ ecr }) => {
      ecr.fault = { status: 500, type: 'ServerException', times: 2 };
    });
    assert.equal(house.ecr.asked.length, 3);
  });

  for (const [name, skew] of [
    ['behind', hour],
    ['ahead', -hour],
  ] as const) {
    test(`a clock of ours that is an hour ${name}`, async (t) => {
      const house = await passing(t, ({ identities }) => {
        identities.skew = skew;
      });
      assert.equal(house.ecr.asked.length, 2, 'refused once, and signed with the time of the answer');
    });
  }
});

describe('who asks', () => {
  test('leaves by its own signal while AWS is silent', async (t) => {
    const house = await startAwsHouse(t);
    withUser(() => {})(t, house);
    let arrived = () => {};
    const silent = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    house.world.host('api.ecr.eu-west-1.amazonaws.com', () => arrived());
    const source = await house.open({ timeout: '1m' });
    const leaving = new AbortController();
    const asked = source.credentialFor(target, { signal: leaving.signal });
    await silent;
    const reason = new Error('left');
    leaving.abort(reason);
    await assert.rejects(asked, reason);
  });

  test('is told after `timeout` where AWS stays silent', async (t) => {
    const house = await startAwsHouse(t);
    withUser(() => {})(t, house);
    house.world.host('api.ecr.eu-west-1.amazonaws.com', () => {});
    const source = await house.open({ timeout: '100ms' });
    assert.match(await reasonOf(house, ask(source)), /no answer from api\.ecr\.eu-west-1\.amazonaws\.com/);
  });
});

test('what files hold is read again each time', async (t) => {
  const house = await startAwsHouse(t);
  awsEnvironment(t, house.directory);
  const [first, second] = [house.identities.user('first'), house.identities.user('second')];
  house.file('aws-credentials', profile('default', first));
  const source = await house.open();
  await ask(source);
  house.file('aws-credentials', profile('default', second));
  await ask(source);
  assert.deepEqual(
    [...house.ecr.passwords.values()].map(({ arn }) => arn),
    [first.arn, second.arn],
  );
});

test('nothing of AWS is asked or read before a credential is wanted', async (t) => {
  const house = await startAwsHouse(t);
  awsEnvironment(t, house.directory, { AWS_PROFILE: 'missing' });
  await house.open({ profile: 'missing too' });
  assert.deepEqual(house.world.requests, []);
});
