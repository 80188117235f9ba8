import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import type { CredentialSource } from '../../src/contracts/index.js';
import { nonceIn } from '../../src/credential-sources/aws-identity/nonce-file.js';
import { driver } from '../../src/credential-sources/aws-identity.js';
import { describeError, RegistryError } from '../../src/errors.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { describeCredentialSourceConformance } from '../../src/testing/conformance/credential-source.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { document, lines, startAwsDocuments } from './harness/aws-documents.js';
import { type AwsHouse, awsEnvironment, startAwsHouse } from './harness/aws-house.js';
import { owner } from './harness/aws-identities.js';
import { accepted, openVerifier, refusal, withPassword } from './harness/aws-identity-house.js';
import { type Imds, type ImdsFault, startImds } from './harness/imds.js';

const documents = startAwsDocuments(['eu-west-1']);
after(() => documents.close());
const rsa2048 = documents.sign(document);
const other = documents.sign({ ...document, instanceId: 'i-0ffffffffffffffff' });
const target = {
  registry: parseRegistryHost('docker.example.com'),
  name: parseRepositoryName('team/app'),
};
const signal = new AbortController().signal;

interface Instance extends AwsHouse {
  readonly imds: Imds;
  readonly time: FakeClock;
  source(settings?: object): Promise<CredentialSource>;
}

/** We run on an EC2 instance. */
async function start(t: TestContext): Promise<Instance> {
  const house = await startAwsHouse(t);
  const arn = `arn:aws:sts::${owner}:assumed-role/node/${document.instanceId}`;
  const imds = await startImds(house.identities, arn, { instance: { documents: { rsa2048 } } });
  t.after(() => imds.close());
  awsEnvironment(t, house.directory, {
    AWS_EC2_METADATA_DISABLED: 'false',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
  });
  const time = new FakeClock(Date.now());
  const { directory: baseDirectory, log } = house;
  const source = async (settings: object = {}) => {
    const config = driver.config.parse({ timeout: '1s', ...settings });
    const given = { id: 'ours', baseDirectory, clock: time, log, metrics: new FakeMetrics() };
    const opened = await driver.open(config, given);
    t.after(() => opened.close());
    return opened;
  };
  return { ...house, imds, time, source };
}

async function passwordOf(source: CredentialSource): Promise<string> {
  const credential = await source.credentialFor(target, { signal });
  assert.ok(credential?.kind === 'basic' && credential.username === '_aws', 'no password of _aws');
  return credential.password.reveal();
}

/** Why there is none, in one sentence. */
async function reasonOf(source: CredentialSource): Promise<string> {
  const error = await source.credentialFor(target, { signal }).then(
    () => assert.fail('there is one'),
    (thrown: unknown) => thrown,
  );
  assert.ok(
    error instanceof RegistryError && error.code === 'UNAVAILABLE',
    `not UNAVAILABLE: ${String(error)}`,
  );
  return describeError(error).replace(/^UNAVAILABLE: /, '');
}

describeCredentialSourceConformance(
  'aws-identity',
  async (t) => {
    const { imds, time, source } = await start(t);
    return {
      source: await source(),
      known: target,
      expected: `_aws:drp-id1.${Buffer.from(rsa2048, 'base64').toString('base64url')}`,
      now: () => time.now(),
      rotate: () => {
        imds.instance = { documents: { rsa2048: other } };
      },
      break: () => imds.close(),
    };
  },
  ['it has none for a repository it does not know'],
);

