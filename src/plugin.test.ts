import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { driverApiVersion } from './contracts/index.js';
import { defineCredentialSource, defineRuntime, defineVerifier, Secret, z } from './plugin.js';
import { parseRegistryHost } from './reference/registry-host.js';
import { MemoryStateStore } from './state-stores/memory.js';
import { passwordCredentials } from './testing/conformance/verifier.js';
import { FakeClock } from './testing/fake-clock.js';
import { FakeLog } from './testing/fake-log.js';
import { FakeMetrics } from './testing/fake-metrics.js';
import { FakeRuntime } from './testing/fake-runtime.js';

const o = { signal: new AbortController().signal };
const clock = new FakeClock();
const given = {
  ...{ id: 'own', baseDirectory: '/', clock, log: new FakeLog(), metrics: new FakeMetrics() },
  state: new MemoryStateStore(clock),
};

describe('what a plugin defines', () => {
  it('is a verifier with the types of its settings', async () => {
    const driver = defineVerifier({
      type: 'one-name',
      config: z.strictObject({ name: z.string().describe('Who is let in.') }),
      open: ({ name }, { id }) => ({
        verify: async ({ shown }) =>
          shown.kind === 'password' && shown.username === name
            ? { verifier: id, name, kind: 'human', groups: [], attributes: {} }
            : undefined,
        close: async () => undefined,
      }),
    });
    assert.deepEqual(
      [driver.apiVersion, driver.kind, driver.type],
      [driverApiVersion, 'verifier', 'one-name'],
    );
    const verifier = await driver.open(driver.config.parse({ name: 'alice' }), given);
    assert.equal((await verifier.verify(passwordCredentials('alice', 'x'), o))?.verifier, 'own');
    assert.equal(await verifier.verify(passwordCredentials('bob', 'x'), o), undefined);
  });

  it('is a credential source', async () => {
    const driver = defineCredentialSource({
      type: 'always-the-same',
      config: z.strictObject({}),
      open: () => ({
        credentialFor: async () => ({ kind: 'registry-token', token: new Secret('t') }),
        close: async () => undefined,
      }),
    });
    assert.deepEqual([driver.apiVersion, driver.kind], [driverApiVersion, 'credential-source']);
    const source = await driver.open(driver.config.parse({}), given);
    const registry = parseRegistryHost('registry.example.com');
    assert.ok(registry, 'no registry');
    assert.equal((await source.credentialFor({ registry }, o))?.kind, 'registry-token');
  });

  it('is a container runtime', async () => {
    const made = new FakeRuntime();
    const driver = defineRuntime({ type: 'mine', config: z.strictObject({}), open: () => made });
    assert.deepEqual([driver.apiVersion, driver.kind], [driverApiVersion, 'runtime']);
    assert.equal(await driver.open(driver.config.parse({}), given), made);
  });

  it('fails to open with a rejection, also where it throws at once', async () => {
    const driver = defineVerifier({
      type: 'broken',
      config: z.strictObject({}),
      open: () => {
        throw new Error('no database');
      },
    });
    await assert.rejects(driver.open({}, given), /^Error: no database$/);
  });
});
