import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../testing/conformance/verifier.js';
import { FakeVerifier } from '../testing/fake-verifier.js';
import { OwnTokensVerifier } from './own-tokens.js';

const o = { signal: new AbortController().signal };
const good = `drp_pat_${'A'.repeat(43)}`;

/** Of the form only: what is a token to it is shown as a bearer token or as the password of `anybody`. */
const personalTokens = () =>
  new FakeVerifier('personal', { owner: { bearer: good }, anybody: { password: good } });

describeVerifierConformance('beside the tokens of our own', async () => {
  const others = new FakeVerifier('local', { alice: { password: 'wonderland' } });
  return {
    verifier: new OwnTokensVerifier(others, personalTokens()),
    id: 'local',
    valid: [{ credentials: passwordCredentials('alice', 'wonderland'), principal: { name: 'alice' } }],
    invalid: [
      passwordCredentials('alice', 'l00king-glass'),
      passwordCredentials('alice', `drp_refresh_${'A'.repeat(43)}`),
      bearerCredentials('drp_pat_half'),
    ],
    foreign: [passwordCredentials('bob', 'wonderland'), bearerCredentials('wonderland')],
    break: () => {
      others.broken = true;
    },
    remove: (name) => void others.users.delete(name),
  };
});

describe('what begins like a token of ours', () => {
  const refused = {
    'a refresh token as the password': passwordCredentials('alice', `drp_refresh_${'A'.repeat(43)}`),
    'a personal access token after a blank': passwordCredentials('alice', ` ${good}`),
    'a personal access token after a line break': passwordCredentials('alice', `\r\n${good}`),
    'a personal access token as the user name': passwordCredentials(good, ''),
    'one as the user name, after a blank, with a good password': passwordCredentials(
      ` ${good}`,
      'wonderland',
    ),
    'a name that begins so': passwordCredentials('drp_robot', 'wonderland'),
    'a bearer token': bearerCredentials('drp_refresh_x'),
    'a bearer token after a blank': bearerCredentials(` ${good}`),
  };

  for (const [name, credentials] of Object.entries(refused)) {
    for (const [where, personal, reason] of [
      ['with personal access tokens', personalTokens(), /no personal access token/],
      ['without', undefined, /are off/],
    ] as const) {
      it(`is shown to no other verifier: ${name}, ${where}`, async () => {
        const others = new FakeVerifier('others', {
          [good]: { password: '' },
          [` ${good}`]: { password: 'wonderland' },
          drp_robot: { password: 'wonderland' },
        });
        const verifier = new OwnTokensVerifier(others, personal);
        await assert.rejects(verifier.verify(credentials, o), {
          ...{ code: 'UNAUTHORIZED', reason, knownUser: false },
        });
        assert.deepEqual(others.asked, []);
      });
    }
  }

  it('is shown to the verifier of personal access tokens before all others, whose answer it is', async () => {
    const others = new FakeVerifier('others', { anybody: { password: good } });
    const personal = personalTokens();
    const verifier = new OwnTokensVerifier(others, personal);
    assert.equal((await verifier.verify(bearerCredentials(good), o))?.verifier, 'personal');
    assert.equal((await verifier.verify(passwordCredentials('anybody', good), o))?.verifier, 'personal');
    await assert.rejects(verifier.verify(passwordCredentials('anybody', `${good}x`), o), {
      ...{ code: 'UNAUTHORIZED', reason: 'wrong password' },
    });
    personal.broken = true;
    await assert.rejects(verifier.verify(bearerCredentials(good), o), { code: 'UNAVAILABLE' });
    assert.deepEqual(others.asked, []);
  });

  it('is nobody’s where personal access tokens are off', async () => {
    const others = new FakeVerifier('others', { anybody: { password: good } });
    const verifier = new OwnTokensVerifier(others, undefined);
    await assert.rejects(verifier.verify(passwordCredentials('anybody', good), o), {
      ...{ code: 'UNAUTHORIZED', reason: /are off/ },
    });
    assert.deepEqual(others.asked, []);
  });
});