describe('the document of our instance', () => {
  test('is had by version 2 alone, and our verifier takes it', async (t) => {
    const { imds, source } = await start(t);
    const verifier = await openVerifier(t, { certificates: documents.directory });
    const password = await passwordOf(await source());
    assert.equal(
      (await accepted(verifier, withPassword(password))).attributes.instanceId,
      document.instanceId,
    );
    assert.deepEqual(imds.asked, ['PUT /latest/api/token', 'GET /latest/dynamic/instance-identity/rsa2048']);
    assert.deepEqual(imds.askedByVersion1, []);
  });

  test('is one for all registries, and asked for again after an hour', async (t) => {
    const { time, source } = await start(t);
    const opened = await source();
    const credential = await opened.credentialFor(target, { signal });
    assert.equal(credential?.refreshAt, time.now() + 3_600_000);
    assert.equal(credential?.expiresAt, time.now() + 12 * 3_600_000);
    assert.equal(opened.keyFor?.(target), opened.keyFor?.({ registry: parseRegistryHost('other.example') }));
  });

  test('is not asked for through a proxy', async (t) => {
    const { world, source } = await start(t);
    await passwordOf(await source());
    assert.deepEqual([world.requests.length, world.unknownNames.length], [0, 0]);
  });

  test('of an instance without a role is there as well', async (t) => {
    const { imds, source } = await start(t);
    imds.withoutRole = true;
    assert.match(await passwordOf(await source()), /^drp-id1\.MIAGCSq/);
  });
});

describe('where there is no document it says what to do:', () => {
  const faults: Readonly<Record<ImdsFault, RegExp>> = {
    'is off':
      /^the instance metadata: it answers 403 where IMDSv2 gives a token; is it switched off .*--http-endpoint enabled/,
    hangs:
      /^the instance metadata: no answer; is this an EC2 instance\? From within a container .*--http-put-response-hop-limit 2/,
    'hangs later': /^the instance metadata: no answer; /,
    fails: /^the instance metadata: it answers 500 where IMDSv2 gives a token; /,
    'is a portal': /^the instance metadata: what it gives is no signed document$/,
    'forgets sessions': /^the instance metadata: it answers 401 where it gives the document$/,
  };
  for (const [fault, says] of Object.entries(faults) as readonly [ImdsFault, RegExp][]) {
    test(`it ${fault}`, async (t) => {
      const { imds, source } = await start(t);
      imds.fault = fault;
      assert.match(
        await reasonOf(await source({ timeout: fault.startsWith('hangs') ? '300ms' : '30s' })),
        says,
      );
      assert.deepEqual(imds.askedByVersion1, []);
    });
  }

  const answers: Readonly<Record<string, readonly [rsa2048: string | undefined, says: RegExp]>> = {
    'has none': [undefined, /it has no rsa2048 document: is this another cloud/],
    'gives nothing': ['', /what it gives is no signed document/],
    'gives the plain document': [JSON.stringify(document), /what it gives is no signed document/],
    'gives base64 of something': [
      Buffer.from('{"a":1}').toString('base64'),
      /what it gives is no signed document/,
    ],
    'gives too much': [lines(Buffer.alloc(7_000, 0x30)), /what it gives is no signed document/],
  };
  for (const [what, [text, says]] of Object.entries(answers)) {
    test(`it ${what}`, async (t) => {
      const { imds, source } = await start(t);
      imds.instance = { documents: text === undefined ? { document: '{}' } : { rsa2048: text } };
      assert.match(await reasonOf(await source()), says);
    });
  }

  test('nobody listens there', async (t) => {
    const { imds, source } = await start(t);
    await imds.close();
    assert.match(await reasonOf(await source()), /no answer; is this an EC2 instance\?/);
  });

  test('it must not be asked', async (t) => {
    const { imds, source, directory } = await start(t);
    for (const AWS_EC2_METADATA_DISABLED of ['true', 'TRUE', '1', 'False']) {
      awsEnvironment(t, directory, {
        AWS_EC2_METADATA_DISABLED,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
      });
      assert.match(await reasonOf(await source()), /AWS_EC2_METADATA_DISABLED forbids to ask it/);
    }
    assert.deepEqual(imds.asked, []);
  });

  test('its endpoint is on a network', async (t) => {
    const { source, directory } = await start(t);
    awsEnvironment(t, directory, {
      AWS_EC2_METADATA_DISABLED: '',
      AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://imds.corp.example',
    });
    assert.match(
      await reasonOf(await source()),
      /its endpoint is not one: expected https, .*; it is named by AWS_EC2_/,
    );
  });
});

