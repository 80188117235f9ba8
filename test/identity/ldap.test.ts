import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { ClientCredentials, Principal, Verifier } from '../../src/contracts/index.js';
import { failureOf } from '../../src/testing/conformance/suite.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../../src/testing/conformance/verifier.js';
import { driver } from '../../src/verifiers/ldap.js';
import { o, openVerifier } from './harness/open-verifier.js';
import { refusedBy } from './harness/refused-by.js';
import { startRelay } from './harness/relay.js';
import { sharedSlapd } from './harness/shared-slapd.js';
import { base, byTemplate, people, type Slapd, searching } from './harness/slapd.js';

/** Names that mean something else where they are not escaped. */
const oddNames = [
  'a*',
  'a)(uid=*',
  '*)(objectClass=*',
  'back\\slash',
  '\\2a',
  'comma,uid=alice',
  'plus+cn=x',
  '"quoted"',
  '<angle>;semi',
  '#hash=equals',
  'ünïcødé 名前',
  'two words',
  "o'neill",
  '(paren',
] as const;

const directory = sharedSlapd(async (slapd) => {
  const alice = await slapd.addPerson('alice', 'wonderland', { mail: 'alice@example.com' });
  await slapd.addPerson('Bob', 'builder', { mail: 'bob@example.com' });
  for (const name of oddNames) await slapd.addPerson(name, `password of ${name}`);
  await slapd.add(`ou=twins,${base}`, { objectClass: 'organizationalUnit', ou: 'twins' });
  for (const ou of ['left', 'right']) {
    await slapd.add(`ou=${ou},ou=twins,${base}`, { objectClass: 'organizationalUnit', ou });
    const twin = {
      objectClass: 'inetOrgPerson',
      uid: 'twin',
      cn: 'twin',
      sn: 'twin',
      mail: `${ou}@example.com`,
    };
    await slapd.add(`uid=twin,ou=${ou},ou=twins,${base}`, { ...twin, userPassword: 'same' });
  }
  await slapd.add(`uid=second-name,${people}`, {
    ...{ objectClass: 'inetOrgPerson', cn: 'two names', sn: 'x', userPassword: 'two' },
    uid: ['first-name', 'second-name'],
  });
  await slapd.add(`cn=nameless,${people}`, {
    ...{ objectClass: 'inetOrgPerson', cn: 'nameless', sn: 'x', mail: 'nameless@example.com' },
    userPassword: 'none',
  });
  await slapd.addGroup('developers', [alice]);
});

/** UNAUTHORIZED, with a reason that says so much. */
function refuses(verifier: Verifier, credentials: ClientCredentials, reason: RegExp) {
  return refusedBy(verifier.verify(credentials, o), 'UNAUTHORIZED', reason);
}

async function addTemporary(t: TestContext, slapd: Slapd, uid: string, password: string): Promise<string> {
  const dn = await slapd.addPerson(uid, password);
  t.after(async () => {
    if (await slapd.find(dn, ['uid']).catch(() => undefined)) await slapd.remove(dn);
  });
  return dn;
}

const details = {
  attributes: { email: 'mail' },
  groups: { search: { base: `ou=groups,${base}`, filter: '(member={dn})' } },
};
const alice: Partial<Principal> & { readonly name: string } = {
  name: 'alice',
  kind: 'human',
  groups: ['developers'],
  attributes: { email: 'alice@example.com' },
};

describeVerifierConformance('ldap, by search', async (t) => {
  const slapd = await directory(t);
  if (slapd === undefined) return undefined;
  const relay = await startRelay(t, slapd.secureUrl);
  const dn = await addTemporary(t, slapd, 'temporary', 'passing');
  const settings = searching(slapd, { url: relay.url, ca: slapd.ca, ...details });
  const { verifier } = await openVerifier(t, driver, settings);
  return {
    verifier,
    id: 'corp',
    valid: [
      { credentials: passwordCredentials('temporary', 'passing'), principal: { name: 'temporary' } },
      { credentials: passwordCredentials('ALICE', 'wonderland'), principal: alice },
    ],
    invalid: [
      passwordCredentials('alice', 'looking-glass'),
      passwordCredentials('alice', 'wonderland '),
      passwordCredentials('alice', '*'),
    ],
    foreign: [
      bearerCredentials('wonderland'),
      passwordCredentials('', 'wonderland'),
      passwordCredentials('nobody', 'wonderland'),
    ],
    break: relay.close,
    remove: () => slapd.remove(dn),
  };
});

