import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Secret } from '../secret.js';
import { isPublicUserName } from './public-user-name.js';

const ask = (username: string, password: string, isConfigured?: true) =>
  isPublicUserName({
    ...{ kind: 'basic', username, password: new Secret(password) },
    ...(isConfigured && { isConfigured }),
  });

describe('a user name that may be shown', () => {
  for (const name of [
    ...['AWS', 'oauth2accesstoken', '_json_key', '_json_key_base64', '_token', '<token>'],
    '00000000-0000-0000-0000-000000000000',
  ]) {
    test(`${name}, whoever gave it`, () => assert.equal(ask(name, 'hunter2'), true));
  }

  for (const name of [
    'acme',
    'robot$proxy',
    'gitlab+deploy-token-123',
    '1111-a2',
    'acme_ci.registry-proxy',
  ]) {
    test(`${name}, where it is configured alone`, () => {
      assert.equal(ask(name, 'hunter2', true), true);
      assert.equal(ask(name, 'hunter2'), false);
    });
  }

  for (const [name, secret] of [
    ['ghp_0123456789abcdefghijABCDEFGHIJ012345', 'x-oauth-basic'],
    ['dop_v1_0123456789abcdef0123456789abcdef', 'x'],
    ['hunter2', 'hunter2'],
    ['hunter2-as-user', 'hunter2'],
    ['hunter', 'hunter2'],
    ['a b', 'x'],
    ['n'.repeat(65), 'x'],
  ] as const) {
    test(`not ${name}, although it is configured`, () => assert.equal(ask(name, secret, true), false));
  }
});
