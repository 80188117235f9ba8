import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { CredentialSource } from '../../src/contracts/index.js';
import { driver } from '../../src/credential-sources/ecr.js';
import { RefreshedCredentials } from '../../src/decorators/refreshed-credentials.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { describeCredentialSourceConformance } from '../../src/testing/conformance/credential-source.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import {
  type AwsHouse,
  ask,
  awsEnvironment,
  keysInEnvironment,
  reasonOf,
  region,
  startAwsHouse,
  target,
} from './harness/aws-house.js';
import type { AwsKeys } from './harness/aws-identities.js';
import { startEcrApi } from './harness/ecr-api.js';

const signal = new AbortController().signal;
const hour = 3_600_000;

/** Its keys are in the environment. */
async function withUser(t: TestContext): Promise<AwsHouse & { readonly keys: AwsKeys }> {
  const house = await startAwsHouse(t);
  const keys = house.identities.user('ci');
  awsEnvironment(t, house.directory, keysInEnvironment(keys));
  return { ...house, keys };
}

describeCredentialSourceConformance(
  'ecr',
  async (t) => {
    const house = await withUser(t);
    house.ecr.steady = true;
    const source = await house.open();
    return {
      source,
      known: { ...target, name: parseRepositoryName('team/app') },
      now: () => Date.now(),
      rotate: () => {
        house.ecr.steady = false;
        return ask(source).then(() => {
          house.ecr.steady = true;
        });
      },
      break: () => house.world.remove(`api.ecr.${region}.amazonaws.com`),
    };
  },
  ['it has none for a repository it does not know'],
);

describe('a token of ECR', () => {
  test('counts for 12 hours, and is asked for again after 6', async (t) => {
    const house = await withUser(t);
    house.ecr.now = () => house.clock.now();
    const { expiresAt, refreshAt } = await ask(await house.open());
    assert.equal(expiresAt, house.clock.now() + 12 * hour);
    assert.equal(refreshAt, house.clock.now() + 6 * hour);
  });

  test('serves until half of its life is over, and while another is had', async (t) => {
    const house = await withUser(t);
    house.ecr.now = () => house.clock.now();
    const { clock, log } = house;
    const settings = { clock, log, metrics: new FakeMetrics(), upstream: 'mine', credential: 1 };
    const source = new RefreshedCredentials(await house.open(), settings);
    t.after(() => source.close());
    const repositories = ['a/b', 'c', 'd/e/f'].map((name) => ({
      ...target,
      name: parseRepositoryName(name),
    }));
    const all = () => Promise.all(repositories.map((one) => source.credentialFor(one, { signal })));
    const [first] = await all();
    clock.advance(6 * hour - 1);
    await all();
    assert.equal(house.ecr.asked.length, 1, 'one token for all repositories');
    clock.advance(1);
    const given = await source.credentialFor(target, { signal });
    assert.equal(given, first, 'the held one is given while another is had');
    await until(() => house.ecr.asked.length === 2);
  });

  test('is one for all registries of a region, whatever their account', async (t) => {
    const house = await withUser(t);
    const source = await house.open();
    const keyOf = (host: string) => source.keyFor?.({ registry: parseRegistryHost(host) });
    const [one, other] = ['111111111111', '222222222222'];
    assert.equal(
      keyOf(`${one}.dkr.ecr.eu-west-1.amazonaws.com`),
      keyOf(`${other}.dkr.ecr.eu-west-1.amazonaws.com`),
    );
    assert.notEqual(
      keyOf(`${one}.dkr.ecr.eu-west-1.amazonaws.com`),
      keyOf(`${one}.dkr.ecr.us-east-1.amazonaws.com`),
    );
    assert.notEqual(keyOf(`${one}.dkr.ecr.us-east-1.amazonaws.com`), keyOf('public.ecr.aws'));
  });
});

