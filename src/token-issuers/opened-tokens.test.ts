import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import type { Access } from '../contracts/index.js';
import { parseScope } from '../reference/scope.js';
import { FakeClock } from '../testing/fake-clock.js';
import { OpenedTokens } from './opened-tokens.js';
import { signingKey } from './signing-key.js';

const newKey = () => signingKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, []);

async function known() {
  const clock = new FakeClock();
  const tokens = new OpenedTokens(clock);
  const key = await newKey();
  const expiresAt = Math.floor(clock.now() / 1000) * 1000 + 60_000;
  const access: Access = {
    principal: { verifier: 'corp', name: 'alice', kind: 'human', groups: [], attributes: {}, expiresAt },
    grants: ['repository:a/b:pull'].flatMap((text) => parseScope(text) ?? []),
    expiresAt,
  };
  tokens.add('token', 'one', { access, key, notBefore: clock.now() });
  return { tokens, clock, key, access };
}

test('a token that was verified is known, as often as it is shown', async () => {
  const { tokens, key, access } = await known();
  for (let turn = 0; turn < 3; turn++) assert.equal(tokens.find('token', 'one', [key]), access);
});

test('another token, and the same at another service, is not', async () => {
  const { tokens, key } = await known();
  assert.equal(tokens.find('token2', 'one', [key]), undefined);
  assert.equal(tokens.find('token', 'two', [key]), undefined);
  assert.equal(tokens.find('ken', 'oneto', [key]), undefined);
});

test('one whose key does not count any more is not, nor when it counts again under the same name', async () => {
  const { tokens, key } = await known();
  const other = await newKey();
  assert.equal(tokens.find('token', 'one', [other, { ...key }]), undefined);
  assert.equal(tokens.find('token', 'one', [key]), undefined);
});

test('one that has ended is not, to the second', async () => {
  const { tokens, clock, key, access } = await known();
  clock.advance(access.expiresAt - clock.now() - 1);
  assert.equal(tokens.find('token', 'one', [key]), access);
  clock.advance(1);
  assert.equal(tokens.find('token', 'one', [key]), undefined);
});

test('one from later than now is not: the clock was set back', async () => {
  const { tokens, clock, key } = await known();
  clock.advance(-1);
  assert.equal(tokens.find('token', 'one', [key]), undefined);
});

test('what is handed out again and again cannot be changed', async () => {
  const { tokens, key } = await known();
  const access = tokens.find('token', 'one', [key]) as { expiresAt: number; principal: { name: string } };
  assert.throws(() => {
    access.principal.name = 'root';
  }, TypeError);
  assert.throws(() => {
    access.expiresAt = Number.POSITIVE_INFINITY;
  }, TypeError);
});
