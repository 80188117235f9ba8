import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { errors, exportJWK, generateKeyPair } from 'jose';
import { rejectsWhenAborted } from '../../testing/conformance/suite.js';
import { FakeLog } from '../../testing/fake-log.js';
import { FileKeys } from './file-keys.js';

const o = { signal: new AbortController().signal };

async function keySet(kid: string): Promise<string> {
  const { publicKey } = await generateKeyPair('ES256');
  return JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid }] });
}

function setUp(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'jwks-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'jwks.json');
  const log = new FakeLog();
  return { path, log, open: () => FileKeys.open(path, { id: 'sso', log }) };
}

describe('keys in a file', () => {
  it('are read again when it has changed; while it is bad the last ones stay', async (t) => {
    const { path, log, open } = setUp(t);
    writeFileSync(path, await keySet('a'));
    const keys = await open();
    await keys.keyFor({ alg: 'ES256', kid: 'a' }, o);
    writeFileSync(path, await keySet('b'));
    await keys.keyFor({ alg: 'ES256', kid: 'b' }, o);
    await assert.rejects(keys.keyFor({ alg: 'ES256', kid: 'a' }, o), errors.JWKSNoMatchingKey);
    assert.equal(log.at('info')[0]?.fields.keys, 1);
    writeFileSync(path, '{"keys":[]}');
    await keys.keyFor({ alg: 'ES256', kid: 'b' }, o);
    assert.match(log.at('error')[0]?.message ?? '', /the last ones stay in use/);
    await rejectsWhenAborted((aborted) => keys.keyFor({ alg: 'ES256', kid: 'b' }, aborted));
  });

  for (const [what, text, message] of [
    ['is not there', undefined, /jwks\.json: ENOENT/],
    ['is no JSON', 'keys', /jwks\.json: it is not JSON/],
    ['is no key set', '{}', /no list of keys/],
    ['has no usable key', '{"keys":[{"kty":"oct","k":"AAAA"}]}', /no public key for signatures/],
    ['is huge', ' '.repeat(1024 * 1024 + 1), /over 1048576 bytes/],
  ] as const) {
    it(`a file that ${what} fails at once, on one line`, async (t) => {
      const { path, open } = setUp(t);
      if (text !== undefined) writeFileSync(path, text);
      await assert.rejects(
        open(),
        (error: Error) => message.test(error.message) && !/\n/.test(error.message),
      );
    });
  }
});
