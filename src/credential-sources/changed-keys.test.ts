import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { CredentialSource } from '../contracts/index.js';
import { RefreshedCredentials } from '../decorators/refreshed-credentials.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { FakeClock, FakeLog, FakeMetrics } from '../testing/index.js';
import { driver as dockerConfig } from './docker-config.js';
import { driver as exec } from './exec.js';

// Repositories that shared a credential, and do so no longer: none is given another's.

const registry = parseRegistryHost('quay.io');

function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'changed-keys-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const [clock, log, metrics] = [new FakeClock(), new FakeLog(), new FakeMetrics()];
  return {
    clock,
    given: { id: 'test', baseDirectory: directory, clock, log, metrics },
    /** In place of the one before, at once. */
    put: (name: string, text: string) => {
      writeFileSync(join(directory, 'next'), text);
      renameSync(join(directory, 'next'), join(directory, name));
    },
    program: (name: string, text: string) => {
      writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(directory, name), 0o700);
    },
    asker: (source: CredentialSource) => {
      const settings = { clock, log, metrics, upstream: 'quay', credential: 1 };
      const credentials = new RefreshedCredentials(source, settings);
      t.after(async () => {
        await credentials.close();
        await source.close();
      });
      return async (...names: readonly string[]) => {
        const shown: (string | undefined)[] = [];
        for (const name of names) {
          const target = { registry, name: parseRepositoryName(name) };
          const one = await credentials.credentialFor(target, { signal: AbortSignal.timeout(20_000) });
          shown.push(one?.kind === 'basic' ? one.username : undefined);
        }
        return shown;
      };
    },
  };
}

test('an entry of its own in a docker configuration is its own alone', async (t) => {
  const { put, given, asker } = setUp(t);
  const auth = (user: string) => ({ auth: Buffer.from(`${user}:secret`).toString('base64') });
  const write = (auths: object) => put('config.json', JSON.stringify({ auths }));
  write({ 'quay.io/acme': auth('everybody') });
  const ask = asker(await dockerConfig.open(dockerConfig.config.parse({ file: 'config.json' }), given));
  assert.deepEqual(await ask('acme/payroll', 'acme/web'), ['everybody', 'everybody']);
  write({ 'quay.io/acme': auth('everybody'), 'quay.io/acme/payroll': auth('payroll-admin') });
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await ask('acme/payroll', 'acme/web', 'acme/other'), [
      'payroll-admin',
      'everybody',
      'everybody',
    ]);
  }
  write({ 'quay.io/acme': auth('everybody') });
  assert.deepEqual(await ask('acme/web', 'acme/payroll'), ['everybody', 'everybody']);
});

test("an entry of its own in a kubelet provider's second answer is its own alone", async (t) => {
  const { put, program, given, asker, clock } = setUp(t);
  const user = (username: string) => ({ username, password: 'secret' });
  const write = (auth: object) =>
    put(
      'answer.json',
      JSON.stringify({
        apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
        kind: 'CredentialProviderResponse',
        cacheKeyType: 'Registry',
        cacheDuration: '10s',
        auth,
      }),
    );
  const usual = { 'quay.io/acme': user('everybody'), 'quay.io': user('host') };
  write(usual);
  program('provider', `cat >/dev/null; exec cat '${given.baseDirectory}/answer.json'`);
  const settings = exec.config.parse({ command: ['./provider'], protocol: 'kubelet' });
  const ask = asker(await exec.open(settings, given));
  assert.deepEqual(await ask('acme/payroll', 'acme/web'), ['everybody', 'everybody']);
  write({ ...usual, 'quay.io/acme/payroll': user('payroll-admin') });
  for (let i = 0; i < 2; i++) {
    clock.advance(20_000);
    assert.deepEqual(await ask('acme/payroll', 'acme/web', 'acme/other', 'other/app'), [
      'payroll-admin',
      'everybody',
      'everybody',
      'host',
    ]);
  }
});
