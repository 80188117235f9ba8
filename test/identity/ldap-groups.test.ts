import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Principal } from '../../src/contracts/index.js';
import { passwordCredentials } from '../../src/testing/conformance/verifier.js';
import { driver } from '../../src/verifiers/ldap.js';
import { o, openVerifier } from './harness/open-verifier.js';
import { refusedBy } from './harness/refused-by.js';
import { sharedSlapd } from './harness/shared-slapd.js';
import { base, byTemplate, groups, searching } from './harness/slapd.js';

const tooMany = 1_001;

const directory = sharedSlapd(async (slapd) => {
  const alice = await slapd.addPerson('alice', 'wonderland');
  const odd = await slapd.addPerson('*)(cn=*', 'odd');
  const wheel = await slapd.addPerson('wheel', 'round');
  await slapd.addPerson('loner', 'nobody');
  const developers = await slapd.addGroup('developers', [alice]);
  const staff = await slapd.addGroup('staff', [developers]);
  await slapd.addGroup('everybody', [staff, odd]);
  // Each is a member of the next, and the last of the first.
  const [first, last] = [`cn=wheel-0,${groups}`, `cn=wheel-2,${groups}`];
  await slapd.addGroup('wheel-0', [wheel, last]);
  await slapd.addGroup('wheel-1', [first]);
  await slapd.addGroup('wheel-2', [`cn=wheel-1,${groups}`]);
  await slapd.add(`ou=other,${groups}`, { objectClass: 'organizationalUnit', ou: 'other' });
  const same = { objectClass: 'groupOfNames', cn: 'developers', member: alice };
  await slapd.add(`cn=developers,ou=other,${groups}`, same);
  await slapd.add(`cn=R\\2cD \\2b Co,ou=other,${groups}`, { ...same, cn: 'R,D + Co' });
  await slapd.add(`cn=unix,${groups}`, {
    ...{ objectClass: 'posixGroup', cn: 'unix', gidNumber: '1000' },
    memberUid: ['alice', '*)(cn=*'],
  });
  const climber = await slapd.addPerson('climber', 'high');
  let below = climber;
  for (let i = 0; i < 17; i++) below = await slapd.addGroup(`storey-${i}`, [below]);
});

const many = sharedSlapd(async (slapd) => {
  const joiner = await slapd.addPerson('joiner', 'all');
  await slapd.addMany(
    Array.from({ length: tooMany }, (_, i) => [
      `cn=group-${i},${groups}`,
      { objectClass: 'groupOfNames', cn: `group-${i}`, member: joiner },
    ]),
  );
});

const byMember = { base: groups, filter: '(member={dn})' };
const other = `ou=other,${groups}`;

