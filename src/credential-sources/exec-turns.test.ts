import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RefreshedCredentials } from '../decorators/refreshed-credentials.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './exec.js';

const registry = parseRegistryHost('registry.example.com');
const o = { signal: new AbortController().signal };
const answer = {
  ...{ apiVersion: 'credentialprovider.kubelet.k8s.io/v1', kind: 'CredentialProviderResponse' },
  ...{ cacheKeyType: 'Image', cacheDuration: '1h' },
  auth: { 'registry.example.com': { username: 'robot', password: 'hunter2' } },
};

test('made-up names whose clients have hung up start no program, and nobody waits for them', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'exec-turns-'));
  t.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  const path = (name: string) => join(directory, name);
  writeFileSync(path('answer.json'), JSON.stringify(answer));
  // Each run waits while there is the file `hold`.
  const lines = ['cat >> asked', 'while [ -e hold ]; do sleep 0.02; done', 'cat answer.json'];
  writeFileSync(path('provider'), `#!/bin/sh\n${lines.join('\n')}\n`);
  chmodSync(path('provider'), 0o755);
  const asked = () =>
    existsSync(path('asked')) ? readFileSync(path('asked'), 'utf8').match(/team\/\w+/g) : [];
  const settings = { command: ['./provider'], protocol: 'kubelet', concurrency: 1, timeout: '1m' };
  const [log, metrics, clock] = [new FakeLog(), new FakeMetrics(), Date];
  const inner = await driver.open(driver.config.parse(settings), {
    ...{ id: 'hub', baseDirectory: directory, clock, log, metrics },
  });
  const credentials = new RefreshedCredentials(inner, {
    clock,
    log,
    metrics,
    upstream: 'hub',
    credential: 1,
  });
  t.after(() => Promise.all([credentials.close(), inner.close()]));
  const get = (name: string, from: { readonly signal: AbortSignal } = o) =>
    credentials.credentialFor({ registry, name: parseRepositoryName(`team/${name}`) }, from);

  writeFileSync(path('hold'), '');
  const first = get('first');
  for (let i = 0; i < 1000 && !asked()?.length; i++) await sleep(20);
  const leaving = new AbortController();
  const flood = Array.from({ length: 100 }, (_, i) =>
    get(`no${i}`, leaving).catch((error: unknown) => error),
  );
  await sleep(0);
  leaving.abort(new Error('gone'));
  await Promise.all(flood);
  const next = get('next');
  rmSync(path('hold'));
  for (const one of [first, next]) assert.equal((await one)?.kind, 'basic');
  assert.deepEqual(asked(), ['team/first', 'team/next']);
  assert.deepEqual(log.at('warn'), []);
});
