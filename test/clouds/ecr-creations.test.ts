import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CredentialSource } from '../../src/contracts/index.js';
import { RegistryError } from '../../src/errors.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import {
  type AwsHouse,
  awsEnvironment,
  keysInEnvironment,
  reasonOf,
  startAwsHouse,
  target,
} from './harness/aws-house.js';
import { type AwsKeys, owner } from './harness/aws-identities.js';

// Whoever may push may make up names: what that costs AWS and us has a bound.

const api = 'api.ecr.eu-west-1.amazonaws.com';

type House = AwsHouse & { readonly keys: AwsKeys; readonly source: CredentialSource };

async function open(t: TestContext, settings: object = {}): Promise<House> {
  const house = await startAwsHouse(t);
  const keys = house.identities.user('ci');
  awsEnvironment(t, house.directory, keysInEnvironment(keys));
  return { ...house, keys, source: await house.open({ createRepositories: true, ...settings }) };
}

function create({ source }: House, name: string, signal = new AbortController().signal): Promise<boolean> {
  const made = source.createRepository?.({ ...target, name: parseRepositoryName(name) }, { signal });
  return made ?? Promise.resolve(false);
}

const names = (count: number, prefix = 'x') => Array.from({ length: count }, (_, i) => `${prefix}${i}/app`);

describe('creations of repositories', () => {
  test('are four at a time', async (t) => {
    const house = await open(t);
    const held: (() => void)[] = [];
    house.world.host(api, ({ json }) => {
      return new Promise<void>((resolve) =>
        held.push(() => {
          json(200, { repository: {} });
          resolve();
        }),
      );
    });
    const all = names(10).map((name) => create(house, name));
    await until(() => held.length === 4);
    await sleep(50);
    let most = held.length;
    let answered = 0;
    while (answered < 10) {
      await until(() => held.length > 0);
      most = Math.max(most, held.length);
      held.shift()?.();
      answered++;
    }
    assert.deepEqual(await Promise.all(all), Array(10).fill(true));
    assert.equal(most, 4);
  });

  test('are sixty a minute, and those who come too much are told when to come again', async (t) => {
    const house = await open(t);
    await Promise.all(names(60).map((name) => create(house, name)));
    house.clock.advance(20_000);
    const error = await create(house, 'one/more').catch((thrown: unknown) => thrown);
    assert.ok(error instanceof RegistryError, String(error));
    assert.deepEqual([error.code, error.retryAfter], ['TOOMANYREQUESTS', 40]);
    assert.equal(house.ecr.created.length, 60);
    house.clock.advance(40_000);
    assert.equal(await create(house, 'one/more'), true);
  });

  test('that are refused are refused for a minute without anybody being asked', async (t) => {
    const house = await open(t);
    house.identities.forbidden.add(`${house.keys.arn} ecr:CreateRepository`);
    const first = await reasonOf(house, create(house, 'team/app'), 'DENIED');
    house.clock.advance(59_999);
    for (let i = 0; i < 100; i++) {
      assert.equal(await reasonOf(house, create(house, 'team/app'), 'DENIED'), first);
    }
    assert.deepEqual(house.ecr.asked, ['CreateRepository']);
    assert.equal(house.log.at('warn').length, 1, 'one line for what was really tried');
    house.identities.forbidden.clear();
    assert.equal(await create(house, 'team/other'), true, 'another name is tried');
    house.clock.advance(1);
    assert.equal(await create(house, 'team/app'), true);
  });

  test('that fail otherwise are tried again at once', async (t) => {
    const house = await open(t);
    house.ecr.fault = { status: 500, type: 'ServerException' };
    await reasonOf(house, create(house, 'team/app'));
    house.ecr.fault = undefined;
    assert.equal(await create(house, 'team/app'), true);
  });

  test('share their AWS credentials for a few seconds', async (t) => {
    const role = `arn:aws:iam::${owner}:role/push`;
    const house = await open(t, { assumeRole: { arn: role } });
    house.identities.roles.set(role, { trusts: house.keys.arn });
    const asked = () => house.world.requestsTo('sts.eu-west-1.amazonaws.com').length;
    await Promise.all(names(8).map((name) => create(house, name)));
    await create(house, 'later/app');
    assert.equal(asked(), 1);
    house.clock.advance(5_000);
    await create(house, 'much-later/app');
    assert.equal(asked(), 2);
  });

  test('go on for the others when the one that found the AWS credentials has left', async (t) => {
    const house = await open(t, { profile: 'program' });
    const [began, go] = ['began', 'go'].map((name) => `${house.directory}/${name}`);
    const { accessKeyId, secretAccessKey } = house.keys;
    const answer = { Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey };
    const file = house.file('answer.json', JSON.stringify(answer));
    const path = house.file(
      'program.sh',
      `touch ${began}\nwhile [ ! -e ${go} ]; do sleep 0.05; done\ncat ${file}\n`,
    );
    house.file('aws-config', `[profile program]\ncredential_process = sh ${path}\n`);
    const leaving = new AbortController();
    const left = create(house, 'first/app', leaving.signal);
    await until(() => existsSync(began ?? ''));
    const stays = create(house, 'second/app');
    await new Promise(setImmediate);
    const reason = new Error('left');
    leaving.abort(reason);
    await assert.rejects(left, reason);
    house.file('go', '');
    assert.equal(await stays, true);
    assert.deepEqual(
      house.ecr.created.map(({ repositoryName }) => repositoryName),
      ['second/app'],
    );
  });
});

async function until(reached: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !reached(); i++) await sleep(5);
  assert.ok(reached(), 'it did not come to that');
}
