import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { madeUpRsaKey } from '../../testing/rsa-key.js';
import { keyFault } from './strength.js';

describe('a key', () => {
  for (const [what, key, expected] of [
    ['of RSA with 2048 bits', madeUpRsaKey(), undefined],
    ['of RSA with 8192 bits', madeUpRsaKey({ bits: 8192 }), undefined],
    ['with the exponent 3', madeUpRsaKey({ exponent: 3n }), undefined],
    ['with the longest exponent', madeUpRsaKey({ exponent: 2n ** 32n - 1n }), undefined],
    ['of RSA with 2040 bits', madeUpRsaKey({ bits: 2040 }), 'its RSA key has 2040 bits, under 2048'],
    ['of RSA with 8200 bits', madeUpRsaKey({ bits: 8200 }), 'its RSA key has 8200 bits, over 8192'],
    ['of RSA with 16384 bits', madeUpRsaKey({ bits: 16384 }), 'its RSA key has 16384 bits, over 8192'],
    [
      'with a longer exponent',
      madeUpRsaKey({ exponent: 2n ** 32n + 1n }),
      'its RSA key has a public exponent over 2^32',
    ],
    [
      'with an exponent as long as its modulus',
      madeUpRsaKey({ bits: 3072, exponent: 2n ** 3071n + 1n }),
      'its RSA key has a public exponent over 2^32',
    ],
    [
      'with the exponent 1',
      madeUpRsaKey({ exponent: 1n }),
      'its RSA key has a public exponent that is no odd number above 1',
    ],
    [
      'with an even exponent',
      madeUpRsaKey({ exponent: 65536n }),
      'its RSA key has a public exponent that is no odd number above 1',
    ],
    ['on P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey, undefined],
    [
      'on a small curve',
      generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).publicKey,
      'its key is on a curve that is not accepted (secp224r1)',
    ],
    ['of Ed25519', generateKeyPairSync('ed25519').publicKey, undefined],
    ['of X25519', generateKeyPairSync('x25519').publicKey, 'its key is of a kind that is not accepted'],
  ] as const) {
    test(`${what}: ${expected ?? 'can be relied on'}`, () => assert.equal(keyFault(key), expected));
  }
});
