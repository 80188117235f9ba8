import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Secret } from '../secret.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { authenticate } from './authenticate.js';

const o = { signal: new AbortController().signal };
const connection = { address: '192.0.2.1' };

describe('authenticate', () => {
  for (const [what, username, password, isAsked] of [
    ['a user name of 255 bytes', `${'é'.repeat(127)}a`, 'x', true],
    ['a user name of 256 bytes', 'é'.repeat(128), 'x', false],
    ['a password of 16384 bytes', 'alice', 'é'.repeat(8192), true],
    ['a password of 16385 bytes', 'alice', `${'é'.repeat(8192)}a`, false],
  ] as const) {
    it(`${isAsked ? 'asks' : 'does not ask'} a verifier about ${what}`, async () => {
      const verifier = new FakeVerifier('local');
      const shown = { kind: 'password', username, password: new Secret(password) } as const;
      await assert.rejects(authenticate(verifier, { shown, connection }, o), {
        code: 'UNAUTHORIZED',
        reason: isAsked ? 'no verifier takes these credentials' : 'the user name or the password is too long',
      });
      assert.equal(verifier.asked.length, isAsked ? 1 : 0);
    });
  }

  it('gives the principal', async () => {
    const verifier = new FakeVerifier('local', { alice: { password: 'right' } });
    const shown = { kind: 'password', username: 'alice', password: new Secret('right') } as const;
    assert.equal((await authenticate(verifier, { shown, connection }, o)).name, 'alice');
  });
});
