import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../reference/digest.js';
import { parseImageReference } from '../reference/image-reference.js';
import { parseScope } from '../reference/scope.js';
import { Secret } from '../secret.js';
import { describeBlobStoreConformance } from './conformance/blob-store.js';
import { describeCredentialSourceConformance } from './conformance/credential-source.js';
import { describePolicyConformance } from './conformance/policy.js';
import { describeRuntimeConformance } from './conformance/runtime.js';
import { describeTokenIssuerConformance } from './conformance/token-issuer.js';
import { describeUpstreamConformance } from './conformance/upstream.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from './conformance/verifier.js';
import { FakeBlobStore } from './fake-blob-store.js';
import { FakeClock } from './fake-clock.js';
import { basicCredential, FakeCredentialSource } from './fake-credential-source.js';
import { FakeLog } from './fake-log.js';
import { FakeMetrics } from './fake-metrics.js';
import { FakePolicy } from './fake-policy.js';
import { FakeRuntime } from './fake-runtime.js';
import { FakeTokenIssuer } from './fake-token-issuer.js';
import { FakeUpstream } from './fake-upstream.js';
import { FakeVerifier } from './fake-verifier.js';
import { PlainUpstream } from './plain-upstream.js';

describeVerifierConformance('fake', async () => {
  const verifier = new FakeVerifier('corp', {
    alice: { password: 'secret-of-alice', groups: ['developers'] },
    robot: { bearer: 'token-of-robot', kind: 'machine', attributes: { accountId: '1' } },
  });
  return {
    verifier,
    id: 'corp',
    valid: [
      {
        credentials: passwordCredentials('alice', 'secret-of-alice'),
        principal: { name: 'alice', kind: 'human', groups: ['developers'] },
      },
      { credentials: bearerCredentials('token-of-robot'), principal: { name: 'robot', kind: 'machine' } },
    ],
    invalid: [passwordCredentials('alice', 'wrong-secret'), passwordCredentials('alice', '')],
    foreign: [passwordCredentials('bob', 'secret-of-bob'), bearerCredentials('unknown')],
    break: () => {
      verifier.broken = true;
    },
    remove: (name) => void verifier.users.delete(name),
  };
});

describePolicyConformance('fake', async () => {
  const policy = new FakePolicy((who, wanted) =>
    who.name === 'alice' && wanted.name === 'my/app' ? ['pull', 'push', 'delete'] : [],
  );
  const who = {
    verifier: 'corp',
    name: 'alice',
    kind: 'human',
    groups: ['g'],
    attributes: { a: 1 },
  } as const;
  const request = { service: 'docker.example.com', address: '192.0.2.1' };
  const scope = (text: string) => {
    const parsed = parseScope(text);
    assert.ok(parsed, 'a scope that cannot be parsed');
    return parsed;
  };
  return {
    policy,
    cases: [
      { who, wanted: scope('repository:my/app:pull,push'), request, granted: ['pull', 'push'] },
      { who, wanted: scope('repository:other:pull'), request, granted: [] },
    ],
    break: () => {
      policy.broken = true;
    },
  };
});

describeTokenIssuerConformance('fake', async () => {
  const clock = new FakeClock();
  return { issuer: new FakeTokenIssuer(clock), now: () => clock.now(), advance: (ms) => clock.advance(ms) };
});

describeCredentialSourceConformance('fake', async () => {
  const { repository } = parseImageReference('registry.example.com/my/app');
  const other = parseImageReference('registry.example.com/other').repository;
  const credentials = [basicCredential('ann', 'old-secret'), basicCredential('ann', 'new-secret')];
  const source = new FakeCredentialSource(credentials, (one) => one.name === repository.name);
  return {
    source,
    known: repository,
    unknown: other,
    expected: 'ann:old-secret',
    rotate: () => undefined,
    break: () => {
      source.broken = true;
    },
  };
});

describeBlobStoreConformance('fake', async () => ({ store: new FakeBlobStore() }));

describeRuntimeConformance(
  'fake',
  async () => ({
    runtime: new FakeRuntime({
      'registry.example.com/my/app:v1': { digest: digestOf(Buffer.from('app')) },
      'registry.example.com/my/app:latest': { digest: digestOf(Buffer.from('app')) },
      'registry.example.com/my/secret:v1': { credential: 'ann:secret' },
    }),
    image: parseImageReference('registry.example.com/my/app:v1'),
    twin: parseImageReference('registry.example.com/my/app:latest'),
    absent: parseImageReference('registry.example.com/my/app:v2'),
    guarded: {
      image: parseImageReference('registry.example.com/my/secret:v1'),
      credential: basicCredential('ann', 'secret'),
      wrong: basicCredential('ann', 'wrong'),
    },
  }),
  ['a registry that cannot be reached is UNAVAILABLE'],
);

describeUpstreamConformance('plain', { open: async (registry) => new PlainUpstream(registry.url) });

describeUpstreamConformance('fake in front of plain, blobs in storage', {
  registry: { storage: { redirect: 'absolute' } },
  open: async (registry, t) => {
    const plain = new PlainUpstream(registry.url);
    t.after(() => plain.close());
    return new FakeUpstream((request, o) => plain.fetch(request, o));
  },
  // It hands the storage's URL on: there is no body to cut.
  without: [
    'a blob that is cut short fails, with and without Content-Length',
    'aborting, or destroying the body, in its middle releases the connection',
  ],
});

test('the log keeps all that a real one would print, and no secret', () => {
  const log = new FakeLog();
  const cause = Object.assign(new Error('inner'), { detail: 'of the cause' });
  const circle: Record<string, unknown> = { name: 'circle' };
  circle.self = circle;
  log.warn(
    { err: new Error('outer', { cause }), token: new Secret('hidden'), map: new Map([['k', 'v']]) },
    'failed',
  );
  log.info({ circle, same: [cause, cause], size: 10n }, 'odd');
  for (const part of [
    'outer',
    'inner',
    'of the cause',
    'failed',
    '[secret]',
    '["k","v"]',
    '[circular]',
    '"10"',
  ]) {
    assert.ok(log.text.includes(part), part);
  }
  assert.ok(!log.text.includes('hidden'), 'the secret was logged');
  assert.deepEqual(
    log.at('warn').map(({ message }) => message),
    ['failed'],
  );
});

test('metrics are read back, and are as strict as real ones', () => {
  const metrics = new FakeMetrics();
  metrics.counter('requests_total', 'help', ['code']).add({ code: '200' });
  metrics.counter('requests_total', 'help', ['code']).add({ code: '200' }, 2);
  metrics.gauge('open', 'help').set({}, 5);
  metrics.histogram('seconds', 'help').observe({}, 0.5);
  assert.equal(metrics.value('requests_total', { code: '200' }), 3);
  assert.equal(metrics.value('requests_total', { code: '500' }), 0);
  assert.equal(metrics.value('open'), 5);
  assert.deepEqual(metrics.observed('seconds'), [0.5]);
  assert.throws(() => metrics.counter('requests_total', 'help', ['code']).add({ user: 'ann' }));
  assert.throws(() => metrics.gauge('requests_total', 'help', ['code']));
});
