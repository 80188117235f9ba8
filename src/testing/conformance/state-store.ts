import assert from 'node:assert/strict';
import type { StateStore } from '../../contracts/state-store.js';
import {
  closesTwice,
  closing,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  type SubjectTest,
  suite,
} from './suite.js';

export interface StateStoreSubject {
  /** Empty, or with a prefix of its own. */
  readonly store: StateStore;
  /** Lets so many milliseconds pass for the store: by its clock, or by waiting. */
  advance(milliseconds: number): Promise<void> | void;
}

const o = options();

/**
 * What every StateStore promises.
 *
 * @param without tests that do not apply: a guest has no compareAndSet
 */
export function describeStateStoreConformance(
  name: string,
  make: MakeSubject<StateStoreSubject>,
  without: readonly string[] = [],
): void {
  suite(
    `StateStore conformance: ${name}`,
    closing(make, ({ store }) => store),
    { ...entries, ...races, ...times, ...borders },
    without,
  );
}

const entries: Record<string, SubjectTest<StateStoreSubject>> = {
  'an entry that was never put is absent': async ({ store }) => {
    assert.equal(await store.get('absent', o), undefined);
    assert.deepEqual(await store.list('absent', o), []);
  },
  'what was put is got, and replaced by the next put': async ({ store }) => {
    await store.put('key', 'one', o);
    assert.equal((await store.get('key', o))?.value, 'one');
    await store.put('key', 'two', o);
    const entry = await store.get('key', o);
    assert.deepEqual([entry?.key, entry?.value, entry?.expiresAt], ['key', 'two', undefined]);
  },
  'the version differs after every put, also of the same value': async ({ store }) => {
    const versions = new Set<string | undefined>();
    for (let i = 0; i < 5; i++) {
      await store.put('key', 'same', o);
      versions.add((await store.get('key', o))?.version);
    }
    assert.equal(versions.size, 5);
    assert.ok(!versions.has(undefined), 'an entry has no version');
  },
  'the version stays while nothing is put': async ({ store }) => {
    await store.put('key', 'value', o);
    const first = await store.get('key', o);
    assert.equal((await store.get('key', o))?.version, first?.version);
    assert.deepEqual(await store.list('key', o), [first]);
  },
  'deleting removes the entry; what is not there may be deleted': async ({ store }) => {
    await store.put('key', 'value', o);
    await store.delete('key', o);
    assert.equal(await store.get('key', o), undefined);
    await store.delete('key', o);
    await store.delete('never', o);
  },
  'a list has all keys with the prefix and no others, in their order': async ({ store }) => {
    for (const key of ['a/2', 'a/10', 'b/1', 'a', 'a/1', 'A/1', 'a0', 'a/1/x']) await store.put(key, key, o);
    const keysOf = async (prefix: string) => (await store.list(prefix, o)).map((entry) => entry.key);
    assert.deepEqual(await keysOf('a/'), ['a/1', 'a/1/x', 'a/10', 'a/2']);
    assert.deepEqual(await keysOf('a/1'), ['a/1', 'a/1/x', 'a/10']);
    assert.deepEqual(await keysOf('c'), []);
  },
};

const races: Record<string, SubjectTest<StateStoreSubject>> = {
  'compareAndSet puts where the version is the same, and only there': async ({ store }) => {
    await store.put('key', 'one', o);
    const version = (await store.get('key', o))?.version;
    assert.equal(await store.compareAndSet('key', version, 'two', o), true);
    assert.equal(await store.compareAndSet('key', version, 'three', o), false);
    assert.equal((await store.get('key', o))?.value, 'two');
  },
  'compareAndSet without a version puts only where there is none': async ({ store }) => {
    assert.equal(await store.compareAndSet('key', undefined, 'one', o), true);
    assert.equal(await store.compareAndSet('key', undefined, 'two', o), false);
    assert.equal((await store.get('key', o))?.value, 'one');
  },
  'compareAndSet with a version fails where the entry is gone, also when it was put anew': async ({
    store,
  }) => {
    await store.put('key', 'one', o);
    const version = (await store.get('key', o))?.version;
    await store.delete('key', o);
    assert.equal(await store.compareAndSet('key', version, 'two', o), false);
    assert.equal(await store.get('key', o), undefined);
    await store.put('key', 'one', o);
    assert.equal(await store.compareAndSet('key', version, 'two', o), false);
  },
  'of twenty that compareAndSet at once one wins': async ({ store }) => {
    await store.put('old', 'start', o);
    const version = (await store.get('old', o))?.version;
    for (const [key, expected] of [
      ['new', undefined],
      ['old', version],
    ] as const) {
      const values = Array.from({ length: 20 }, (_, i) => `writer ${i}`);
      const won = await Promise.all(values.map((value) => store.compareAndSet(key, expected, value, o)));
      assert.equal(won.filter(Boolean).length, 1);
      assert.equal((await store.get(key, o))?.value, values[won.indexOf(true)]);
    }
  },
  'twenty counters that try again until they win lose no count': async ({ store }) => {
    const increment = async () => {
      for (let attempt = 0; attempt < 200; attempt++) {
        const entry = await store.get('count', o);
        const next = String(Number(entry?.value ?? '0') + 1);
        if (await store.compareAndSet('count', entry?.version, next, o)) return;
      }
      assert.fail('compareAndSet never wins');
    };
    await Promise.all(Array.from({ length: 20 }, increment));
    assert.equal((await store.get('count', o))?.value, '20');
  },
};