describe('groups of a directory', () => {
  for (const [what, username, password, settings, expected] of [
    ['none are asked for', 'alice', 'wonderland', undefined, []],
    ['by memberOf', 'alice', 'wonderland', { attribute: 'memberof' }, ['R,D + Co', 'developers']],
    [
      'by memberOf, whole',
      'alice',
      'wonderland',
      { attribute: 'memberOf', name: 'dn' },
      [`cn=R\\2CD \\2B Co,${other}`, `cn=developers,${groups}`, `cn=developers,${other}`],
    ],
    [
      'by memberOf, by what they are not named by',
      'alice',
      'wonderland',
      { attribute: 'memberOf', name: 'ou' },
      [],
    ],
    ['by memberOf, where there are none', 'loner', 'nobody', { attribute: 'memberOf' }, []],
    ['by a search', 'alice', 'wonderland', { search: byMember }, ['R,D + Co', 'developers']],
    [
      'by a search of one level',
      'alice',
      'wonderland',
      { search: { ...byMember, scope: 'one' }, name: 'dn' },
      [`cn=developers,${groups}`],
    ],
    ['by a search that finds none', 'loner', 'nobody', { search: byMember }, []],
    [
      'by a search, nested',
      'alice',
      'wonderland',
      { search: byMember, nested: true },
      ['R,D + Co', 'developers', 'everybody', 'staff'],
    ],
    [
      'by a search, in a circle',
      'wheel',
      'round',
      { search: byMember, nested: true },
      ['wheel-0', 'wheel-1', 'wheel-2'],
    ],
    [
      'by a user name',
      'ALICE',
      'wonderland',
      { search: { base: groups, filter: '(&(objectClass=posixGroup)(memberUid={username}))' } },
      ['unix'],
    ],
    [
      'by a user name that is no filter',
      '*)(cn=*',
      'odd',
      { search: { base: groups, filter: '(memberUid={username})' } },
      ['unix'],
    ],
    ['by a DN that is no filter', '*)(cn=*', 'odd', { search: byMember }, ['everybody']],
    [
      'by either',
      'alice',
      'wonderland',
      { search: { base: groups, filter: '(|(member={dn})(memberUid={username}))' } },
      ['R,D + Co', 'developers', 'unix'],
    ],
  ] as const) {
    it(what, async (t) => {
      const slapd = await directory(t);
      if (slapd === undefined) return;
      for (const settingsOf of [searching, byTemplate]) {
        const given: object = settingsOf(slapd, { groups: settings });
        const { verifier } = await openVerifier(t, driver, given);
        const found: Principal | undefined = await verifier.verify(
          passwordCredentials(username, password),
          o,
        );
        assert.deepEqual([...(found?.groups ?? ['nobody'])].sort(), expected);
      }
    });
  }

  it('are those of now at a recheck', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const dn = await slapd.addPerson('joiner', 'in');
    const { verifier } = await openVerifier(t, driver, searching(slapd, { groups: { search: byMember } }));
    const before = await verifier.verify(passwordCredentials('joiner', 'in'), o);
    assert.deepEqual(before?.groups, []);
    const group = await slapd.addGroup('joiners', [dn]);
    assert.deepEqual((await verifier.recheck?.(before, o))?.groups, ['joiners']);
    await slapd.remove(group);
    assert.deepEqual((await verifier.recheck?.(before, o))?.groups, []);
  });

  it('nested too deep are not told in part', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const settings = { groups: { search: byMember, nested: true } };
    const { verifier } = await openVerifier(t, driver, searching(slapd, settings));
    const climber = passwordCredentials('climber', 'high');
    await refusedBy(verifier.verify(climber, o), 'UNAUTHORIZED', /nested deeper than 16/);
  });

  for (const [what, settings] of [
    // slapd gives no more than 500 entries unless it is told to.
    ['by a search that the server cuts', { search: byMember }],
    ['by memberOf', { attribute: 'memberOf' }],
  ] as const) {
    it(`too many are not told in part, ${what}`, async (t) => {
      const slapd = await many(t);
      if (slapd === undefined) return;
      const { verifier } = await openVerifier(t, driver, searching(slapd, { groups: settings }));
      const joiner = passwordCredentials('joiner', 'all');
      await refusedBy(verifier.verify(joiner, o), 'UNAUTHORIZED', /more than 1000 groups/);
      const known = { verifier: 'corp', name: 'joiner', kind: 'human', groups: [], attributes: {} } as const;
      assert.equal(await verifier.recheck?.(known, o), undefined);
    });
  }

  it('that cannot be searched are told of, and nobody has none', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const settings = { groups: { search: { ...byMember, base: `ou=gone,${base}` } } };
    for (const settingsOf of [searching, byTemplate]) {
      const { verifier } = await openVerifier(t, driver, settingsOf(slapd, settings));
      const alice = passwordCredentials('alice', 'wonderland');
      await refusedBy(verifier.verify(alice, o), 'UNAVAILABLE', /no such object \(32\)/);
    }
  });

  it('are those of the entry that was found, wherever it stands', async (t) => {
    const slapd = await directory(t);
    if (slapd === undefined) return;
    const settings = { search: { base, filter: '(&(objectClass=inetOrgPerson)(cn={username}))' } };
    const more = { ...settings, usernameAttribute: 'cn', groups: { search: byMember } };
    const { verifier } = await openVerifier(t, driver, searching(slapd, more));
    const found = await verifier.verify(passwordCredentials('alice', 'wonderland'), o);
    assert.deepEqual([...(found?.groups ?? [])].sort(), ['R,D + Co', 'developers']);
  });
});