describe('a nonce', () => {
  const form = /^[A-Za-z0-9_-]{43}\n$/;

  test('is made when it is first shown, for its owner alone, and kept', async (t) => {
    const { directory, source } = await start(t);
    const opened = await source({ nonce: 'nonce' });
    const file = join(directory, 'nonce');
    assert.ok(!existsSync(file), 'opening makes nothing');
    const password = await passwordOf(opened);
    const text = readFileSync(file, 'utf8');
    assert.match(text, form);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(password.endsWith(`.${text.trim()}`), 'it is shown');
    assert.equal(await passwordOf(await source({ nonce: 'nonce' })), password);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.startsWith('nonce')),
      ['nonce'],
    );
  });

  test('makes the machine itself, wherever it comes from', async (t) => {
    const { source } = await start(t);
    const verifier = await openVerifier(t, { certificates: documents.directory, firstUse: 'nonce' });
    const password = await passwordOf(await source({ nonce: 'nonce' }));
    await accepted(verifier, withPassword(password));
    await accepted(verifier, withPassword(password, '203.0.113.9'));
    const thief = await passwordOf(await source({ nonce: 'thief' }));
    assert.match(await refusal(verifier, withPassword(thief)), /is now shown by another nonce/);
  });

  test('is not made where there is no document', async (t) => {
    const { imds, directory, source } = await start(t);
    imds.fault = 'is off';
    await reasonOf(await source({ nonce: 'nonce' }));
    assert.ok(!existsSync(join(directory, 'nonce')), 'it is made');
  });

  test('is one, whoever makes it at the same moment', async (t) => {
    const { directory } = await start(t);
    const file = join(directory, 'nonce');
    const all = await Promise.all(Array.from({ length: 20 }, () => nonceIn(file)));
    assert.equal(new Set(all).size, 1);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.startsWith('nonce')),
      ['nonce'],
    );
  });

  test('is one, also for several processes', { timeout: 60_000 }, async (t) => {
    const { directory } = await start(t);
    const module = new URL('../../src/credential-sources/aws-identity/nonce-file.ts', import.meta.url);
    const program = join(directory, 'make.mjs');
    writeFileSync(
      program,
      `import { nonceIn } from ${JSON.stringify(module.href)};
      process.send('ready');
      process.on('message', async () => process.send(await nonceIn(${JSON.stringify(join(directory, 'nonce'))}), () => process.exit()));`,
    );
    const loader = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url);
    const children = Array.from({ length: 3 }, () => fork(program, { execArgv: ['--import', loader.href] }));
    t.after(() => {
      for (const child of children) child.kill('SIGKILL');
    });
    const next = () =>
      Promise.all(children.map((child) => new Promise((done) => child.once('message', done))));
    await next();
    const made = next();
    for (const child of children) child.send('now');
    const [first, ...more] = await made;
    assert.deepEqual(more, [first, first]);
    assert.equal(readFileSync(join(directory, 'nonce'), 'utf8').trim(), first);
  });

  test('may be given by somebody', async (t) => {
    const { file, source } = await start(t);
    const opened = await source({ nonce: file('mine', `${'n'.repeat(22)}\n`) });
    assert.match(await passwordOf(opened), /\.n{22}$/);
  });

  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o644]) {
    const printed = `0${mode.toString(8)}`;
    test(`of mode ${printed} keeps it from starting, and from being shown`, async (t) => {
      const { file, source } = await start(t);
      const path = file('mine', 'n'.repeat(22));
      const opened = await source({ nonce: path });
      chmodSync(path, mode);
      const says = `others may read or write ${path} (mode ${printed}): make it ours alone (chmod 600)`;
      await assert.rejects(source({ nonce: path }), { message: says });
      assert.equal(await reasonOf(opened), `the nonce of this machine cannot be had: ${says}`);
    });
  }

  test('of another user keeps it from starting', async (t) => {
    if (process.geteuid?.() !== 0) return t.skip('only root can give files away');
    const { file, source } = await start(t);
    const path = file('mine', 'n'.repeat(22));
    chownSync(path, 1234, 0);
    await assert.rejects(source({ nonce: path }), {
      message: `${path} belongs to user 1234, and this is user 0: it must be ours, or root's`,
    });
  });

  for (const [what, text] of [
    ['is empty', ''],
    ['is short', 'n'.repeat(21)],
    ['is long', 'n'.repeat(87)],
    ['has two lines', `${'n'.repeat(30)}\n${'m'.repeat(30)}`],
    ['has a dot', `${'n'.repeat(30)}.${'m'.repeat(30)}`],
  ] as const) {
    test(`that ${what} keeps it from starting, and is not told`, async (t) => {
      const { file, source } = await start(t);
      const opened = source({ nonce: file('nonce', text) });
      await assert.rejects(
        opened,
        /^Error: \S+nonce holds no nonce; expected 22 to 86 letters, digits, - and _$/,
      );
    });
  }

  test('in a directory that is not there is told of', async (t) => {
    const { source } = await start(t);
    const said = await reasonOf(await source({ nonce: 'absent/nonce' }));
    assert.match(
      said,
      /^the nonce of this machine cannot be had: cannot write \S+absent\/nonce: ENOENT: [^\n]+$/,
    );
  });

  test('that is a directory keeps it from starting', async (t) => {
    const { directory, source } = await start(t);
    mkdirSync(join(directory, 'nonce'));
    await assert.rejects(source({ nonce: 'nonce' }), /^Error: cannot read \S+nonce: EISDIR$/);
  });
});