const times: Record<string, SubjectTest<StateStoreSubject>> = {
  'an expired entry is gone for every call': async ({ store, advance }) => {
    await store.put('key', 'value', { ...o, ttl: 200 });
    const entry = await store.get('key', o);
    assert.equal(typeof entry?.expiresAt, 'number');
    await advance(250);
    assert.equal(await store.get('key', o), undefined);
    assert.deepEqual(await store.list('key', o), []);
    assert.equal(await store.compareAndSet('key', entry?.version, 'late', o), false);
    assert.equal(await store.compareAndSet('key', undefined, 'anew', o), true);
  },
  'an entry lives until its ttl is over': async ({ store, advance }) => {
    await store.put('key', 'value', { ...o, ttl: 60_000 });
    await advance(50);
    assert.equal((await store.get('key', o))?.value, 'value');
  },
  'a put without ttl takes the ttl away, compareAndSet gives one': async ({ store, advance }) => {
    await store.put('kept', 'value', { ...o, ttl: 200 });
    await store.put('kept', 'value', o);
    assert.equal(await store.compareAndSet('lost', undefined, 'value', { ...o, ttl: 200 }), true);
    await advance(250);
    assert.equal((await store.get('kept', o))?.value, 'value');
    assert.equal(await store.get('lost', o), undefined);
  },
};

const borders: Record<string, SubjectTest<StateStoreSubject>> = {
  'keys may hold every printable character, and be 512 long': async ({ store }) => {
    const printable = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).join('');
    const keys = [
      printable,
      'k'.repeat(512),
      '../../etc/passwd',
      '__proto__',
      'a/b',
      'a%2Fb',
      'A/B',
      '*',
      '.',
      '-',
    ];
    for (const key of keys) await store.put(key, `value of ${key}`, o);
    for (const key of keys) assert.equal((await store.get(key, o))?.value, `value of ${key}`, key);
    assert.deepEqual(
      (await store.list('', o)).map((entry) => entry.key),
      [...keys].sort(),
    );
  },
  'values may be empty, 64 KiB, and hold any text': async ({ store }) => {
    const values = [
      '',
      'x'.repeat(64 * 1024),
      'line\nline\r\n\ttab \u0000 nul',
      'grüße 🐳 \u2028',
      '{"json":true}',
    ];
    for (const [i, value] of values.entries()) {
      await store.put(`key-${i}`, value, o);
      assert.equal((await store.get(`key-${i}`, o))?.value, value);
    }
  },
  'an aborted call rejects with the reason and changes nothing': async ({ store }) => {
    await store.put('key', 'value', o);
    await rejectsWhenAborted((aborted) => store.get('key', aborted));
    await rejectsWhenAborted((aborted) => store.put('key', 'other', aborted));
    await rejectsWhenAborted((aborted) => store.compareAndSet('new', undefined, 'other', aborted));
    await rejectsWhenAborted((aborted) => store.delete('key', aborted));
    await rejectsWhenAborted((aborted) => store.list('', aborted));
    assert.equal((await store.get('key', o))?.value, 'value');
    assert.equal(await store.get('new', o), undefined);
  },
  'it can be closed twice': ({ store }) => closesTwice(store),
};
