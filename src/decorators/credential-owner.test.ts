import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, FakeLog, FakeMetrics } from '../testing/index.js';
import type { CredentialOwner } from './credential-owner.js';
import { RefreshedCredentials } from './refreshed-credentials.js';
import { down, held, o, ScriptedSource, target, textOf } from './scripted-source.test.js';

interface Naming {
  readonly owner: CredentialOwner;
  readonly prefix: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly said: string;
}

const namings: readonly Naming[] = [
  {
    owner: { upstream: 'hub', credential: 2 },
    prefix: 'upstream_credential',
    labels: { upstream: 'hub', credential: '2' },
    fields: { upstream: 'hub', credential: 2 },
    said: 'credential 2 of upstream hub cannot be had',
  },
  {
    owner: { rule: 'docker.example.com/**' },
    prefix: 'image_rule_credential',
    labels: { rule: 'docker.example.com/**' },
    fields: { rule: 'docker.example.com/**' },
    said: "the credential of rule 'docker.example.com/**' cannot be had",
  },
];

for (const { owner, prefix, labels, fields, said } of namings) {
  test(`whose it is stands in metrics, log lines and messages: ${JSON.stringify(owner)}`, async (t) => {
    const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
    const source = new ScriptedSource(() => {
      throw new Error('no way');
    });
    const credentials = new RefreshedCredentials(source, { clock, log, metrics, ...owner });
    t.after(() => credentials.close());
    credentials.keepReady(target);
    await assert.rejects(credentials.credentialFor(target, o), { reason: said });
    assert.deepEqual(metrics.observed(`${prefix}_usable`, labels), [0]);
    assert.equal(metrics.value(`${prefix}_fetches_total`, { ...labels, result: 'failed' }), 1);
    const [told] = log.at('error');
    const found = Object.fromEntries(Object.keys(fields).map((key) => [key, told?.fields[key]]));
    assert.deepEqual(found, fields);
  });
}

test('what came of asking last is known, and no secret of it', async (t) => {
  const { credentials, source, clock, get } = held(t, 100_000);
  assert.equal(credentials.lastAnswer, undefined);
  assert.equal(textOf(await get()), 'secret-1');
  const end = clock.now() + 100_000;
  assert.deepEqual(credentials.lastAnswer, { result: 'obtained', at: clock.now(), expiresAt: end });
  clock.advance(100_001);
  source.answer = () => undefined;
  await get();
  assert.deepEqual(credentials.lastAnswer, { result: 'none', at: clock.now() });
  clock.advance(100_000);
  source.answer = () => {
    throw down();
  };
  await assert.rejects(get());
  const { result, reason } = credentials.lastAnswer ?? {};
  assert.equal(result, 'failed');
  assert.match(reason ?? '', /sts\.example\.com answers 500/);
});
