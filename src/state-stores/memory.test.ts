import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeStateStoreConformance } from '../testing/conformance/state-store.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver, MemoryStateStore } from './memory.js';

const o = { signal: new AbortController().signal };

describeStateStoreConformance('memory', async () => {
  const clock = new FakeClock();
  return { store: new MemoryStateStore(clock), advance: (milliseconds) => clock.advance(milliseconds) };
});

describe('memory', () => {
  it('is opened without settings', async () => {
    const dependencies = {
      id: 'state',
      baseDirectory: '/',
      clock: new FakeClock(),
      log: new FakeLog(),
      metrics: new FakeMetrics(),
      access: 'owner' as const,
    };
    const store = await driver.open(driver.config.parse({}), dependencies);
    await store.put('key', 'value', o);
    assert.equal((await store.get('key', o))?.value, 'value');
    const guest = { ...dependencies, access: 'guest' as const };
    await assert.rejects(driver.open(driver.config.parse({}), guest), /in the memory of each process/);
  });

  it('lets go of expired entries that nobody asks for again', async () => {
    const clock = new FakeClock();
    const store = new MemoryStateStore(clock);
    for (let i = 0; i < 5_000; i++) {
      clock.advance(1);
      await store.put(`nonce/${i}`, 'x', { ...o, ttl: 10 });
    }
    clock.advance(1_000);
    assert(store.size < 1_100, `${store.size} are held`);
  });

  for (const [name, key, value] of [
    ['an empty key', '', 'x'],
    ['a key with a space', 'a b', 'x'],
    ['a key of other characters', 'é', 'x'],
    ['a key of 513 characters', 'k'.repeat(513), 'x'],
    ['a value over 64 KiB', 'key', 'x'.repeat(65_537)],
    ['a value over 64 KiB in UTF-8', 'key', 'é'.repeat(32_769)],
  ] as const) {
    it(`refuses ${name}: that is a bug of the caller`, async () => {
      const store = new MemoryStateStore(new FakeClock());
      await assert.rejects(store.put(key, value, o), RangeError);
      await assert.rejects(store.compareAndSet(key, undefined, value, o), RangeError);
    });
  }
});
