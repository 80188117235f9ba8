import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RegistryError } from '../errors.js';
import { parseRegistryHost } from '../reference/registry-host.js';
import { basicCredential, FakeCredentialSource } from '../testing/index.js';
import { UsualCredentials } from './usual-credentials.js';

const target = { registry: parseRegistryHost('gcr.io') };
const o = { signal: new AbortController().signal };

describe('credentials whose type the registry chose', () => {
  test('are those of the source', async () => {
    const credential = basicCredential('acme', 'secret');
    const inner = new FakeCredentialSource([credential]);
    const source = new UsualCredentials(inner, 'gcp');
    assert.equal(await source.credentialFor(target, o), credential);
    assert.equal(await source.credentialFor(target, { ...o, rejected: credential }), undefined);
    assert.equal(source.keyFor, undefined);
    await source.close();
    assert.ok(inner.closed, 'the source is not closed');
  });

  test('share what the source shares', () => {
    const inner = Object.assign(new FakeCredentialSource(), {
      keyFor: () => 'all',
    });
    assert.equal(new UsualCredentials(inner, 'gcp').keyFor?.(target), 'all');
  });

  test('say who chose them, where there are none to be had', async () => {
    const inner = new FakeCredentialSource();
    inner.broken = true;
    await assert.rejects(new UsualCredentials(inner, 'gcp').credentialFor(target, o), (error) => {
      assert.ok(error instanceof RegistryError, 'another error');
      assert.equal(error.code, 'UNAVAILABLE');
      assert.equal(
        error.reason,
        'credentials of type gcp were chosen for gcr.io: the credential source is broken',
      );
      return true;
    });
  });

  test('leave what is no failure of the source as it is', async () => {
    const aborted = AbortSignal.abort('gone');
    const source = new UsualCredentials(new FakeCredentialSource(), 'gcp');
    await assert.rejects(source.credentialFor(target, { signal: aborted }), (reason) => reason === 'gone');
  });
});
