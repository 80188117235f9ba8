import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { MeteredVerifier } from './meter-verifier.js';

const alice: Principal = { verifier: 'corp', name: 'alice', kind: 'human', groups: [], attributes: {} };
const credentials: ClientCredentials = {
  shown: { kind: 'password', username: 'alice', password: new Secret('hunter2') },
  connection: { address: '192.0.2.1' },
};

function metered(answer: () => Promise<Principal | undefined>) {
  const metrics = new FakeMetrics();
  const inner: Verifier = { verify: answer, close: async () => {} };
  return { metrics, verifier: new MeteredVerifier(inner, 'corp', metrics) };
}

describe('MeteredVerifier', () => {
  for (const [outcome, answer] of [
    ['accepted', alice],
    ['not-mine', undefined],
    ['refused', new RegistryError('UNAUTHORIZED')],
    ['throttled', new RegistryError('TOOMANYREQUESTS')],
    ['unavailable', new RegistryError('UNAVAILABLE')],
    ['error', new TypeError('a bug')],
  ] as const) {
    it(`counts ${outcome}, and passes the answer on`, async () => {
      const { metrics, verifier } = metered(async () => {
        if (answer instanceof Error) throw answer;
        return answer;
      });
      const o = { signal: new AbortController().signal };
      assert.equal(await verifier.verify(credentials, o).catch((error: unknown) => error), answer);
      assert.equal(metrics.value('verifications_total', { verifier: 'corp', outcome }), 1);
    });
  }

  it('counts who has left as that, not as a failure', async () => {
    const leaving = new AbortController();
    const { metrics, verifier } = metered(() => {
      leaving.abort(new Error('left'));
      return Promise.reject(leaving.signal.reason);
    });
    await assert.rejects(verifier.verify(credentials, { signal: leaving.signal }), /left/);
    assert.equal(metrics.value('verifications_total', { verifier: 'corp', outcome: 'abandoned' }), 1);
  });
});
