import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { noteUser } from './note-user.js';
import { Throttled } from './throttle-verifier.js';

const o = { signal: new AbortController().signal };
const principal: Principal = { verifier: 'v', name: 'a', kind: 'human', groups: [], attributes: {} };
const connection = { address: '192.0.2.1' };

function shown(username: string): ClientCredentials {
  return { shown: { kind: 'password', username, password: new Secret('pw') }, connection };
}

async function noted(answer: Verifier['verify'], credentials = shown('alice')): Promise<string | undefined> {
  const record: { user?: string } = {};
  const verifier = noteUser({ verify: answer, close: async () => {} }, record);
  await verifier.verify(credentials, o).catch(() => {});
  return record.user;
}

describe('noteUser', () => {
  const refuses = (code: 'UNAUTHORIZED' | 'UNAVAILABLE' | 'TOOMANYREQUESTS') => async () => {
    throw new RegistryError(code);
  };

  test('a name that was accepted, and one whose password is wrong', async () => {
    assert.equal(await noted(async () => principal), 'alice');
    assert.equal(await noted(refuses('UNAUTHORIZED')), 'alice');
  });

  test('never one that nobody is known to have: it may be a password', async () => {
    assert.equal(await noted(async () => undefined), undefined);
    for (const code of ['UNAVAILABLE', 'TOOMANYREQUESTS'] as const) {
      assert.equal(await noted(refuses(code)), undefined);
    }
  });

  test('one that is throttled, where a verifier knew it', async () => {
    const throttled = (isKnown: boolean) => async () => {
      throw new Throttled(isKnown, 1);
    };
    assert.equal(await noted(throttled(true)), 'alice');
    assert.equal(await noted(throttled(false)), undefined);
  });

  test('none where none was shown', async () => {
    const token = { kind: 'bearer', token: new Secret('t') } as const;
    assert.equal(await noted(async () => principal, { shown: token, connection }), undefined);
  });

  test('bounded, on one line', async () => {
    assert.equal(await noted(async () => principal, shown(`a\n${'x'.repeat(500)}`)), `a?${'x'.repeat(126)}…`);
  });

  test('the answer and the error are the verifier’s own', async () => {
    const record = {};
    const good = noteUser({ verify: async () => principal, close: async () => {} }, record);
    assert.equal(await good.verify(shown('alice'), o), principal);
    const bad = noteUser({ verify: refuses('UNAUTHORIZED'), close: async () => {} }, record);
    await assert.rejects(bad.verify(shown('alice'), o), { code: 'UNAUTHORIZED' });
  });
});