describe('the fake metadata server', () => {
  const rest = '/latest/dynamic/instance-identity/rsa2048';
  const ttl = { 'x-aws-ec2-metadata-token-ttl-seconds': '60' };
  const cases: Readonly<
    Record<string, readonly [method: string, path: string, headers: Record<string, string>, status: number]>
  > = {
    'no session': ['GET', rest, {}, 401],
    'a session of nobody': ['GET', rest, { 'x-aws-ec2-metadata-token': 'x' }, 401],
    'a session by GET': ['GET', '/latest/api/token', ttl, 405],
    'a session without a length': ['PUT', '/latest/api/token', {}, 400],
    'a session that is too long': [
      'PUT',
      '/latest/api/token',
      { 'x-aws-ec2-metadata-token-ttl-seconds': '21601' },
      400,
    ],
    'a session through a proxy': ['PUT', '/latest/api/token', { ...ttl, 'x-forwarded-for': '10.0.0.1' }, 403],
    'a document by POST': ['POST', rest, {}, 405],
  };
  for (const [what, [method, path, headers, status]] of Object.entries(cases)) {
    test(`refuses ${what}`, async (t) => {
      const { imds } = await start(t);
      const answer = await fetch(`${imds.url}${path}`, { method, headers });
      assert.deepEqual([answer.status, await answer.text()], [status, '']);
    });
  }

  test('gives a document to who has a session, and has no others than it was given', async (t) => {
    const { imds } = await start(t);
    const session = await fetch(`${imds.url}/latest/api/token`, { method: 'PUT', headers: ttl });
    assert.equal(session.headers.get('x-aws-ec2-metadata-token-ttl-seconds'), '60');
    const headers = { 'x-aws-ec2-metadata-token': await session.text() };
    assert.equal(await (await fetch(`${imds.url}${rest}`, { headers })).text(), rsa2048);
    assert.equal((await fetch(`${imds.url}${rest.replace('rsa2048', 'pkcs7')}`, { headers })).status, 404);
  });
});
