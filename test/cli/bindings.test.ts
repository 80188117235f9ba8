import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { addBindingsCommands } from '../../src/bin/bindings.js';
import type { StateStore } from '../../src/contracts/index.js';
import { driver as fileStore } from '../../src/state-stores/file.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { digestOf, FirstUse, type Holder, holderByNonce } from '../../src/verifiers/machine/first-use.js';
import { CheckedDirectory, type Ended, run } from './checking.js';
import { quiet, runInProcess } from './in-process.js';

// `bindings list` and `bindings forget` beside the process that holds the state, which goes on binding.

const instance = '123456789012/i-0123456789abcdef0';
const other = '123456789012/i-0fedcba9876543210';
const proof = `proof/${digestOf('a-token')}`;
const nonce = 'of-the-machine-alone';
const day = 86_400_000;

const address = (value: string): Holder => ({ kind: 'address', value });

interface House {
  readonly config: string;
  readonly state: StateStore;
  bind(verifier: string, subject: string, holder: Holder): Promise<void>;
  bindings(...args: readonly string[]): Promise<Ended>;
  /** In a process of its own. */
  program(...args: readonly string[]): Promise<Ended>;
}

const bindings = (...args: readonly string[]) =>
  runInProcess(
    (program, own) => addBindingsCommands(program.command('bindings'), quiet, own),
    ['bindings', ...args],
  );

async function openHouse(t: TestContext, settings: object = { type: 'file', path: 'state' }): Promise<House> {
  const directory = new CheckedDirectory();
  t.after(() => directory.remove());
  const config = directory.configuration(
    'proxy.yaml',
    { one: { url: 'http://127.0.0.1:1' } },
    { state: settings },
  );
  const clock = new FakeClock(Date.now());
  const given = { clock, log: new FakeLog(), metrics: new FakeMetrics() };
  const dependencies = { ...given, id: 'state', baseDirectory: directory.path, access: 'owner' as const };
  const state = await fileStore.open(fileStore.config.parse({ path: 'state' }), dependencies);
  t.after(() => state.close());
  const signal = new AbortController().signal;
  return {
    ...{ config, state },
    bind: (verifier, subject, holder) =>
      new FirstUse(verifier, state).bind(subject, holder, { ttl: 90 * day, now: clock.now(), signal }),
    bindings: (...args) => bindings(...args, '--config', config),
    program: (...args) => run(['bindings', ...args, '--config', config]),
  };
}

async function fill({ bind }: House): Promise<void> {
  await bind('aws', instance, address('192.0.2.7'));
  await bind('aws', other, holderByNonce(nonce));
  await bind('aws-b', instance, address('2001:db8:1:2::/64'));
  await bind('gcp', proof, address('192.0.2.8'));
}

/** Rows of the table, without its heading and without times. */
function rowsOf(table: string): readonly (readonly string[])[] {
  const [heading = '', ...lines] = table.trimEnd().split('\n');
  assert.match(heading, /^VERIFIER +SUBJECT +BOUND TO +SINCE +ENDS$/);
  return lines.map((line) => {
    const [verifier = '', subject = '', holder = '', ...times] = line.split(/ {2,}/);
    for (const time of times) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(times.length, 2, line);
    return [verifier, subject, holder];
  });
}

