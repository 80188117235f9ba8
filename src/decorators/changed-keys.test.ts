import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Credential, CredentialSource, CredentialTarget } from '../contracts/index.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { basicCredential, FakeClock, FakeLog, FakeMetrics } from '../testing/index.js';
import { RefreshedCredentials } from './refreshed-credentials.js';
import { down, later, o, registry, s, textOf } from './scripted-source.test.js';

// Which repositories share a credential may change while the program runs: a file is read again.

const target = (name: string): CredentialTarget => ({ registry, name: parseRepositoryName(name) });
const payroll = target('acme/payroll');
const web = target('acme/web');

/** As a file that is read with each question: one credential for all of acme, and may be one of their own for some. */
class OwnCredentials implements CredentialSource {
  readonly asked: string[] = [];
  readonly #clock: FakeClock;
  /** Who has one of their own. */
  readonly own = new Set<string>();
  /** As it was read last. */
  #read = new Set<string>();
  before: (asked: CredentialTarget) => Promise<void> = async () => {};
  /** Milliseconds. */
  life: number | undefined = 100 * s;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  keyFor = ({ name }: CredentialTarget): string => (name && this.#read.has(name) ? name : 'acme');

  async credentialFor(asked: CredentialTarget): Promise<Credential> {
    this.asked.push(asked.name ?? 'acme');
    this.#read = new Set(this.own);
    const text = this.keyFor(asked);
    await this.before(asked);
    return basicCredential('robot', text, this.life && this.#clock.now() + this.life);
  }

  async close(): Promise<void> {}
}

function setUp(t: TestContext) {
  const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
  const source = new OwnCredentials(clock);
  const settings = { clock, log, metrics, upstream: 'hub', credential: 1 };
  const credentials = new RefreshedCredentials(source, settings);
  t.after(() => credentials.close());
  return {
    ...{ clock, log, metrics, source, credentials },
    get: async (wanted: CredentialTarget) => textOf(await credentials.credentialFor(wanted, o)),
    replace: async (rejected: string, wanted: CredentialTarget) =>
      textOf(await credentials.credentialFor(wanted, { ...o, rejected: basicCredential('robot', rejected) })),
  };
}

describe('repositories that no longer share a credential', () => {
  for (const [name, life] of [
    ['held', 100 * s],
    ['asked for each time', undefined],
  ] as const) {
    test(`have each its own, whoever asked first: ${name}`, async (t) => {
      const { clock, source, get } = setUp(t);
      source.life = life;
      assert.deepEqual([await get(payroll), await get(web)], ['acme', 'acme']);
      source.own.add('acme/payroll');
      for (let i = 0; i < 3; i++) {
        clock.advance(100 * s);
        assert.deepEqual([await get(payroll), await get(web)], ['acme/payroll', 'acme']);
      }
      source.own.clear();
      clock.advance(100 * s);
      await get(web);
      assert.deepEqual([await get(payroll), await get(web)], ['acme', 'acme']);
    });
  }

  test('share no answer that was under way while it changed', async (t) => {
    const { source, get } = setUp(t);
    const read = later<void>();
    source.own.add('acme/payroll');
    source.before = ({ name }) => (name === 'acme/payroll' ? read.promise : Promise.resolve());
    const waiting = [get(payroll), get(web), get(web)];
    await setImmediate();
    read.resolve();
    assert.deepEqual(await Promise.all(waiting), ['acme/payroll', 'acme', 'acme']);
    assert.deepEqual(source.asked, ['acme/payroll', 'acme/web']);
  });

  test('share no failure that was under way while it changed', async (t) => {
    const { source, get, log } = setUp(t);
    source.own.add('acme/payroll');
    source.before = async ({ name }) => {
      if (name === 'acme/payroll') throw down();
    };
    const [failed, ...others] = await Promise.allSettled([get(payroll), get(web), get(web)]);
    assert.equal(failed?.status, 'rejected');
    for (const one of others) assert.deepEqual(one, { status: 'fulfilled', value: 'acme' });
    assert.equal(log.at('error').length, 1, 'it is told');
  });

  test('replace each its own', async (t) => {
    const { source, get, replace } = setUp(t);
    await get(payroll);
    source.own.add('acme/payroll');
    assert.deepEqual(await Promise.all([replace('acme', payroll), replace('acme', web)]), [
      'acme/payroll',
      'acme',
    ]);
    assert.equal(await get(web), 'acme');
  });

  test('take along what is kept ready', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { clock, source, credentials, metrics, get } = setUp(t);
    credentials.keepReady(payroll);
    for (let i = 0; i < 5; i++) await setImmediate();
    source.own.add('acme/payroll');
    for (let i = 0; i < 60; i++) {
      clock.advance(s);
      t.mock.timers.tick(s);
      for (let j = 0; j < 5; j++) await setImmediate();
    }
    assert.deepEqual(source.asked, ['acme/payroll', 'acme/payroll', 'acme/payroll']);
    const [age] = metrics.observed('upstream_credential_age_seconds', { upstream: 'hub', credential: '1' });
    assert.equal(age, 9, 'of its own one');
    assert.deepEqual([await get(payroll), source.asked.length], ['acme/payroll', 3]);
  });
});

test('a source that names another key each time is asked for its own target, or is UNAVAILABLE', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { source, credentials, get } = setUp(t);
  let count = 0;
  source.keyFor = () => String(count++);
  assert.match((await get(web)) ?? '', /^\d+$/, 'its own answer');
  assert.equal(source.asked.length, 1);
  credentials.keepReady({ registry });
  for (let i = 0; i < 50; i++) await setImmediate();
  assert.equal(source.asked.length, 2, 'no storm');
});