describe('where ECR is asked', () => {
  const of = (house: AwsHouse) => [...new Set(house.world.requests.map(({ host }) => host))];
  const askAt = async (
    t: TestContext,
    host: string,
    api: Parameters<typeof startEcrApi>[2],
    settings = {},
  ) => {
    const house = await withUser(t);
    const fake = startEcrApi(house.world, house.identities, api);
    const source = await house.open(settings);
    const credential = await source.credentialFor({ registry: parseRegistryHost(host) }, { signal });
    assert.ok(credential?.kind === 'basic', 'a password');
    assert.ok(fake.passwords.has(credential.password.reveal()), 'of that API');
    return of(house);
  };
  const cases: readonly (readonly [
    host: string,
    api: Parameters<typeof startEcrApi>[2],
    settings?: object,
  ])[] = [
    ['111111111111.dkr.ecr.us-west-2.amazonaws.com', { region: 'us-west-2' }],
    [
      '111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn',
      { region: 'cn-north-1', host: 'api.ecr.cn-north-1.amazonaws.com.cn' },
    ],
    [
      '111111111111.dkr.ecr-fips.us-east-1.amazonaws.com',
      { region: 'us-east-1', host: 'api.ecr-fips.us-east-1.amazonaws.com' },
    ],
    ['111111111111.dkr-ecr.eu-west-1.on.aws', { region, host: 'ecr.eu-west-1.api.aws' }],
    ['public.ecr.aws', { region: 'us-east-1', kind: 'public' }],
    ['ecr-public.aws.com', { region: 'us-east-1', kind: 'public', host: 'ecr-public.us-east-1.api.aws' }],
    ['public.ecr.aws', { region: 'us-east-1', kind: 'public' }, { region: 'eu-west-1' }],
    ['ecr.example.com', { region: 'us-west-2' }, { region: 'us-west-2' }],
    [
      '111111111111.dkr.ecr-fips.us-east-1.amazonaws.com',
      { region: 'us-east-1', host: 'vpce-1.api.ecr.us-east-1.vpce.amazonaws.com' },
      { endpoint: 'https://vpce-1.api.ecr.us-east-1.vpce.amazonaws.com' },
    ],
  ];
  for (const [host, api, settings] of cases) {
    test(`${host} with ${JSON.stringify(settings ?? {})}`, async (t) => {
      const hosts = await askAt(t, host, api, settings);
      const expected =
        api.host ?? `api.${api.kind === 'public' ? 'ecr-public' : 'ecr'}.${api.region}.amazonaws.com`;
      assert.deepEqual(hosts, [expected]);
    });
  }
});

