import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import {
  type AwsHouse,
  ask,
  awsEnvironment,
  keysInEnvironment,
  ownerOf,
  profile,
  reasonOf,
  startAwsHouse,
  target,
} from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { startImds } from './harness/imds.js';

// Profiles whose credentials come from a program, or through one: no shell, no secret of ours, nothing that outlives
// its call (threat 26).

const session = (name: string) => `arn:aws:sts::${owner}:assumed-role/pull/${name}`;

/** A profile `program` whose program is this script. @returns its path */
function script(house: AwsHouse, lines: string, more = ''): string {
  const path = house.file('program.sh', `#!/bin/sh\n${lines}\n`);
  chmodSync(path, 0o700);
  house.file('aws-config', `[profile program]\ncredential_process = ${path}${more}\n`);
  return path;
}

/** What a program writes that has credentials. */
function answerOf(house: AwsHouse, changed: object = {}) {
  const keys = house.identities.session(session('program'));
  const answer = {
    Version: 1,
    AccessKeyId: keys.accessKeyId,
    SecretAccessKey: keys.secretAccessKey,
    SessionToken: keys.sessionToken,
    Expiration: new Date(keys.expiresAt).toISOString(),
    ...changed,
  };
  return { arn: keys.arn, file: house.file('answer.json', JSON.stringify(answer)) };
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('a credential_process', () => {
  test('is read by no shell, and quotes part its words', async (t) => {
    const house = await startAwsHouse(t);
    awsEnvironment(t, house.directory);
    const { arn, file } = answerOf(house);
    const told = `${house.directory}/told`;
    script(
      house,
      `for word in "$@"; do echo "$word" >> ${told}; done\ncat ${file}`,
      ` 'two words' ; echo x >> ${house.directory}/shell $(id) "a\\"b"`,
    );
    assert.equal(ownerOf(house, await ask(await house.open({ profile: 'program' }))), arn);
    assert.equal(existsSync(`${house.directory}/shell`), false, 'a shell read it');
    // What stands behind ` ;` is a comment in these files.
    assert.deepEqual(readFileSync(told, 'utf8').split('\n'), ['two words', '']);
    script(house, `for word in "$@"; do echo "$word" >> ${told}; done\ncat ${file}`, ` a;b $(id) "a\\"b"`);
    await ask(await house.open({ profile: 'program' }));
    assert.deepEqual(readFileSync(told, 'utf8').split('\n').slice(1), ['a;b', '$(id)', 'a"b', '']);
  });

  test('inherits what says where things are, and no secret', async (t) => {
    const house = await startAwsHouse(t);
    awsEnvironment(t, house.directory, {
      ...keysInEnvironment(house.identities.session(session('ours'))),
      AWS_CONTAINER_AUTHORIZATION_TOKEN: 'container-secret',
      AWS_BEARER_TOKEN_BEDROCK: 'bearer-secret',
      AWS_REGION: 'eu-west-1',
    });
    process.env.HUB_PASSWORD = 'another-secret';
    t.after(() => {
      delete process.env.HUB_PASSWORD;
    });
    const { file } = answerOf(house);
    script(house, `env > ${house.directory}/env\ncat ${file}`);
    await ask(await house.open({ profile: 'program' }));
    const names = readFileSync(`${house.directory}/env`, 'utf8')
      .split('\n')
      .map((line) => line.split('=')[0])
      .filter((name) => name !== '' && !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name ?? ''));
    assert.deepEqual(names.sort(), [
      'AWS_CONFIG_FILE',
      'AWS_EC2_METADATA_DISABLED',
      'AWS_REGION',
      'AWS_SHARED_CREDENTIALS_FILE',
      'HOME',
      'PATH',
    ]);
  });

  test('ends with the call that wanted it, and with the source', async (t) => {
    const house = await startAwsHouse(t);
    awsEnvironment(t, house.directory);
    const pids = `${house.directory}/pids`;
    script(house, `echo $$ >> ${pids}\nsleep 600`);
    const source = await house.open({ profile: 'program', createRepositories: true });
    const leaving = new AbortController();
    const asked = source.credentialFor(target, { signal: leaving.signal });
    const name = parseRepositoryName('team/app');
    const { signal } = new AbortController();
    const created = source.createRepository?.({ ...target, name }, { signal });
    created?.catch(() => {});
    const running = () => (existsSync(pids) ? readFileSync(pids, 'utf8').trim().split('\n').map(Number) : []);
    await until(() => running().length === 2);
    const reason = new Error('left');
    leaving.abort(reason);
    await assert.rejects(asked, reason);
    await source.close();
    await assert.rejects(created ?? Promise.resolve(), 'it is closed');
    await until(() => !running().some(isAlive));
  });

  const wrong: Readonly<Record<string, readonly [set: (house: AwsHouse) => void, says: RegExp]>> = {
    'fails, without its words': [
      (house) => script(house, 'echo hunter2; echo hunter2 >&2; exit 3', ' --password hunter2'),
      /its credential_process: it failed with exit code 3; run it by hand/,
    ],
    'is not there': [
      (house) =>
        house.file('aws-config', '[profile program]\ncredential_process = /no/such --password hunter2\n'),
      /its credential_process: it cannot be started: it is not there/,
    ],
    'has a quote left open': [
      (house) => house.file('aws-config', '[profile program]\ncredential_process = a "hunter2\n'),
      /its credential_process: it is no command line: is a quote left open\?/,
    ],
    'writes something else': [
      (house) => script(house, 'echo "{ hunter2"'),
      /the profile program \(its answer is no credentials\)/,
    ],
    'writes another version': [
      (house) => script(house, `cat ${answerOf(house, { Version: 2 }).file}`),
      /\(its answer is no credentials\)/,
    ],
    'writes no secret key': [
      (house) => script(house, `cat ${answerOf(house, { SecretAccessKey: 5 }).file}`),
      /\(its answer is no credentials\)/,
    ],
    'writes credentials that have ended': [
      (house) =>
        script(
          house,
          `cat ${answerOf(house, { Expiration: new Date(Date.now() - 1000).toISOString() }).file}`,
        ),
      /\(its credentials have ended\)/,
    ],
    'writes without an end': [
      (house) => script(house, 'head -c 100000 /dev/zero'),
      /it wrote more than 65536 bytes/,
    ],
  };
  for (const [name, [set, says]] of Object.entries(wrong)) {
    test(`that ${name} gives nothing`, async (t) => {
      const house = await startAwsHouse(t);
      awsEnvironment(t, house.directory);
      house.identities.secrets.push('hunter2');
      set(house);
      assert.match(await reasonOf(house, ask(await house.open({ profile: 'program' }))), says);
      assert.deepEqual(house.ecr.asked, []);
    });
  }
});