describeVerifierConformance(
  'ldap, by a DN template',
  async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return undefined;
    const relay = await startRelay(t, slapd.secureUrl);
    const settings = byTemplate(slapd, { url: relay.url, ca: slapd.ca, ...details });
    const { verifier } = await openVerifier(t, driver, settings);
    return {
      verifier,
      id: 'corp',
      valid: [{ credentials: passwordCredentials('Alice', 'wonderland'), principal: alice }],
      invalid: [
        passwordCredentials('alice', 'looking-glass'),
        passwordCredentials('nobody', 'wonderland'),
        passwordCredentials(`alice,${people}`, 'wonderland'),
      ],
      foreign: [bearerCredentials('wonderland'), passwordCredentials('', 'wonderland')],
      break: relay.close,
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

for (const [mode, settingsOf] of [
  ['search', searching],
  ['a DN template', byTemplate],
] as const) {
  describe(`names, by ${mode}`, () => {
    for (const name of oddNames) {
      it(`stands for itself: ${name}`, async (t) => {
        const slapd = await directory(t);
        if (slapd === undefined) return;
        const { verifier } = await openVerifier(t, driver, settingsOf(slapd));
        const found = await verifier.verify(passwordCredentials(name, `password of ${name}`), o);
        assert.equal(found?.name, name);
        await refuses(verifier, passwordCredentials(name, 'wonderland'), /wrong password/);
      });
    }

    for (const typed of ['BOB', 'bob', ' bob ']) {
      it(`has the directory's spelling: '${typed}'`, async (t) => {
        const slapd = await directory(t);
        if (slapd === undefined) return;
        const { verifier } = await openVerifier(t, driver, settingsOf(slapd));
        assert.equal((await verifier.verify(passwordCredentials(typed, 'builder'), o))?.name, 'Bob');
      });
    }

    for (const [what, username, password, reason] of [
      ['an empty password', 'alice', '', /password is empty/],
      ['an empty password of nobody', 'nobody', '', /password is empty/],
      ['a password that is too long', 'alice', 'x'.repeat(4097), /over 4096 bytes/],
      ['a NUL in the name', 'alice\0', 'wonderland', /control characters/],
      ['a line break in the name', 'alice\n', 'wonderland', /control characters/],
    ] as const) {
      it(`asks no directory about ${what}`, async (t) => {
        const slapd = await directory(t);
        if (slapd === undefined) return;
        const relay = await startRelay(t, slapd.url);
        const { verifier } = await openVerifier(t, driver, settingsOf(slapd, { url: relay.url }));
        await refuses(verifier, passwordCredentials(username, password), reason);
        assert.equal(relay.connections(), 0);
      });
    }

    it('an entry with two names has none', async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      const { verifier } = await openVerifier(t, driver, settingsOf(slapd, {}));
      await refuses(verifier, passwordCredentials('second-name', 'two'), /several values of uid/);
    });
  });
}

describe('the ldap verifier, by search', () => {
  const byMail = { base, filter: '(mail={username})' };

  it('picks none of several entries', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { verifier } = await openVerifier(t, driver, searching(slapd, { search: { base } }));
    await refuses(verifier, passwordCredentials('twin', 'same'), /several entries/);
  });

  it('takes none that another one shares its name with', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { verifier } = await openVerifier(t, driver, searching(slapd, { search: byMail }));
    await refuses(verifier, passwordCredentials('left@example.com', 'same'), /not its alone/);
  });

  it('names and rechecks by the one attribute what it found by another', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { verifier } = await openVerifier(t, driver, searching(slapd, { search: byMail }));
    const bob = await verifier.verify(passwordCredentials('BOB@example.com', 'builder'), o);
    assert.equal(bob?.name, 'Bob');
    assert.deepEqual(await verifier.recheck?.(bob, o), bob);
    await refuses(verifier, passwordCredentials('nameless@example.com', 'none'), /has no uid/);
  });

  it('rechecks with all other conditions of the filter', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const dn = await addTemporary(t, slapd, 'leaver', 'bye');
    const search = { base: people, filter: '(&(uid={username})(!(description=left)))' };
    const { verifier } = await openVerifier(t, driver, searching(slapd, { search }));
    const found = await verifier.verify(passwordCredentials('leaver', 'bye'), o);
    assert.ok(found, 'not recognised');
    assert.deepEqual(await verifier.recheck?.(found, o), found);
    await slapd.replace(dn, { description: 'left' });
    assert.equal(await verifier.recheck?.(found, o), undefined);
    assert.equal(await verifier.verify(passwordCredentials('leaver', 'bye'), o), undefined);
  });

  it('binds for a name that nobody has as for one that somebody has, and not with the password', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const relay = await startRelay(t, slapd.url);
    const { verifier } = await openVerifier(t, driver, searching(slapd, { url: relay.url }));
    await refuses(verifier, passwordCredentials('alice', 'guess-of-known'), /wrong password/);
    const known = relay.connections();
    assert.equal(await verifier.verify(passwordCredentials('nobody', 'guess-of-unknown'), o), undefined);
    // The service connection is there already.
    assert.equal(relay.connections() - known, known - 1);
    assert.ok(relay.sent().includes('guess-of-known'), 'the relay sees what is sent');
    assert.ok(!relay.sent().includes('guess-of-unknown'), "another verifier's password was sent");
  });

  it('searches with the rights of the service account, whoever logged in before', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { verifier } = await openVerifier(t, driver, searching(slapd, details));
    for (const name of ['alice', 'Bob', 'alice', 'Bob']) {
      const password = name === 'alice' ? 'wonderland' : 'builder';
      assert.equal((await verifier.verify(passwordCredentials(name, password), o))?.name, name);
    }
  });

  it('any name finds the entry that has it, and no other', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const { verifier } = await openVerifier(t, driver, searching(slapd));
    // caseIgnoreMatch: case, and spaces at the ends and in rows, do not count.
    const prepared = (name: string) => name.trim().replace(/ +/g, ' ').toLowerCase();
    const present = new Set(['alice', 'bob', ...oddNames].map(prepared));
    const characters = [...'*()\\,+"<>;=#&|!~:/ abcilue2A\u00fc', 'alice', 'uid', '\\2a'];
    const names = fc.oneof(
      fc.array(fc.constantFrom(...characters), { minLength: 1, maxLength: 8 }).map((all) => all.join('')),
      fc
        .constantFrom('alice', ...oddNames)
        .chain((name) => fc.constantFrom(name, `${name} `, `${name}*`, `*${name}`)),
    );
    await fc.assert(
      fc.asyncProperty(names, async (name) => {
        const outcome = await failureOf(async () => {
          const found = await verifier.verify(passwordCredentials(name, 'a wrong password'), o);
          throw found ?? 'nobody';
        });
        const isPresent = present.has(prepared(name));
        assert.equal(outcome === 'nobody', !isPresent, `${JSON.stringify(name)}: ${String(outcome)}`);
      }),
      { numRuns: 150 },
    );
  });
});

