import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { htpasswd } from '../harness/house.js';
import type { Front } from '../harness/index.js';
import { MovableClock } from './harness/open-oidc.js';
import { registryClient, startOpenIdProvider } from './harness/openid-provider.js';
import { signInForToken } from './harness/personal-token.js';
import { sharedSlapd } from './harness/shared-slapd.js';
import { people } from './harness/slapd.js';
import { login, startJudging } from './harness/token-logins.js';
import { startWebhook } from './harness/webhook-server.js';

// What somebody gains who guesses passwords, and who learns of secrets that are typed in the wrong place.

const notRemembered = 'rememberLogins: { accepted: 0s, refused: 0s }';
const minute = 60_000;

describe('guesses at somebody in a directory', () => {
  const directory = sharedSlapd(async (slapd) => {
    await slapd.addPerson('al ice', 'wonderland');
  });
  /** To the directory all are one. */
  const spellings = [
    'al ice',
    'AL ICE',
    ' al ice',
    'al ice ',
    'al   ice',
    'al\u00a0ice',
    'ａｌ ｉｃｅ',
    '\u3000ＡＬ\u3000Ice',
    'ⓐl ice',
  ];

  for (const [mode, settings] of [
    ['search', `search: { base: "${people}" }`],
    ['a DN template', `bindDn: "uid={username},${people}"`],
  ] as const) {
    it(`are ten a minute, however the name is spelled: by ${mode}`, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const { dn, passwordFile } = slapd.service;
      const bind = mode === 'search' ? `bind: { dn: "${dn}", password: { file: "${passwordFile}" } }, ` : '';
      const clock = new MovableClock();
      const front = await startJudging(t, {
        verifiers: `  - { id: corp, type: ldap, url: "${slapd.url}", ${bind}${settings} }`,
        rules: '  - { names: ["corp:al ice"], repositories: ["team/**"], actions: [pull] }',
        more: notRemembered,
        clock,
      });
      for (const spelling of spellings)
        assert.equal(await login(front, spelling, 'wonderland'), 'corp:al ice team/app:pull', spelling);
      let tried = 0;
      for (let i = 0; i < 30; i++) {
        const status = await login(front, spellings[i % spellings.length] ?? '', `guess ${i}`);
        if (status === 429) break;
        assert.equal(status, 401);
        tried++;
      }
      assert.equal(tried, 10);
      clock.advance(minute);
      assert.equal(await login(front, 'al ice', 'wonderland'), 'corp:al ice team/app:pull');
      // One that is found may be told; a template finds nobody.
      assert.equal(/"user":"AL ICE"[^\n]*"status":401/.test(front.log()), mode === 'search');
    });
  }
});

/** A proxy where people sign in by browser, beside a webhook that has names of its own, and a file. */
async function startWithTokens(t: TestContext) {
  const redirects = [...registryClient.redirect_uris, 'https://docker.test/sign-in/callback'];
  const client = { ...registryClient, redirect_uris: redirects };
  const provider = await startOpenIdProvider({ clients: [client] });
  t.after(() => provider.close());
  const webhook = await startWebhook(t, { users: {} });
  const clock = new MovableClock();
  const front = await startJudging(t, {
    verifiers: `
  - { id: hook, type: webhook, url: "${webhook.url}", usernames: ["ci-*", "drp_*", " *"], accepts: [password, bearer] }
  - { id: local, type: htpasswd, file: all.htpasswd }
  - { id: sso, type: oidc, issuer: "${provider.issuer}", audiences: [registry] }`,
    rules: '  - { names: ["sso:*", "local:*"], repositories: ["team/**"], actions: [pull] }',
    more: `
externalUrl: https://docker.test
audit: { file: audit.jsonl }
signIn: { verifier: sso, clientId: registry, clientSecret: { file: client-secret } }
${notRemembered}`,
    files: {
      'client-secret': client.client_secret,
      'all.htpasswd': await htpasswd({ alice: 'a password of alice' }),
    },
    clock,
  });
  const ask = (path: string, headers: Readonly<Record<string, string>>) => front.send(path, { headers });
  const bob = { login: 'bob', password: 'builder' };
  const { token } = await signInForToken(ask, 'https://docker.test', bob);
  const idToken = async () => (await provider.signIn()).id_token;
  return { front, webhook, clock, token, idToken };
}

describe('a token of one’s own', () => {
  it('clears no guesses at somebody else whose name is shown with it', async (t) => {
    const { front, clock, token, idToken } = await startWithTokens(t);
    const signed = await idToken();
    let tried = 0;
    while (tried < 30 && (await login(front, 'alice', `guess ${tried}`)) === 401) {
      tried++;
      if (tried === 9) {
        assert.equal(await login(front, 'alice', token), 'sso:bob team/app:pull');
        assert.equal(await login(front, 'alice', signed), 'sso:alice team/app:pull');
      }
    }
    assert.equal(tried, 10);
    assert.equal(await login(front, 'alice', 'a password of alice'), 429);
    clock.advance(minute);
    assert.equal(await login(front, 'alice', 'a password of alice'), 'local:alice team/app:pull');
  });

  it('is shown to no other verifier, whatever name is shown with it, and wherever it is typed', async (t) => {
    const { front, webhook, token, idToken } = await startWithTokens(t);
    assert.equal(await login(front, 'ci-1', token), 'sso:bob team/app:pull');
    assert.equal(await login(front, 'ci-1', await idToken()), 'sso:alice team/app:pull');
    for (const [username, password] of [
      ['ci-1', `${token}x`],
      ['ci-1', ` ${token}`],
      ['ci-1', `drp_refresh_${'A'.repeat(43)}`],
      [token, 'x'],
      [` ${token}`, 'x'],
      [token, ''],
    ] as const) {
      assert.equal(await login(front, username, password), 401);
    }
    const bearer = { authorization: `Bearer drp_refresh_${'A'.repeat(43)}` };
    assert.equal((await front.send('/token?service=docker.test', { headers: bearer })).status, 401);
    assert.deepEqual(webhook.reviews, []);
    tellsNothingOf(front, [token, 'drp_refresh_AAA']);
    assert.equal(await login(front, 'ci-1', 'a password'), 401);
    assert.equal(webhook.reviews.length, 1);
  });
});

describe('a secret that is typed as the user name', () => {
  it('is in neither log where a verifier would refuse any name', async (t) => {
    const { front, idToken } = await startWithTokens(t);
    const secrets = [
      'ci-hunter2-and-more',
      `ci-${'s3cret'.repeat(3)}`,
      await idToken().then((one) => one.slice(0, 200)),
    ];
    for (const secret of secrets) assert.equal(await login(front, secret, 'x'), 401);
    for (let i = 0; i < 12; i++) await login(front, 'ci-hunter2-and-more', `x${i}`);
    assert.equal(await login(front, 'alice', 'x'), 401);
    tellsNothingOf(front, secrets);
    assert.match(front.log(), /"user":"alice"/);
  });
});

function tellsNothingOf(front: Front, secrets: readonly string[]): void {
  const audit = readFileSync(join(front.directory, 'audit.jsonl'), 'utf8');
  for (const secret of secrets) {
    assert.ok(!front.log().includes(secret), 'a secret is in the log');
    assert.ok(!audit.includes(secret), 'a secret is in the audit log');
  }
}
