import type { TestContext } from 'node:test';
import type { CallOptions, Clock, Driver, Verifier } from '../../../src/contracts/index.js';
import { MemoryStateStore } from '../../../src/state-stores/memory.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';

/** For calls that nobody gives up. */
export const o: CallOptions = { signal: new AbortController().signal };

export const systemClock: Clock = { now: () => Date.now() };

/** Opens a verifier of a driver by settings as a configuration has them, and closes it after the test. */
export async function openVerifier<Config>(
  t: TestContext,
  driver: Driver<'verifier', Config>,
  settings: unknown,
  given: { readonly id?: string; readonly clock?: Clock; readonly baseDirectory?: string } = {},
): Promise<{ readonly verifier: Verifier; readonly log: FakeLog }> {
  const { id = 'corp', clock = systemClock, baseDirectory = '/' } = given;
  const log = new FakeLog();
  const verifier = await driver.open(driver.config.parse(settings), {
    ...{ id, baseDirectory, clock, log },
    metrics: new FakeMetrics(),
    state: new MemoryStateStore(clock),
  });
  t.after(() => verifier.close());
  return { verifier, log };
}