describe('what an entry says of itself', () => {
  it('becomes attributes, one or a list, and is left out where it is absent', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const attributes = { email: 'MAIL', classes: 'objectClass', room: 'roomNumber' };
    const { verifier } = await openVerifier(t, driver, searching(slapd, { attributes }));
    const found = await verifier.verify(passwordCredentials('alice', 'wonderland'), o);
    assert.deepEqual(found?.attributes, { email: 'alice@example.com', classes: 'inetOrgPerson' });
    const twice = { search: { base: people, filter: '(cn={username})' }, usernameAttribute: 'cn' };
    const { verifier: other } = await openVerifier(
      t,
      driver,
      searching(slapd, { ...twice, attributes: { uids: 'uid' } }),
    );
    const both = await other.verify(passwordCredentials('two names', 'two'), o);
    assert.deepEqual(both?.attributes, { uids: ['first-name', 'second-name'] });
  });

  it('the credential has another version once the password was changed', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const dn = await addTemporary(t, slapd, 'changer', 'one');
    const settings = searching(slapd, { credentialVersionAttribute: 'pwdChangedTime' });
    const { verifier } = await openVerifier(t, driver, settings);
    const first = await verifier.verify(passwordCredentials('changer', 'one'), o);
    assert.ok(first?.credentialVersion, 'it has a version');
    assert.equal((await verifier.recheck?.(first, o))?.credentialVersion, first.credentialVersion);
    await slapd.setPassword(dn, 'two');
    const second = await verifier.recheck?.(first, o);
    assert.ok(second?.credentialVersion, 'it has a version');
    assert.notEqual(second.credentialVersion, first.credentialVersion);
  });
});
