import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { startMemoryRegistry, tinyImageFor } from '../../src/testing/index.js';
import {
  bearer,
  type Front,
  overwrite,
  reloadOf,
  settingsFor,
  sharedScope,
  startFront,
  takeOver,
  until,
} from '../harness/index.js';

// A proxy whose rules are in a file of their own, with conditions.

const scope = sharedScope();
const manifest = '/v2/team/app/manifests/1';
const rule = (when: string, names = '["local:*"]') =>
  `rules:\n  - { names: ${names}, repositories: ["**"], actions: [pull], when: '${when}' }\n`;

async function start(policy: string, more: { clock?: FakeClock; watch?: number } = {}): Promise<Front> {
  const registry = await startMemoryRegistry();
  scope.after(() => registry.close());
  registry.putImage('team/app', '1', tinyImageFor('amd64', 'hello'));
  const settings = settingsFor(registry.url, {
    policy: '{ file: policy.yaml }',
    trustedProxies: '[127.0.0.1]',
  });
  return startFront(scope, settings, { files: { 'policy.yaml': policy }, ...more });
}

const statusOf = async (front: Front, from = '127.0.0.1') => {
  const headers = { 'x-forwarded-for': from };
  return (await front.sendAs('alice', manifest, { headers })).status;
};

describe('a condition', () => {
  test('sees who asks, from where and when, at each request', async () => {
    const clock = new FakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const front = await start(
      rule(
        'principal.name == "alice" && cidr("203.0.113.0/24").containsIP(request.address) && request.time < timestamp("2026-01-02T00:00:00Z")',
      ),
      { clock },
    );
    assert.equal(await statusOf(front, '203.0.113.9'), 200);
    assert.equal(await statusOf(front, '198.51.100.9'), 403);
    const headers = { 'x-forwarded-for': '203.0.113.9' };
    assert.equal((await front.sendAs('bob', manifest, { headers })).status, 403);
    clock.advance(86_400_000);
    assert.equal(await statusOf(front, '203.0.113.9'), 403);
  });

  test('that holds is in the token, which is good wherever it is then used', async () => {
    const front = await start(rule('request.address == "127.0.0.1" && repository == "team/app"'));
    const token = await front.token('alice', ['repository:team/app:pull,push', 'repository:team/b:pull']);
    const headers = { authorization: bearer(token) };
    assert.equal((await front.send(manifest, { headers })).status, 200);
    assert.equal((await front.send('/v2/team/b/manifests/1', { headers })).status, 401);
  });

  test('that fails denies, is counted, and is logged without a secret', async () => {
    const front = await start(rule('principal.attributes.level > 1'));
    assert.equal(await statusOf(front), 403);
    const line = await front.logLine(({ event }) => event === 'policy');
    assert.equal(line.level, 'warn');
    assert.deepEqual(
      [line.rule, line.principal, line.reason],
      ['policy.rules[0]', 'local:alice', 'No such key: level'],
    );
    assert.equal(await front.metric('registry_proxy_policy_condition_errors_total'), 1);
  });
});

describe('a policy file', () => {
  test('that changes is taken over, and told', async () => {
    const front = await start(rule('true'));
    assert.equal(await statusOf(front), 200);
    overwrite(join(front.directory, 'policy.yaml'), rule('false'));
    const { changed } = await takeOver(front);
    assert.deepEqual(changed, ['policy.file']);
    assert.equal(await statusOf(front), 403);
  });

  test('is watched', async () => {
    const front = await start(rule('true'), { watch: 20 });
    overwrite(join(front.directory, 'policy.yaml'), rule('false'), 'renamed');
    await until('it was taken over', async () => (await statusOf(front)) === 403);
  });

  test('with a fault changes nothing, and the fault is told with its place', async () => {
    const front = await start(rule('true'));
    overwrite(join(front.directory, 'policy.yaml'), rule('tru'));
    const [line] = await reloadOf(front);
    assert.equal(line?.level, 'error');
    assert.match(String(line.problems), /policy\.yaml:2:\d+: rules\[0\]\.when: Unknown variable: tru/);
    assert.equal(await statusOf(front), 200);
  });

  test('whose tests fail is served all the same', async () => {
    const test = 'tests:\n  - { as: "local:alice", repository: team/app, action: pull, expect: deny }\n';
    assert.equal(await statusOf(await start(`${rule('true')}${test}`)), 200);
  });
});
