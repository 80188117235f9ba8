import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { describeError } from '../errors.js';
import { certifyNewKey, createAuthority } from './certificate-authority.js';
import { openSuppliedKeys } from './supplied-keys.js';

const now = Date.parse('2026-01-01T00:00:00Z');
const pemOf = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const ec = (namedCurve: string) => pemOf(generateKeyPairSync('ec', { namedCurve }).privateKey);
const rsa = (modulusLength: number) => pemOf(generateKeyPairSync('rsa', { modulusLength }).privateKey);

async function certified() {
  const authority = await createAuthority(now);
  const key = await certifyNewKey(
    { privateKey: createPrivateKey(authority.privateKey), certificate: authority.certificate },
    now,
  );
  return { authority, key };
}

function files(t: TestContext, ...pems: readonly string[]): readonly string[] {
  const directory = mkdtempSync(join(tmpdir(), 'keys-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return pems.map((pem, i) => {
    writeFileSync(join(directory, `${i}.pem`), pem);
    return join(directory, `${i}.pem`);
  });
}

describe('supplied keys', () => {
  it('the first signs, all are published', async (t) => {
    const keys = await openSuppliedKeys(files(t, ec('P-256'), ec('P-384'), ec('P-521'), rsa(2048)));
    assert.equal(keys.signing(), keys.published()[0]);
    assert.deepEqual(
      keys.published().map((key) => key.algorithm),
      ['ES256', 'ES384', 'ES512', 'RS256'],
    );
    assert.equal(new Set(keys.published().map((key) => key.kid)).size, 4);
    assert.deepEqual(keys.authorities(), []);
    assert.ok(
      keys.published().every((key) => !('d' in key.jwk) && key.x5c.length === 0),
      "keys.published().every((key) => !('d' in key.jwk) && key.x5c.length === 0)",
    );
    await keys.lookAgain();
    await keys.close();
  });

  it('bring their certificate chain, whose last one is the anchor', async (t) => {
    const { authority, key } = await certified();
    const [path = ''] = files(t, `${key.privateKey}${key.certificate}\n${authority.certificate}\n`);
    const keys = await openSuppliedKeys([path]);
    assert.equal(keys.signing().x5c.length, 2);
    assert.equal(keys.authorities()[0]?.subject, 'CN=docker-registry-proxy token authority');
  });

  const rows: readonly (readonly [name: string, pem: () => string | Promise<string>, said: RegExp])[] = [
    ['an RSA key of 1024 bits', () => rsa(1024), /expected an EC key/],
    ['a key of another curve', () => ec('secp256k1'), /expected an EC key/],
    ['an Ed25519 key', () => pemOf(generateKeyPairSync('ed25519').privateKey), /expected an EC key/],
    [
      'a public key',
      () => createPublicKey(ec('P-256')).export({ type: 'spki', format: 'pem' }).toString(),
      /./,
    ],
    ['no key', () => 'hello\nworld\n', /./],
    ['nothing', () => '', /./],
    [
      'a key with a passphrase',
      () =>
        generateKeyPairSync('ec', {
          namedCurve: 'P-256',
          publicKeyEncoding: { type: 'spki', format: 'pem' },
          privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
        }).privateKey,
      /./,
    ],
    [
      'the certificate of another key',
      async () => `${ec('P-256')}${(await certified()).key.certificate}\n`,
      /its certificate belongs to another key/,
    ],
    [
      'a damaged certificate',
      () => `${ec('P-256')}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
      /./,
    ],
  ];
  for (const [name, pem, said] of rows) {
    it(`does not start with ${name}: one line that names the file and shows nothing of it`, async (t) => {
      const text = await pem();
      const [good = '', bad = ''] = files(t, ec('P-256'), text);
      await assert.rejects(openSuppliedKeys([good, bad]), (error) => {
        const line = describeError(error);
        assert(line.startsWith(`cannot use the token key ${bad}: `), line);
        assert.match(line, said);
        assert.doesNotMatch(line, /[\r\n]/);
        for (const part of text.split('\n')) assert(part.length < 20 || !line.includes(part), line);
        return true;
      });
    });
  }

  it('does not start without its file, or without any', async () => {
    await assert.rejects(
      openSuppliedKeys(['/nonexistent/key.pem']),
      /cannot use the token key \/nonexistent/,
    );
    await assert.rejects(openSuppliedKeys([]), /there is no token key/);
  });
});
