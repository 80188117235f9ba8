import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ClientCredentials } from '../contracts/index.js';
import { Secret } from '../secret.js';
import { MemoryStateStore } from '../state-stores/memory.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './anonymous.js';

const clock = new FakeClock();
const shown: Readonly<Record<string, ClientCredentials['shown']>> = {
  'a password': { kind: 'password', username: 'alice', password: new Secret('x') },
  'an empty password': { kind: 'password', username: 'anonymous', password: new Secret('') },
  'a token': { kind: 'bearer', token: new Secret('x') },
};

function open() {
  return driver.open(driver.config.parse({}), {
    id: 'anyone',
    baseDirectory: '/',
    clock,
    log: new FakeLog(),
    metrics: new FakeMetrics(),
    state: new MemoryStateStore(clock),
  });
}

const o = { signal: new AbortController().signal };

it('lets in who shows nothing', async () => {
  const verifier = await open();
  assert.deepEqual(
    await verifier.verify({ shown: { kind: 'none' }, connection: { address: '192.0.2.1' } }, o),
    {
      verifier: 'anyone',
      name: 'anonymous',
      kind: 'anonymous',
      groups: [],
      attributes: {},
    },
  );
});

for (const [name, credentials] of Object.entries(shown)) {
  it(`does not turn ${name} into anonymous`, async () => {
    const verifier = await open();
    assert.equal(
      await verifier.verify({ shown: credentials, connection: { address: '192.0.2.1' } }, o),
      undefined,
    );
  });
}

it('takes no settings', () =>
  assert.ok(!driver.config.safeParse({ allow: true }).success, 'it was accepted'));
