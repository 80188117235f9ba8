import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { errors, exportJWK, generateKeyPair, type JWK } from 'jose';
import { RegistryError } from '../../errors.js';
import { parseKeySet } from './key-set.js';

async function publicKey(alg: string, more: Partial<JWK> = {}): Promise<JWK> {
  return { ...(await exportJWK((await generateKeyPair(alg)).publicKey)), ...more };
}

const setOf = (...keys: readonly unknown[]) => parseKeySet(JSON.stringify({ keys }));

describe('a key set', () => {
  it('takes public keys for signatures, and those of a SPIFFE bundle', async () => {
    for (const more of [{}, { use: 'sig' }, { use: 'jwt-svid' }, { alg: 'ES256' }, { key_ops: ['verify'] }]) {
      const set = setOf(await publicKey('ES256', { kid: 'a', ...more }));
      assert.equal(set.size, 1, JSON.stringify(more));
      assert.equal((await set.find({ alg: 'ES256', kid: 'a' })).type, 'public', JSON.stringify(more));
    }
  });

  it('leaves out all others', async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    const { n: _n, ...withoutModulus } = await publicKey('RS256');
    for (const [what, key] of Object.entries({
      symmetric: { kty: 'oct', k: 'AAAA', kid: 'a' },
      'with its private half': { ...(await exportJWK(privateKey)), kid: 'a' },
      'for encryption': await publicKey('ES256', { use: 'enc' }),
      'of X.509-SVIDs': await publicKey('ES256', { use: 'x509-svid' }),
      'RSA of 1024 bits': { kty: 'RSA', n: Buffer.alloc(128, 0xff).toString('base64url'), e: 'AQAB' },
      'RSA without a modulus': withoutModulus,
      'of an unknown kind': { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA' },
      'no object': 'a key',
      null: null,
    })) {
      assert.equal(setOf(key, await publicKey('ES256', { kid: 'b' })).size, 1, what);
      await assert.rejects(setOf(key).find({ alg: 'ES256', kid: 'a' }), errors.JWKSNoMatchingKey, what);
    }
  });

  it('finds by kid and algorithm, and never guesses', async () => {
    const [a, b] = [await publicKey('ES256', { kid: 'a' }), await publicKey('ES256', { kid: 'b' })];
    const set = setOf(a, b, await publicKey('RS256', { alg: 'RS256' }));
    await set.find({ alg: 'ES256', kid: 'b' });
    await set.find({ alg: 'RS256' });
    await assert.rejects(set.find({ alg: 'ES256' }), errors.JWKSMultipleMatchingKeys);
    await assert.rejects(set.find({ alg: 'ES256', kid: 'c' }), errors.JWKSNoMatchingKey);
    await assert.rejects(set.find({ alg: 'PS256' }), errors.JWKSNoMatchingKey);
    await assert.rejects(set.find({ alg: 'ES384', kid: 'a' }), errors.JWKSNoMatchingKey);
  });

  it('a broken key is the issuer’s fault, and not the token’s', async () => {
    const set = setOf({ kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'a' });
    await assert.rejects(
      set.find({ alg: 'ES256', kid: 'a' }),
      (error) => error instanceof RegistryError && error.code === 'UNAVAILABLE',
    );
  });

  for (const text of ['', '{', 'null', '[]', '{}', '{"keys":null}', '{"keys":{}}', '"keys"']) {
    it(`is not: ${text === '' ? 'nothing' : text}`, () => {
      assert.throws(() => parseKeySet(text), /it is not/);
    });
  }
});
