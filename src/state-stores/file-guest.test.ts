import assert from 'node:assert/strict';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Clock } from '../contracts/index.js';
import { describeStateStoreConformance } from '../testing/conformance/state-store.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './file.js';

const o = { signal: new AbortController().signal };

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'state-guest-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function open(directory: string, access: 'owner' | 'guest', clock: Clock = new FakeClock()) {
  const dependencies = { id: 'state', baseDirectory: '/', clock, log: new FakeLog() };
  const config = driver.config.parse({ path: directory });
  return driver.open(config, { ...dependencies, metrics: new FakeMetrics(), access });
}

describeStateStoreConformance(
  'file, as a guest',
  async (t) => {
    const clock = new FakeClock();
    const store = await open(temporary(t), 'guest', clock);
    return { store, advance: (milliseconds) => clock.advance(milliseconds) };
  },
  [
    'compareAndSet puts where the version is the same, and only there',
    'compareAndSet without a version puts only where there is none',
    'compareAndSet with a version fails where the entry is gone, also when it was put anew',
    'of twenty that compareAndSet at once one wins',
    'twenty counters that try again until they win lose no count',
    'an expired entry is gone for every call',
    'a put without ttl takes the ttl away, compareAndSet gives one',
    'an aborted call rejects with the reason and changes nothing',
  ],
);

describe('a guest', () => {
  it('sees what the owner writes, and is seen, while the owner goes on', async (t) => {
    const directory = temporary(t);
    const owner = await open(directory, 'owner');
    t.after(() => owner.close());
    const guest = await open(directory, 'guest');
    await owner.put('owner', 'one', o);
    await guest.put('guest', 'two', o);
    assert.deepEqual(await guest.list('', o), await owner.list('', o));
    await guest.delete('owner', o);
    assert.equal(await owner.get('owner', o), undefined);
    await owner.put('owner', 'three', o);
    await guest.close();
    await owner.put('owner', 'four', o);
    assert.equal((await owner.get('guest', o))?.value, 'two');
  });

  it('takes no lock, sweeps nothing, cleans nothing up, makes no directory', async (t) => {
    const directory = temporary(t);
    const clock = new FakeClock();
    const owner = await open(directory, 'owner', clock);
    await owner.put('old', 'x', { ...o, ttl: 1 });
    await owner.close();
    clock.advance(10);
    writeFileSync(join(directory, 'half.json.tmp'), '');
    const before = readdirSync(directory);
    const guest = await open(directory, 'guest', clock);
    assert.deepEqual(await guest.list('', o), []);
    await guest.close();
    assert.deepEqual(readdirSync(directory), before);
    const absent = await open(join(directory, 'absent'), 'guest');
    await assert.rejects(absent.list('', o), { code: 'UNAVAILABLE' });
    await assert.rejects(absent.put('key', 'x', o), { code: 'UNAVAILABLE' });
    assert.deepEqual(readdirSync(directory), before);
  });

  it('has no compareAndSet', async (t) => {
    const guest = await open(temporary(t), 'guest');
    await assert.rejects(
      guest.compareAndSet('key', undefined, 'x', o),
      /needs the process that holds the state/,
    );
  });

  for (const [whose, give] of [
    ['the holder of the lock', (directory: string) => mkdirSync(join(directory, 'lock'))],
    ['the entries', (directory: string) => writeFileSync(join(directory, `${'a'.repeat(64)}.json`), '{}')],
    ['the directory', () => undefined],
  ] as const) {
    it(`that is root writes as the owner of ${whose}`, async (t) => {
      if (process.getuid?.() !== 0) return t.skip('only root can give files away');
      const directory = temporary(t);
      give(directory);
      for (const name of readdirSync(directory)) chownSync(join(directory, name), 12_345, 54_321);
      if (readdirSync(directory).length === 0) chownSync(directory, 12_345, 54_321);
      const before = readdirSync(directory);
      await (await open(directory, 'guest')).put('key', 'value', o);
      const [made = ''] = readdirSync(directory).filter((name) => !before.includes(name));
      const { uid, gid, mode } = statSync(join(directory, made));
      assert.deepEqual([uid, gid, mode & 0o777], [12_345, 54_321, 0o600]);
      return undefined;
    });
  }
});
