import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { CallOptions, Credential, CredentialSource, CredentialTarget } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { basicCredential, FakeClock, FakeLog } from '../testing/index.js';
import { SeveralCredentials } from './several-credentials.js';

const o = { signal: new AbortController().signal };
const registry = parseRegistryHost('registry.example.com');
const target = { registry, name: parseRepositoryName('team/app') };
const minutes = 60_000;

/** Gives what the test puts there: a password, none, an error, or nothing at all for as long as it likes. */
class Place implements CredentialSource {
  now: string | undefined | Error | 'silent';
  asked = 0;
  createRepository?: (target: Required<CredentialTarget>) => Promise<boolean>;
  closed = false;

  constructor(now: Place['now']) {
    this.now = now;
  }

  async credentialFor(
    _target: CredentialTarget,
    _o: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    this.asked++;
    if (this.now === 'silent') return new Promise(() => {});
    if (this.now instanceof Error) throw this.now;
    return this.now === undefined ? undefined : basicCredential('robot', this.now);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function setUp(...now: readonly Place['now'][]) {
  const [clock, log] = [new FakeClock(), new FakeLog()];
  const places = now.map((one) => new Place(one));
  const credentials = new SeveralCredentials(places, { clock, log, upstream: 'hub' });
  const ask = async (rejected?: string) =>
    textOf(
      await credentials.credentialFor(target, {
        ...o,
        ...(rejected !== undefined && { rejected: basicCredential('robot', rejected) }),
      }),
    );
  /** What was logged since it was last looked. */
  let looked = 0;
  const news = () => {
    const lines = log.entries.slice(looked).map(({ level, message }) => `${level}: ${message}`);
    looked = log.entries.length;
    return lines;
  };
  const [first = new Place(undefined), second = new Place(undefined)] = places;
  return { clock, log, first, second, credentials, ask, news };
}

function textOf(credential: Credential | undefined): string | undefined {
  return credential?.kind === 'basic' ? credential.password.reveal() : undefined;
}

const down = () => new RegistryError('UNAVAILABLE', { reason: 'the metadata server does not answer' });
const refused = 'error: credential 1 of upstream hub is refused; going on with credential 2';

describe('SeveralCredentials', () => {
  test('gives the first one, and where there is none for the target the next', async () => {
    const { ask, first, second } = setUp('a', 'b');
    assert.equal(await ask(), 'a');
    assert.equal(second.asked, 0);
    first.now = undefined;
    assert.equal(await ask(), 'b');
    second.now = undefined;
    assert.equal(await ask(), undefined);
  });

  test('goes on with the next one after a refusal, and says so once', async () => {
    const { ask, news, log } = setUp('a', 'b');
    await ask();
    assert.equal(await ask('a'), 'b');
    assert.equal(await ask('a'), 'b', 'a request that was under way');
    assert.equal(await ask(), 'b');
    assert.deepEqual(news(), [refused]);
    assert.deepEqual(log.entries[0]?.fields, { upstream: 'hub', credential: 1 });
  });

  test('tries the refused one again after five minutes', async () => {
    const { ask, clock, news } = setUp('a', 'b');
    await ask();
    await ask('a');
    clock.advance(5 * minutes - 1);
    assert.equal(await ask(), 'b');
    clock.advance(1);
    news();
    assert.equal(await ask(), 'a');
    assert.deepEqual(news(), ['info: credential 1 of upstream hub is tried again after it was refused']);
    assert.equal(await ask(), 'a');
    assert.deepEqual(news(), []);
    assert.equal(await ask('a'), 'b');
    assert.deepEqual(news(), [refused]);
  });

  test('takes another one of the same source at once: its file was changed', async () => {
    const { ask, first, news } = setUp('a', 'b');
    await ask();
    await ask('a');
    news();
    first.now = 'a, changed';
    assert.equal(await ask(), 'a, changed');
    assert.deepEqual(news(), ['info: credential 1 of upstream hub is tried again after it was refused']);
    assert.equal(await ask('a, changed'), 'b');
    assert.deepEqual(news(), [refused]);
    first.now = 'a';
    assert.equal(await ask(), 'b', 'that one was refused, too');
    assert.equal(await ask('a, changed'), 'b', 'and is not what takes the place of another');
  });

  test('asks the source of the refused one for another before it goes on', async () => {
    const { ask, first, second, news } = setUp('a', 'b');
    await ask();
    first.now = 'a, changed';
    assert.equal(await ask('a'), 'a, changed');
    assert.equal(second.asked, 0);
    assert.deepEqual(news(), []);
  });

  for (const [name, now] of [
    ['has none any more', undefined],
    ['cannot be asked', down()],
  ] as const) {
    test(`goes on where the source of the refused one ${name}`, async () => {
      const { ask, first, news } = setUp('a', 'b');
      await ask();
      first.now = now;
      assert.equal(await ask('a'), 'b');
      assert.ok(news().includes(refused), 'it says so');
    });
  }

  test('where all are refused gives the one that rests longest, and says so once', async () => {
    const { ask, clock, news } = setUp('a', 'b');
    await ask();
    for (const [refusedOne, next] of [
      ['a', 'b'],
      ['b', 'a'],
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      clock.advance(1);
      assert.equal(await ask(refusedOne), next);
      assert.equal(await ask(), next, 'the next request has it, too');
    }
    assert.deepEqual(news(), [
      refused,
      'error: credential 2 of upstream hub is refused, and there is no other',
    ]);
  });

  test('knows whose a refused one is, also where the first could not be asked before', async () => {
    const { ask, first, news } = setUp(down(), 'b');
    assert.equal(await ask(), 'b');
    first.now = 'a';
    assert.equal(await ask('b'), 'a');
    assert.deepEqual(news().slice(-1), [
      'error: credential 2 of upstream hub is refused; going on with credential 1',
    ]);
  });

  test('knows whose they are of a source with many, a credential for each repository', async () => {
    const { credentials, first } = setUp('unused', 'b');
    first.credentialFor = async ({ name }) => basicCredential('robot', `of ${name}`);
    const targets = Array.from({ length: 100 }, (_, i) => ({
      registry,
      name: parseRepositoryName(`team${i}/app`),
    }));
    const all = (ask: (one: CredentialTarget, i: number) => Promise<Credential | undefined>) =>
      Promise.all(targets.map(async (one, i) => textOf(await ask(one, i))));
    const given = await all((one) => credentials.credentialFor(one, o));
    assert.deepEqual(
      given,
      targets.map(({ name }) => `of ${name}`),
    );
    const next = await all((one, i) =>
      credentials.credentialFor(one, { ...o, rejected: basicCredential('robot', given[i] ?? '') }),
    );
    assert.deepEqual([...new Set(next)], ['b'], 'all go on with the second');
    const later = await all((one) => credentials.credentialFor(one, o));
    assert.deepEqual([...new Set(later)], ['b'], 'and all of the first rest');
  });

  test('is not misled by one it never gave', async () => {
    const { ask, news } = setUp('a', 'b');
    assert.equal(await ask('somebody else’s'), 'a');
    assert.deepEqual(news(), []);
  });

  test('uses the next where one cannot be had, and says it once', async () => {
    const { ask, first, news } = setUp(down(), 'b');
    for (let i = 0; i < 3; i++) assert.equal(await ask(), 'b');
    assert.deepEqual(news(), [
      'warn: credential 1 of upstream hub cannot be had; another one is used where there is one',
    ]);
    first.now = 'a';
    assert.equal(await ask(), 'a');
    assert.deepEqual(news(), ['info: credential 1 of upstream hub can be had again']);
  });

  test('where none can be had it is the first one’s error', async () => {
    const { ask } = setUp(down(), new RegistryError('UNAVAILABLE', { reason: 'something else' }));
    await assert.rejects(ask(), { code: 'UNAVAILABLE', reason: 'the metadata server does not answer' });
  });

  test('rather shows a refused one than none', async () => {
    const { ask, second } = setUp('a', 'b');
    await ask();
    await ask('a');
    second.now = down();
    assert.equal(await ask(), 'a');
  });

  test('does not wait for one that stands still as long as there is another', async (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { ask, first } = setUp('silent', 'b');
    for (const patience of [10_000, 250, 250]) {
      const waiting = ask();
      await setImmediate();
      t.mock.timers.tick(patience - 1);
      assert.equal(await Promise.race([waiting, setImmediate('still waiting')]), 'still waiting');
      t.mock.timers.tick(1);
      assert.equal(await waiting, 'b');
    }
    first.now = 'a';
    assert.equal(await ask(), 'a');
  });

  test('is left by its caller’s signal, which is no failure of a source', async () => {
    const { credentials, news } = setUp('silent', 'b');
    const leaving = new AbortController();
    const waiting = credentials.credentialFor(target, { signal: leaving.signal });
    leaving.abort(new Error('left'));
    await assert.rejects(waiting, /left/);
    await assert.rejects(credentials.credentialFor(target, { signal: leaving.signal }), /left/);
    assert.deepEqual(news(), []);
  });

  test('makes a repository with the first that may', async () => {
    const { credentials, first, second } = setUp('a', 'b');
    const make = () => credentials.createRepository(target, o);
    assert.equal(await make(), false);
    first.createRepository = async () => false;
    second.createRepository = async () => true;
    assert.equal(await make(), true);
    first.createRepository = async () => {
      throw new RegistryError('DENIED', { reason: 'AccessDeniedException' });
    };
    assert.equal(await make(), true);
    second.createRepository = async () => false;
    await assert.rejects(make(), { code: 'DENIED' });
  });

  test('leaves its sources open: they are not its own', async () => {
    const { credentials, first, second } = setUp('a', 'b');
    await credentials.close();
    assert.deepEqual([first.closed, second.closed], [false, false]);
  });
});