describe('bindings list', () => {
  test('shows machines, and proofs only where all are asked for', async (t) => {
    const house = await openHouse(t);
    await fill(house);
    const machines = [
      ['aws', instance, '192.0.2.7'],
      ['aws', other, 'a nonce'],
      ['aws-b', instance, '2001:db8:1:2::/64'],
    ];
    const { code, stdout, stderr } = await house.bindings('list');
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(rowsOf(stdout), machines);
    assert.deepEqual(rowsOf((await house.bindings('list', '--all')).stdout), [
      ...machines,
      ['gcp', proof, '192.0.2.8'],
    ]);
    assert.deepEqual(
      rowsOf((await house.bindings('list', '--verifier', 'aws')).stdout),
      machines.slice(0, 2),
    );
    assert.deepEqual(rowsOf((await house.bindings('list', '--verifier', 'gcp')).stdout), []);
  });

  test('as JSON', async (t) => {
    const house = await openHouse(t);
    await fill(house);
    const { code, stdout } = await house.bindings('list', '--json', '--verifier', 'aws');
    assert.equal(code, 0);
    const rows = JSON.parse(stdout) as readonly Record<string, string>[];
    assert.deepEqual(
      rows.map(({ since, ends, ...row }) => [row, Date.parse(ends ?? '') - Date.parse(since ?? '')]),
      [
        [{ verifier: 'aws', subject: instance, boundTo: 'address', address: '192.0.2.7' }, 90 * day],
        [{ verifier: 'aws', subject: other, boundTo: 'nonce' }, 90 * day],
      ],
    );
    assert.ok(!stdout.includes(holderByNonce(nonce).value), 'the digest of a nonce is shown');
  });

  test('where nothing is bound is empty', async (t) => {
    const house = await openHouse(t);
    assert.deepEqual(rowsOf((await house.bindings('list')).stdout), []);
    assert.equal((await house.bindings('list', '--json')).stdout, '[]\n');
  });

  test('goes on where a record is damaged, which can be forgotten', async (t) => {
    const house = await openHouse(t);
    await fill(house);
    const signal = new AbortController().signal;
    await house.state.put(`first-use/aws/${instance}`, '{"holder":7}', { signal });
    const { code, stdout, stderr } = await house.bindings('list', '--verifier', 'aws');
    assert.equal(code, 0);
    assert.deepEqual(rowsOf(stdout), [['aws', other, 'a nonce']]);
    assert.equal(stderr, `first-use/aws/${instance}: its record cannot be read: forget it\n`);
    const forgotten = await house.bindings('forget', '--verifier', 'aws', '--subject', instance);
    assert.equal(forgotten.code, 0);
    await house.bind('aws', instance, address('192.0.2.9'));
  });
});

describe('bindings forget', () => {
  test('frees this one, also for the process that holds the state', async (t) => {
    const house = await openHouse(t);
    await fill(house);
    await assert.rejects(house.bind('aws', instance, address('192.0.2.9')), { code: 'UNAUTHORIZED' });
    const { code, stdout, stderr } = await house.program(
      'forget',
      '--verifier',
      'aws',
      '--subject',
      instance,
    );
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(
      stdout,
      /^123456789012\/i-0123456789abcdef0 is free: aws had bound it to 192\.0\.2\.7 since \d{4}-[\dT:-]+Z\. Whoever shows it next is bound to it\.\n$/,
    );
    await house.bind('aws', instance, address('192.0.2.9'));
    await assert.rejects(house.bind('aws', instance, address('192.0.2.7')), { code: 'UNAUTHORIZED' });
    await assert.rejects(house.bind('aws-b', instance, address('192.0.2.9')), { code: 'UNAUTHORIZED' });
    await assert.rejects(house.bind('aws', other, address('192.0.2.9')), { code: 'UNAUTHORIZED' });
  });

  test('exits with 1 where it was not bound', async (t) => {
    const house = await openHouse(t);
    await fill(house);
    for (const [verifier, subject] of [
      ['gcp', instance],
      ['aws', `${instance}0`],
      ['aws', '123456789012'],
    ] as const) {
      const told = await house.bindings('forget', '--verifier', verifier, '--subject', subject);
      assert.deepEqual([told.code, told.stderr], [1, '']);
      assert.equal(told.stdout, `${subject} is not bound by ${verifier}: nothing was forgotten.\n`);
    }
    assert.equal(rowsOf((await house.bindings('list', '--all')).stdout).length, 4);
    const told = await house.program('forget', '--verifier', 'gcp', '--subject', instance);
    assert.deepEqual([told.code, told.stderr], [1, '']);
    assert.match(told.stdout, /nothing was forgotten/);
  });
});

describe('wrong usage', () => {
  for (const [what, args, message] of [
    ['no subject', ['forget', '--verifier', 'aws'], /required option '--subject/],
    ['no verifier', ['forget', '--subject', instance], /required option '--verifier/],
    [
      'a verifier that is none',
      ['forget', '--verifier', '../aws', '--subject', instance],
      /--verifier: expected/,
    ],
    ['a verifier with a slash', ['list', '--verifier', 'aws/1'], /--verifier: expected/],
    ['a subject that is none', ['forget', '--verifier', 'aws', '--subject', 'a b'], /--subject: expected/],
  ] as const) {
    test(`${what}: exit code 2`, async (t) => {
      const { code, stdout, stderr } = await (await openHouse(t)).bindings(...args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /\n\s+at /);
    });
  }

  test('a state in memory cannot be looked at from outside', async (t) => {
    const { code, stderr } = await (await openHouse(t, { type: 'memory' })).bindings('list');
    assert.equal(code, 2);
    assert.match(stderr, /^state: the state is in the memory of each process/);
  });

  test('--help shows examples', async () => {
    for (const command of ['list', 'forget']) {
      const { code, stdout } = await bindings(command, '--help');
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`Examples?:\n {2}docker-registry-proxy bindings ${command} --config`));
    }
  });
});
