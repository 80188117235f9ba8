import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { StateEntry, StateStore } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { describeStateStoreConformance } from '../testing/conformance/state-store.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './file.js';
import { MemoryStateStore } from './memory.js';

const o = { signal: new AbortController().signal };

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'state-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Opens it as one process after another would: the directory is let go when the test ends, or it is opened again. */
function opener(t: TestContext, baseDirectory: string, clock = new FakeClock(), log = new FakeLog()) {
  let last: StateStore | undefined;
  t.after(() => last?.close());
  return async () => {
    await last?.close();
    last = await open(baseDirectory, 'owner', clock, log);
    return last;
  };
}

function open(
  baseDirectory: string,
  access: 'owner' | 'guest',
  clock = new FakeClock(),
  log = new FakeLog(),
): Promise<StateStore> {
  const dependencies = { id: 'state', baseDirectory, clock, log, metrics: new FakeMetrics() };
  return driver.open(driver.config.parse({ path: 'state' }), { ...dependencies, access });
}

/** The names of the entries' files. */
function entriesIn(directory: string): readonly string[] {
  return readdirSync(directory).filter((name) => name.endsWith('.json'));
}

describeStateStoreConformance('file', async (t) => {
  const clock = new FakeClock();
  const store = await opener(t, temporary(t), clock)();
  return { store, advance: (milliseconds) => clock.advance(milliseconds) };
});

describe('files', () => {
  it('keep entries over a restart, readable by nobody else', async (t) => {
    const base = temporary(t);
    const before = process.umask(0);
    t.after(() => process.umask(before));
    const store = await opener(t, base)();
    await store.put('key', 'value', o);
    const entry = await store.get('key', o);
    await store.close();
    assert.equal(statSync(join(base, 'state')).mode & 0o777, 0o700);
    const files = readdirSync(join(base, 'state'));
    assert.equal(files.length, 1, 'an entry, and no lock of a store that was closed');
    for (const file of files) assert.equal(statSync(join(base, 'state', file)).mode & 0o777, 0o600);
    assert.deepEqual(await (await opener(t, base)()).get('key', o), entry);
  });

  it('do not show keys in their names', async (t) => {
    const base = temporary(t);
    const store = await opener(t, base)();
    for (const key of ['../../outside', 'a/b', '.']) await store.put(key, 'x', o);
    assert.deepEqual(readdirSync(base), ['state']);
    const files = readdirSync(join(base, 'state'));
    assert.equal(files.length, 4);
    for (const file of files) assert.match(file, /^([0-9a-f]{64}\.json|lock)$/);
  });

  it('of a write that a crash cut are removed at the start; other files stay', async (t) => {
    const base = temporary(t);
    const open = opener(t, base);
    await (await open()).put('key', 'value', o);
    const [file = ''] = entriesIn(join(base, 'state'));
    writeFileSync(join(base, 'state', `${file}.0f0f.tmp`), '{"key":"key","val');
    writeFileSync(join(base, 'state', 'README'), 'notes');
    const store = await open();
    assert.deepEqual(readdirSync(join(base, 'state')).sort(), [file, 'README', 'lock'].sort());
    assert.equal((await store.get('key', o))?.value, 'value');
  });

  it('of expired entries are removed at the start, and while others are written', async (t) => {
    const base = temporary(t);
    const clock = new FakeClock();
    const open = opener(t, base, clock);
    const first = await open();
    await first.put('kept', 'x', o);
    for (let i = 0; i < 20; i++) await first.put(`early/${i}`, 'x', { ...o, ttl: 10 });
    clock.advance(10);
    const store = await open();
    const count = () => entriesIn(join(base, 'state')).length;
    assert.equal(count(), 1);
    for (let i = 0; i < 1_010; i++) {
      clock.advance(1);
      await store.put(`nonce/${i}`, 'x', { ...o, ttl: 5 });
    }
    assert(count() < 50, `${count()} files`);
    assert.equal((await store.get('kept', o))?.value, 'x');
  });

  it('of an entry that was put anew are not lost to somebody who finds the old one expired', async (t) => {
    const clock = new FakeClock();
    const store = await opener(t, temporary(t), clock)();
    for (let i = 0; i < 100; i++) {
      await store.put('key', 'old', { ...o, ttl: 10 });
      clock.advance(10);
      const readers = Array.from({ length: 4 }, () => store.get('key', o));
      await Promise.all([...readers, store.put('key', 'new', o), store.list('', o)]);
      assert.equal((await store.get('key', o))?.value, 'new');
    }
  });
});

