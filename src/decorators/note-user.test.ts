import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ClientCredentials, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';
import { noteUser } from './note-user.js';

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
  const codes = ['UNAUTHORIZED', 'UNAVAILABLE', 'TOOMANYREQUESTS'] as const;
  const refuses = (code: (typeof codes)[number], knownUser?: boolean) => async () => {
    throw new RegistryError(code, knownUser === undefined ? {} : { knownUser });
  };

  test('a name that was accepted, and one that the verifier says it knows', async () => {
    assert.equal(await noted(async () => principal), 'alice');
    for (const code of codes) assert.equal(await noted(refuses(code, true)), 'alice');
  });

  test('never one that nobody is known to have: it may be a password', async () => {
    assert.equal(await noted(async () => undefined), undefined);
    for (const code of codes) {
      assert.equal(await noted(refuses(code)), undefined);
      assert.equal(await noted(refuses(code, false)), undefined);
    }
  });

  test('one that machines have, whoever refuses it: it is no secret', async () => {
    assert.equal(await noted(async () => undefined, shown('_sts')), '_sts');
    for (const code of codes) assert.equal(await noted(refuses(code), shown('_aws')), '_aws');
    assert.equal(await noted(async () => undefined, shown('_aws-and-something-typed')), undefined);
  });

  const part = (json: string) => Buffer.from(json).toString('base64url');
  for (const token of [
    `drp_pat_${'A'.repeat(43)}`,
    ' drp_refresh_half',
    `${part('{"alg":"RS256"}')}.${part('{"sub":"alice"}')}.c2ln`,
    ` ${part('{"alg":"RS256"}')}.${part('{"sub":"alice"}')}.c2ln`,
    `${part(' {"alg":"RS256"}')}.${part('{"sub":"alice"}')}.c2ln`,
    `${part('{"alg":"RS256"}')}.${part('{"sub":"alice"}').slice(0, 9)}`,
    `${part('{"alg":"dir"}')}..aXY.dGV4dA.dGFn`,
  ]) {
    test(`never a token, whatever became of it: ${token.slice(0, 20)}`, async () => {
      assert.equal(await noted(async () => principal, shown(token)), undefined);
      assert.equal(await noted(refuses('UNAUTHORIZED', true), shown(token)), undefined);
    });
  }

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