describe('a profile that takes on a role', () => {
  const role = `arn:aws:iam::${owner}:role/pull`;
  const lines = (more: string) => `[profile work]\nrole_arn = ${role}\nrole_session_name = x\n${more}\n`;
  const cases: Readonly<Record<string, (t: TestContext, house: AwsHouse) => Promise<string> | string>> = {
    'with the credentials of a program': (t, house) => {
      awsEnvironment(t, house.directory);
      const { arn, file } = answerOf(house);
      house.file(
        'aws-config',
        `${lines('source_profile = program')}[profile program]\ncredential_process = cat ${file}\n`,
      );
      return arn;
    },
    'with those of the instance': async (t, house) => {
      const arn = session('i-1');
      const imds = await startImds(house.identities, arn);
      t.after(() => imds.close());
      awsEnvironment(t, house.directory);
      house.file(
        'aws-config',
        lines(`credential_source = Ec2InstanceMetadata\nec2_metadata_service_endpoint = ${imds.url}`),
      );
      return arn;
    },
    'with those of the environment': (t, house) => {
      const keys = house.identities.user('ci');
      awsEnvironment(t, house.directory, keysInEnvironment(keys));
      house.file('aws-config', lines('credential_source = Environment'));
      return keys.arn;
    },
    'with its own keys': (t, house) => {
      const keys = house.identities.user('own');
      awsEnvironment(t, house.directory);
      house.file('aws-credentials', profile('work', keys));
      house.file('aws-config', lines('source_profile = work'));
      return keys.arn;
    },
  };
  for (const [name, set] of Object.entries(cases)) {
    test(name, async (t) => {
      const house = await startAwsHouse(t);
      house.identities.roles.set(role, { trusts: await set(t, house) });
      assert.equal(ownerOf(house, await ask(await house.open({ profile: 'work' }))), session('x'));
    });
  }

  const wrong: Readonly<Record<string, readonly [more: string, says: RegExp]>> = {
    'whose sources lead back': [
      'source_profile = b\n[profile b]\nrole_arn = x\nsource_profile = work\n',
      /its source_profile leads back to it/,
    ],
    'whose source is not there': ['source_profile = b', /no such profile, or nothing in it/],
    'whose source is unknown': ['credential_source = Moon', /its credential_source is not EcsContainer, /],
  };
  for (const [name, [more, says]] of Object.entries(wrong)) {
    test(`${name} is refused`, async (t) => {
      const house = await startAwsHouse(t);
      awsEnvironment(t, house.directory);
      house.file('aws-config', lines(more));
      assert.match(await reasonOf(house, ask(await house.open({ profile: 'work' }))), says);
    });
  }
});

async function until(reached: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !reached(); i++) await sleep(5);
  assert.ok(reached(), 'it did not come to that');
}