describe('metrics', () => {
  it('tell of a lost lock, and of what could not be written', async (t) => {
    const base = temporary(t);
    const metrics = new FakeMetrics();
    const dependencies = {
      id: 'state',
      baseDirectory: base,
      clock: new FakeClock(),
      log: new FakeLog(),
      metrics,
    };
    const store = await driver.open(driver.config.parse({ path: 'state' }), {
      ...dependencies,
      access: 'owner',
    });
    t.after(() => store.close());
    await store.put('key', 'value', o);
    const shown = () => [
      metrics.value('state_owned'),
      metrics.value('state_failures_total', { what: 'write' }),
      metrics.value('state_failures_total', { what: 'read' }),
    ];
    assert.deepEqual(shown(), [1, 0, 0]);
    rmSync(join(base, 'state', 'lock'), { recursive: true });
    await assert.rejects(store.put('key', 'other', o), { code: 'UNAVAILABLE' });
    assert.equal((await store.get('key', o))?.value, 'value');
    assert.deepEqual(shown(), [0, 1, 0]);
    rmSync(join(base, 'state'), { recursive: true });
    await assert.rejects(store.get('key', o), { code: 'UNAVAILABLE' });
    assert.deepEqual(shown(), [0, 1, 1]);
  });
});

describe('what goes wrong', () => {
  const everyCall = (store: StateStore): readonly (readonly [string, () => Promise<unknown>])[] => [
    ['get', () => store.get('key', o)],
    ['put', () => store.put('key', 'x', o)],
    ['compareAndSet', () => store.compareAndSet('key', undefined, 'x', o)],
    ['list', () => store.list('', o)],
  ];

  it('a directory that is gone is UNAVAILABLE, not empty', async (t) => {
    const base = temporary(t);
    const store = await opener(t, base)();
    await store.put('key', 'value', o);
    rmSync(join(base, 'state'), { recursive: true });
    for (const [name, call] of everyCall(store)) await assert.rejects(call, { code: 'UNAVAILABLE' }, name);
    mkdirSync(join(base, 'state'));
    assert.equal(await store.get('key', o), undefined);
    await assert.rejects(store.put('key', 'back', o), (error) =>
      /the directory is not this process's any more/.test(describeError(error)),
    );
  });

  it('a directory that is away for a moment is used again when it is back', async (t) => {
    const base = temporary(t);
    const log = new FakeLog();
    const store = await opener(t, base, new FakeClock(), log)();
    await store.put('key', 'value', o);
    renameSync(join(base, 'state'), join(base, 'away'));
    for (const [name, call] of everyCall(store)) await assert.rejects(call, { code: 'UNAVAILABLE' }, name);
    renameSync(join(base, 'away'), join(base, 'state'));
    assert.equal((await store.get('key', o))?.value, 'value');
    await store.put('key', 'back', o);
    assert.equal((await store.get('key', o))?.value, 'back');
    assert.deepEqual(log.at('error'), []);
  });

  it('something else in its place is UNAVAILABLE', async (t) => {
    const base = temporary(t);
    const store = await opener(t, base)();
    rmSync(join(base, 'state'), { recursive: true });
    writeFileSync(join(base, 'state'), '');
    for (const [name, call] of everyCall(store)) await assert.rejects(call, { code: 'UNAVAILABLE' }, name);
    await assert.rejects(() => store.delete('key', o), { code: 'UNAVAILABLE' });
    await assert.rejects(opener(t, base)());
  });

  for (const [what, damage] of [
    ['cut', '{"key":"key"'],
    ['emptied', ''],
    ['of another shape', '{"key":"key","value":7}'],
  ] as const) {
    it(`an entry that is ${what} counts as absent, is told, does not stop a start, and can be replaced`, async (t) => {
      const base = temporary(t);
      const log = new FakeLog();
      const open = opener(t, base, new FakeClock(), log);
      const store = await open();
      await store.put('key', 'value', o);
      const [file = ''] = entriesIn(join(base, 'state'));
      await store.put('other', 'value', o);
      writeFileSync(join(base, 'state', file), damage);
      const again = await open();
      assert.equal(await again.get('key', o), undefined);
      assert.deepEqual(
        log.at('error').map(({ fields }) => fields),
        [{ file: join(base, 'state', file), reason: 'it is not what this store writes' }],
      );
      assert.deepEqual(
        (await again.list('', o)).map(({ key }) => key),
        ['other'],
      );
      assert.equal(await again.compareAndSet('key', 'a version', 'new', o), false);
      assert.equal(await again.compareAndSet('key', undefined, 'new', o), true);
      assert.equal((await again.get('key', o))?.value, 'new');
    });
  }

  it('a full disk is UNAVAILABLE, and the old value stays', async (t) => {
    const base = temporary(t);
    const disk = join(base, 'state');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48k,mode=0700', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      return t.skip('only root can mount a small disk');
    }
    try {
      const store = await opener(t, base)();
      await store.put('key', 'old', o);
      const before = readFileSync(join(disk, entriesIn(disk)[0] ?? ''), 'utf8');
      const large = 'x'.repeat(60_000);
      for (const call of [
        () => store.put('key', large, o),
        async () => store.compareAndSet('key', (await store.get('key', o))?.version, large, o),
        () => store.put('other', large, o),
      ]) {
        await assert.rejects(call, (error) =>
          /cannot write the state in .*: ENOSPC/.test(describeError(error)),
        );
      }
      assert.deepEqual(
        entriesIn(disk).map((file) => readFileSync(join(disk, file), 'utf8')),
        [before],
      );
      assert.equal((await store.get('key', o))?.value, 'old');
      await store.put('key', 'new', o);
      assert.equal((await store.get('key', o))?.value, 'new');
      await store.close();
    } finally {
      execFileSync('umount', [disk]);
    }
    return undefined;
  });

  it('who leaves while waiting for a turn changes nothing, and holds nobody up', async (t) => {
    const store = await opener(t, temporary(t))();
    const leaving = new AbortController();
    const first = store.put('first', 'x', o);
    const left = store.put('left', 'x', { signal: leaving.signal });
    const last = store.put('last', 'x', o);
    leaving.abort(new Error('left'));
    await assert.rejects(left, /^Error: left$/);
    await Promise.all([first, last]);
    assert.deepEqual(
      (await store.list('', o)).map((entry) => entry.key),
      ['first', 'last'],
    );
  });

  it('who leaves during a list gets the reason', async (t) => {
    const store = await opener(t, temporary(t))();
    for (let i = 0; i < 20; i++) await store.put(`key-${i}`, 'x', o);
    const leaving = new AbortController();
    const list = store.list('', { signal: leaving.signal });
    leaving.abort(new Error('left'));
    await assert.rejects(list, /^Error: left$/);
  });
});

