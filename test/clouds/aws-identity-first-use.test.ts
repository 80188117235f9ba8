import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import type { StateStore } from '../../src/contracts/index.js';
import { driver as fileStore } from '../../src/state-stores/file.js';
import { MemoryStateStore } from '../../src/state-stores/memory.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { document, startAwsDocuments } from './harness/aws-documents.js';
import { accepted, openVerifier, refusal, shown } from './harness/aws-identity-house.js';

const documents = startAwsDocuments(['eu-west-1']);
after(() => documents.close());
const certificates = documents.directory;
const name = `${document.accountId}/${document.instanceId}`;
const good = documents.sign(document);
const other = documents.sign({ ...document, instanceId: 'i-0ffffffffffffffff' });
const hour = 3_600_000;
const day = 24 * hour;
const [one, two] = ['a'.repeat(43), 'b'.repeat(43)];
const signal = new AbortController().signal;

/** Who comes, one after the other, and whether they are let in. */
type Steps = readonly (readonly [
  from: { readonly address?: string; readonly nonce?: string },
  says?: RegExp,
])[];

const byAddress =
  /was bound to \S+ at its first use \(\S+\), and is now shown by \S+; `docker-registry-proxy bindings forget` frees it/;
const byNonce = /was bound to a nonce at its first use .* and is now shown by another nonce/;

const cases: Readonly<Record<string, readonly [settings: object, steps: Steps]>> = {
  'from one address, again and again': [
    {},
    [[{ address: '192.0.2.1' }], [{ address: '192.0.2.1' }], [{ address: '192.0.2.1' }]],
  ],
  'from another address': [
    {},
    [[{ address: '192.0.2.1' }], [{ address: '192.0.2.2' }, byAddress], [{ address: '192.0.2.1' }]],
  ],
  'from the same address in its other form': [
    {},
    [[{ address: '192.0.2.1' }], [{ address: '::ffff:192.0.2.1' }]],
  ],
  'from the same /64': [{}, [[{ address: '2001:db8:0:7::1' }], [{ address: '2001:db8::7:ffff:0:0:2' }]]],
  'from another /64': [{}, [[{ address: '2001:db8:0:7::1' }], [{ address: '2001:db8:0:8::1' }, byAddress]]],
  'from IPv4 and then IPv6': [{}, [[{ address: '192.0.2.1' }], [{ address: '2001:db8::1' }, byAddress]]],
  'with a nonce, which does not count': [
    {},
    [
      [{ address: '192.0.2.1', nonce: one }],
      [{ address: '192.0.2.1', nonce: two }],
      [{ address: '192.0.2.2', nonce: one }, byAddress],
    ],
  ],
  'with one nonce, from anywhere': [
    { firstUse: 'nonce' },
    [[{ address: '192.0.2.1', nonce: one }], [{ address: '203.0.113.9', nonce: one }]],
  ],
  'with another nonce': [
    { firstUse: 'nonce' },
    [[{ nonce: one }], [{ nonce: two }, byNonce], [{ nonce: one }]],
  ],
  'without the nonce': [
    { firstUse: 'nonce' },
    [[{ nonce: one }], [{}, /shows no nonce, and firstUse: nonce demands one/]],
  ],
  'without a nonce at first': [
    { firstUse: 'nonce' },
    [[{}, /shows no nonce/], [{ nonce: two }], [{ nonce: one }, byNonce]],
  ],
  'from anywhere, bound to nobody': [
    { firstUse: 'none' },
    [[{ address: '192.0.2.1' }], [{ address: '203.0.113.9' }]],
  ],
};

