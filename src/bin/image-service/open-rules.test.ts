import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import type { ImageRuleSetting } from '../../config/image-service/configuration.js';
import { type CredentialSource, type Driver, defineDriver } from '../../contracts/index.js';
import { parseImagePattern } from '../../settings/image-pattern.js';
import { basicCredential, FakeClock, FakeLog, FakeMetrics } from '../../testing/index.js';
import { Opener } from '../opener.js';
import { type OpenedRule, openRule } from './open-rules.js';

/** A rule whose source notes the registries that it was asked for. */
async function open(
  t: TestContext,
  pattern: string,
  type: string,
): Promise<{
  readonly opened: OpenedRule;
  readonly asked: readonly string[];
}> {
  const clock = new FakeClock();
  const asked: string[] = [];
  const source: CredentialSource = {
    credentialFor: async ({ registry }) => {
      asked.push(registry);
      return basicCredential('robot', 'hunter2', clock.now() + 3_600_000);
    },
    close: async () => {},
  };
  const config = z.strictObject({});
  const driver = defineDriver({
    ...{ apiVersion: 1, kind: 'credential-source', type, config },
    open: async () => source,
  }) as Driver<'credential-source'>;
  const match = parseImagePattern(pattern);
  assert.ok(match, pattern);
  const setting: ImageRuleSetting = {
    ...{ setting: 'images[0]', name: pattern, match },
    credential: { setting: 'images[0].credentials', source: { driver, config: {}, raw: { type } } },
  };
  const surroundings = { clock, log: new FakeLog(), metrics: new FakeMetrics() };
  const opener = new Opener({ baseDirectory: '/', namedFiles: [] }, surroundings);
  t.after(() => opener.close());
  return { opened: await openRule(opener, setting), asked };
}

for (const [pattern, type, expected] of [
  ['docker.example.com/**', 'aws-identity', ['docker.example.com']],
  ['docker.example.com:5000/team/*', 'ecr', ['docker.example.com:5000']],
  ['*.example.com/**', 'aws-identity', []],
  ['docker.example.com/**', 'static', []],
  ['docker.example.com/**', 'exec', []],
  ['docker.example.com/**', 'anonymous', []],
] as const) {
  test(`${pattern} by ${type}: asked for ${expected.length} before a pull`, async (t) => {
    const { opened, asked } = await open(t, pattern, type);
    opened.keepReady();
    opened.keepReady();
    await new Promise(setImmediate);
    assert.deepEqual(asked, expected);
    assert.equal(opened.lastAnswer()?.result, expected.length === 0 ? undefined : 'obtained');
  });
}

test('a rule of anonymous is one without credentials', async (t) => {
  const { opened } = await open(t, 'docker.example.com/**', 'anonymous');
  assert.equal(opened.rule.credentials, undefined);
});