it('does what memory does, whatever is asked of it', async () => {
  const key = fc.constantFrom('a/1', 'a/2', 'b');
  const ttl = fc.option(fc.constantFrom(5, 20), { nil: undefined });
  const step = fc.oneof(
    fc.record({ call: fc.constant('put' as const), key, ttl }),
    fc.record({ call: fc.constant('set' as const), key, ttl, stale: fc.boolean() }),
    fc.record({ call: fc.constant('delete' as const), key }),
    fc.record({ call: fc.constant('list' as const), key: fc.constantFrom('', 'a/', 'c') }),
    fc.record({ call: fc.constant('wait' as const), key, for: fc.constantFrom(1, 7, 30) }),
  );
  const plain = (entry: StateEntry | undefined) => entry && { ...entry, version: '' };
  const base = mkdtempSync(join(tmpdir(), 'state-'));
  try {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const clock = new FakeClock();
        mkdirSync(join(base, String(runs)));
        const inFiles = await open(join(base, String(runs++)), 'owner', clock);
        const stores = [inFiles, new MemoryStateStore(clock)];
        for (const [i, one] of steps.entries()) {
          const answers = [];
          if (one.call === 'wait') clock.advance(one.for);
          for (const store of stores) {
            const known = await store.get(one.key || 'none', o);
            const options = 'ttl' in one && one.ttl !== undefined ? { ...o, ttl: one.ttl } : o;
            if (one.call === 'put') await store.put(one.key, `value ${i}`, options);
            if (one.call === 'delete') await store.delete(one.key, o);
            const version = one.call === 'set' && one.stale ? 'stale' : known?.version;
            answers.push([
              plain(known),
              one.call === 'set' && (await store.compareAndSet(one.key, version, `value ${i}`, options)),
              one.call === 'list' && (await store.list(one.key, o)).map(plain),
              plain(await store.get(one.key || 'none', o)),
            ]);
          }
          assert.deepEqual(answers[0], answers[1]);
        }
        await inFiles.close();
      }),
      { numRuns: 60 },
    );
  } finally {
    rmSync(base, { recursive: true });
  }
});