describe('a document that is shown', () => {
  for (const [what, [settings, steps]] of Object.entries(cases)) {
    test(what, async (t) => {
      const verifier = await openVerifier(t, { certificates, ...settings });
      for (const [i, [from, says]] of steps.entries()) {
        if (says === undefined)
          assert.equal((await accepted(verifier, shown(good, from))).name, name, `step ${i}`);
        else assert.match(await refusal(verifier, shown(good, from)), says);
      }
    });
  }

  test('binds its own instance, and no other', async (t) => {
    const verifier = await openVerifier(t, { certificates });
    await accepted(verifier, shown(good, { address: '192.0.2.1' }));
    await accepted(verifier, shown(other, { address: '192.0.2.2' }));
  });

  test('binds an instance, whatever document of it: one that was stopped and started has another', async (t) => {
    const verifier = await openVerifier(t, { certificates });
    await accepted(verifier, shown(good, { address: '192.0.2.1' }));
    const later = documents.sign({ ...document, pendingTime: '2026-06-01T00:00:00Z' });
    assert.match(await refusal(verifier, shown(later, { address: '192.0.2.2' })), byAddress);
  });

  test('binds nothing where a rule refuses it', async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    const strict = await openVerifier(t, { certificates, instanceTypes: ['t3.*'] }, { clock, state });
    await refusal(strict, shown(good, { address: '192.0.2.1' }));
    assert.equal(state.size, 0);
  });

  test('is not bound for another verifier', async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    await accepted(await openVerifier(t, { certificates }, { clock, state }), shown(good));
    const keys = (await state.list('', { signal })).map(({ key }) => key);
    assert.deepEqual(keys, [`first-use/aws/${name}`]);
  });

  test('leaves neither itself nor its nonce in the state', async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    const verifier = await openVerifier(t, { certificates, firstUse: 'nonce' }, { clock, state });
    await accepted(verifier, shown(good, { nonce: one }));
    const text = JSON.stringify(await state.list('', { signal }));
    assert.ok(!text.includes(one) && !text.includes('BgkqhkiG'), 'a proof is in the state');
  });
});

describe('of two at the same moment', () => {
  for (let round = 0; round < 5; round++) {
    test(`exactly one is first (${round})`, async (t) => {
      const state = await openFileStore(t, temporary(t), new FakeClock(Date.now()));
      const verifier = await openVerifier(t, { certificates }, { state });
      const outcomes = await Promise.allSettled(
        ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'].map((address) =>
          verifier.verify(shown(good, { address }), { signal }),
        ),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    });
  }
});

describe('how old an instance is', () => {
  const settings = { certificates, maxAge: '1h', bindingIdle: '90d' };
  const launched = (ago: number) => {
    const pendingTime = new Date(Date.now() - ago).toISOString().replace(/\.\d+Z$/, 'Z');
    return shown(documents.sign({ ...document, pendingTime }));
  };
  const tooOld = /was launched at \S+Z, longer ago than `maxAge` at its first use/;

  test('counts at its first use', async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    const verifier = await openVerifier(t, settings, { clock, state });
    assert.match(await refusal(verifier, launched(2 * hour)), tooOld);
    assert.equal(state.size, 0, 'it is not bound');
    await accepted(verifier, launched(hour / 2));
  });

  test('does not count afterwards, however long it runs', async (t) => {
    const clock = new FakeClock(Date.now());
    const verifier = await openVerifier(t, settings, { clock });
    const credentials = launched(hour / 2);
    for (let i = 0; i < 5; i++) {
      await accepted(verifier, credentials);
      clock.advance(60 * day);
    }
  });

  test('counts again where it did not come for long', async (t) => {
    const clock = new FakeClock(Date.now());
    const verifier = await openVerifier(t, settings, { clock });
    const credentials = launched(hour / 2);
    await accepted(verifier, credentials);
    clock.advance(91 * day);
    assert.match(await refusal(verifier, credentials), tooOld);
  });

  test('counts with nonces as well', async (t) => {
    const verifier = await openVerifier(t, { ...settings, firstUse: 'nonce' });
    const pendingTime = '2020-01-01T00:00:00Z';
    const text = documents.sign({ ...document, pendingTime });
    assert.match(await refusal(verifier, shown(text, { nonce: one })), tooOld);
  });
});

describe('a binding', () => {
  test('survives a restart', async (t) => {
    const directory = temporary(t);
    const clock = new FakeClock(Date.now());
    const before = await openFileStore(t, directory, clock);
    await accepted(await openVerifier(t, { certificates }, { state: before, clock }), shown(good));
    await before.close();
    const state = await openFileStore(t, directory, clock);
    const verifier = await openVerifier(t, { certificates }, { state, clock });
    assert.match(await refusal(verifier, shown(good, { address: '192.0.2.2' })), byAddress);
    await accepted(verifier, shown(good));
  });

  test('that somebody forgets is free for the next', async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    const verifier = await openVerifier(t, { certificates }, { state, clock });
    await accepted(verifier, shown(good));
    await state.delete(`first-use/aws/${name}`, { signal });
    await accepted(verifier, shown(good, { address: '192.0.2.2' }));
    assert.match(await refusal(verifier, shown(good)), byAddress);
  });
});

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'aws-first-use-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function openFileStore(t: TestContext, path: string, clock: FakeClock): Promise<StateStore> {
  const given = { id: 'state', baseDirectory: '/', clock, log: new FakeLog(), metrics: new FakeMetrics() };
  const store = await fileStore.open(fileStore.config.parse({ path }), { ...given, access: 'owner' });
  t.after(() => store.close());
  return store;
}
