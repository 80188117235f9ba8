import type { TestContext } from 'node:test';
import type { Clock, Verifier } from '../../../src/contracts/index.js';
import { MemoryStateStore } from '../../../src/state-stores/memory.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import { driver } from '../../../src/verifiers/oidc.js';

/** The real time, and what a test adds to it: the tokens of real issuers are of the present. */
export class MovableClock implements Clock {
  #ahead = 0;

  now(): number {
    return Date.now() + this.#ahead;
  }

  /** Milliseconds. */
  advance(milliseconds: number): void {
    this.#ahead += milliseconds;
  }
}

/** An `oidc` verifier with the id `sso`, closed after the test. */
export async function openOidc(
  t: TestContext,
  settings: Readonly<Record<string, unknown>>,
  baseDirectory = '/nowhere',
): Promise<{ verifier: Verifier; clock: MovableClock; log: FakeLog }> {
  const clock = new MovableClock();
  const log = new FakeLog();
  const verifier = await driver.open(driver.config.parse(settings), {
    ...{ id: 'sso', baseDirectory, clock, log },
    ...{ metrics: new FakeMetrics(), state: new MemoryStateStore(clock) },
  });
  t.after(() => verifier.close());
  return { verifier, clock, log };
}