describe('a repository for a push', () => {
  const app = { ...target, name: parseRepositoryName('team/app') };
  const create = (source: CredentialSource, name = 'team/app') =>
    source.createRepository?.({ ...target, name: parseRepositoryName(name) }, { signal }) ??
    Promise.resolve(false);

  test('is not made without createRepositories', async (t) => {
    const house = await withUser(t);
    for (const settings of [{}, { createRepositories: false }]) {
      assert.equal(await create(await house.open(settings)), false);
    }
    assert.deepEqual(house.world.requests, []);
  });

  test('is made once for many at the same time, and logged', async (t) => {
    const house = await withUser(t);
    const source = await house.open({ createRepositories: true });
    assert.deepEqual(await Promise.all(Array.from({ length: 8 }, () => create(source))), Array(8).fill(true));
    assert.deepEqual(house.ecr.asked, ['CreateRepository']);
    assert.deepEqual(house.ecr.created, [
      { repositoryName: 'team/app', registryId: '123456789012', imageTagMutability: 'MUTABLE' },
    ]);
    assert.deepEqual(house.log.at('info'), [
      {
        level: 'info',
        message: 'a repository was created for a push',
        fields: { id: 'aws', repository: 'team/app', region },
      },
    ]);
  });

  test('is made as the configuration says', async (t) => {
    const house = await withUser(t);
    const wanted = { immutableTags: true, scanOnPush: true, tags: { team: 'web' } };
    await create(await house.open({ createRepositories: wanted, registry: '222222222222' }));
    assert.deepEqual(house.ecr.created, [
      {
        repositoryName: 'team/app',
        registryId: '222222222222',
        imageTagMutability: 'IMMUTABLE',
        imageScanningConfiguration: { scanOnPush: true },
        tags: [{ Key: 'team', Value: 'web' }],
      },
    ]);
  });

  test('that is there meanwhile counts as made', async (t) => {
    const house = await withUser(t);
    house.ecr.repositories.add('123456789012/team/app');
    assert.equal(await create(await house.open({ createRepositories: true })), true);
    assert.deepEqual(house.log.at('info'), []);
  });

  test('that we may not make is DENIED, and the log says why', async (t) => {
    const house = await withUser(t);
    house.identities.forbidden.add(`${house.keys.arn} ecr:CreateRepository`);
    const source = await house.open({ createRepositories: true });
    const reason = await reasonOf(house, create(source), 'DENIED');
    assert.match(reason, /AccessDeniedException: arn:[^ ]+ may not ecr:CreateRepository/);
    assert.deepEqual(
      house.log.at('warn').map(({ message, fields }) => [message, fields.repository, fields.reason]),
      [['a repository cannot be created', 'team/app', reason]],
    );
  });

  const faults: Readonly<
    Record<string, readonly [fault: { status: number; type: string }, code: string, reason: RegExp]>
  > = {
    'over the quota': [{ status: 400, type: 'LimitExceededException' }, 'DENIED', /quota/],
    'while ECR is broken': [{ status: 500, type: 'ServerException' }, 'UNAVAILABLE', /answered 500/],
  };
  for (const [name, [fault, code, expected]] of Object.entries(faults)) {
    test(`${name} is ${code}`, async (t) => {
      const house = await withUser(t);
      house.ecr.fault = fault;
      const source = await house.open({ createRepositories: true });
      assert.match(await reasonOf(house, create(source), code), expected);
    });
  }

  test('with a name that ECR does not take is NAME_INVALID', async (t) => {
    const house = await withUser(t);
    const source = await house.open({ createRepositories: true });
    await reasonOf(house, create(source, 'x'), 'NAME_INVALID');
  });

  test('of ECR Public is not made', async (t) => {
    const house = await withUser(t);
    const source = await house.open({ createRepositories: true });
    const wanted = { ...app, registry: parseRegistryHost('public.ecr.aws') };
    assert.equal(await source.createRepository?.(wanted, { signal }), false);
    assert.deepEqual(house.world.requests, []);
  });
});

describe('settings', () => {
  const taken: readonly object[] = [
    {},
    { region: 'eusc-de-east-1', registry: '000000000001', profile: 'x' },
    { assumeRole: { arn: 'arn:aws-cn:iam::123456789012:role/path/to/role', externalId: 'a:b' } },
    { endpoint: 'https://vpce-1.api.ecr.eu-west-1.vpce.amazonaws.com' },
    { createRepositories: { tags: { a: '' } } },
  ];
  for (const settings of taken) {
    test(`${JSON.stringify(settings)} are taken`, () =>
      assert.equal(
        driver.config.safeParse(settings).success,
        true,
        JSON.stringify(driver.config.safeParse(settings)),
      ));
  }
  const refused: readonly object[] = [
    { region: 'Europe' },
    { region: 'eu-west-1.evil.com' },
    { registry: 123456789012 },
    { registry: '12345' },
    { profile: '' },
    { assumeRole: { arn: 'arn:aws:iam::123456789012:user/x' } },
    { assumeRole: { arn: 'arn:aws:iam::123456789012:role/x', sessionName: 'a b' } },
    { endpoint: 'http://ecr.example.com' },
    { createRepositories: 'yes' },
    { createRepositories: { lifecycle: 'x' } },
    { accessKeyId: 'AKIA', secretAccessKey: 'x' },
  ];
  for (const settings of refused) {
    test(`${JSON.stringify(settings)} are refused`, () =>
      assert.equal(driver.config.safeParse(settings).success, false, 'it was taken'));
  }
});

async function until(reached: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !reached(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(reached(), 'it did not come to that');
}
