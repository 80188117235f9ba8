import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ChainVerifier } from '../../src/decorators/chain-verifiers.js';
import { RegistryError } from '../../src/errors.js';
import { identityEnvelope } from '../../src/protocol/identity-envelope.js';
import { describeVerifierConformance, passwordCredentials } from '../../src/testing/conformance/verifier.js';
import { driver } from '../../src/verifiers/aws-sts.js';
import { maxLive } from '../../src/verifiers/machine/live-bindings.js';
import { owner } from './harness/aws-identities.js';
import { startSts, userIdOf } from './harness/aws-sts.js';
import {
  audience,
  refusalOf,
  roleArn,
  sessionArn,
  shown,
  startStsHouse,
  verify,
} from './harness/sts-house.js';

const signal = new AbortController().signal;
const minute = 60_000;
const stranger = '999999999999';

describeVerifierConformance(
  'aws-sts',
  async (t) => {
    const house = await startStsHouse(t);
    const ended = await house.proof({ now: house.clock.now() - 20 * minute });
    const foreign = await house.proof({
      keys: house.identities.session(sessionArn.replace(owner, stranger)),
    });
    return {
      verifier: await house.verifier(),
      id: 'aws',
      valid: [
        {
          credentials: passwordCredentials('_sts', identityEnvelope(await house.proof())),
          principal: { name: roleArn, kind: 'machine', groups: [] },
        },
        // As somebody shows it who made it by hand.
        {
          credentials: passwordCredentials('_sts', await house.proof()),
          principal: { name: roleArn },
        },
      ],
      invalid: [
        passwordCredentials('_sts', 'password'),
        passwordCredentials('_sts', ''),
        passwordCredentials('_sts', identityEnvelope(ended)),
        passwordCredentials('_sts', identityEnvelope(foreign)),
        passwordCredentials('_sts', `drp-id2.${ended}`),
        passwordCredentials('_sts', ` ${identityEnvelope(ended)}`),
      ],
      foreign: [
        passwordCredentials('alice', 'password'),
        passwordCredentials('_aws', identityEnvelope(ended)),
        passwordCredentials('_STS', identityEnvelope(ended)),
      ],
      break: () => house.world.remove(house.sts.host),
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('a principal', () => {
  test('of a role is the role, whatever the session', async (t) => {
    const house = await startStsHouse(t);
    const principal = await verify(await house.verifier(), await house.proof());
    assert.deepEqual(principal, {
      verifier: 'aws',
      name: roleArn,
      kind: 'machine',
      groups: [],
      attributes: {
        accountId: owner,
        partition: 'aws',
        region: 'eu-west-1',
        arn: sessionArn,
        userId: userIdOf(sessionArn).split(':')[0],
        role: 'node',
        sessionName: 'i-0123456789abcdef0',
      },
      expiresAt: principal?.expiresAt,
    });
    const second = Math.floor(house.clock.now() / 1000) * 1000;
    assert.equal(principal?.expiresAt, second + 15 * minute);
  });

  test('of a user is the user, with the path', async (t) => {
    const house = await startStsHouse(t);
    const arn = `arn:aws:iam::${owner}:user/ci/builder`;
    const proof = await house.proof({ keys: house.identities.keysOf(arn) });
    const principal = await verify(await house.verifier({ users: ['builder'] }), proof);
    const { accountId, user, role } = principal?.attributes ?? {};
    assert.deepEqual([principal?.name, accountId, user, role], [arn, owner, 'builder', undefined]);
  });

  test('of a region of a new form is found there, where it is named', async (t) => {
    const house = await startStsHouse(t);
    const { host } = startSts(house.world, house.identities, 'zz-upper-1');
    const proof = await house.proof({ region: 'zz-upper-1', host });
    assert.match(
      await refusalOf(verify(await house.verifier(), proof), house.identities.secrets),
      /the region zz-upper-1 is none that is known here; `regions` can name it/,
    );
    assert.deepEqual(house.world.requests, []);
    const verifier = await house.verifier({ regions: ['eu-west-1', 'zz-upper-1'] });
    assert.equal((await verify(verifier, proof))?.attributes.region, 'zz-upper-1');
  });

  test('of another partition is found there, by its own host', async (t) => {
    const house = await startStsHouse(t);
    const arn = `arn:aws-cn:sts::${owner}:assumed-role/node/x`;
    const sts = startSts(house.world, house.identities, 'cn-north-1');
    assert.equal(sts.host, 'sts.cn-north-1.amazonaws.com.cn');
    const keys = house.identities.session(arn);
    const proof = await house.proof({ keys, region: 'cn-north-1', host: sts.host });
    const principal = await verify(await house.verifier({ partitions: ['aws', 'aws-cn'] }), proof);
    assert.equal(principal?.name, `arn:aws-cn:iam::${owner}:role/node`);
  });

  test('ends with the request, at the latest after maxLife', async (t) => {
    const house = await startStsHouse(t);
    const now = Math.floor(house.clock.now() / 1000) * 1000;
    const ends = async (settings: object, signing: object) =>
      ((await verify(await house.verifier(settings), await house.proof(signing)))?.expiresAt ?? 0) - now;
    assert.equal(await ends({}, { life: 60 }), minute);
    assert.equal(await ends({}, { now: now - 5 * minute }), 10 * minute);
    assert.equal(await ends({ maxLife: '6m' }, { now: now - 5 * minute }), minute);
    // A clock ahead of ours makes it live no longer.
    const ahead = await ends({}, { now: now + minute });
    assert.ok(ahead < 15 * minute + 1000, `${ahead}`);
  });
});

describe('who counts', () => {
  const ofAccount = (account: string, resource: string, service = 'sts') =>
    `arn:aws:${service}::${account}:${resource}`;
  const session = ofAccount(owner, 'assumed-role/node/x');
  const user = ofAccount(owner, 'user/ci/builder', 'iam');
  const rows: readonly (readonly [who: string, settings: object, says?: RegExp])[] = [
    [session, {}],
    [session, { roles: ['node'] }],
    [session, { roles: ['no*'] }],
    [session, { roles: [roleArn] }],
    [session, { roles: ['arn:aws:iam::*:role/node'] }],
    [session, { roles: ['other', 'node'] }],
    [session, { accounts: [stranger, owner] }],
    [session, { regions: ['us-east-1', 'eu-west-1'] }],
    [
      session,
      { accounts: [stranger] },
      /the account 123456789012 is not one of `accounts` \(arn:aws:sts::123456789012:/,
    ],
    [
      session,
      { roles: ['nod'] },
      /the role arn:aws:iam::123456789012:role\/node is not one of `roles` \(arn:aws:sts::/,
    ],
    [session, { roles: ['ode'] }, /is not one of `roles`/],
    [session, { roles: ['NODE'] }, /is not one of `roles`/],
    [session, { roles: ['x'] }, /is not one of `roles`/],
    [session, { roles: [session] }, /is not one of `roles`/],
    [session, { roles: [`arn:aws:iam::${stranger}:role/node`] }, /is not one of `roles`/],
    [session, { roles: [], users: ['*'] }, /is not one of `roles`/],
    [ofAccount(stranger, 'assumed-role/node/x'), {}, /the account 999999999999 is not one of `accounts`/],
    [
      ofAccount(stranger, 'assumed-role/node/x'),
      { roles: [`arn:aws:iam::${stranger}:*`] },
      /is not one of `accounts`/,
    ],
    [ofAccount(owner, 'assumed-role/aws:ec2-instance/i-0123456789abcdef0'), { roles: ['aws:ec2-instance'] }],
    [
      user,
      {},
      /the user \S+:user\/ci\/builder is not one of `users` \(users is not set: are these keys of a person, in/,
    ],
    [user, { users: ['builder'] }],
    [user, { users: [user] }],
    [user, { users: [`arn:aws:iam::${owner}:user/ci/*`] }],
    [user, { users: ['ci/builder'] }, /is not one of `users`/],
    [user, { users: ['root'] }, /is not one of `users`$/],
    [ofAccount(stranger, 'user/builder', 'iam'), { users: ['*'] }, /is not one of `accounts`/],
    [ofAccount(owner, 'root', 'iam'), { users: ['*'] }, /:root is neither a role nor a user/],
    [ofAccount(owner, 'federated-user/bob'), { users: ['*'] }, /federated-user\/bob is neither/],
  ];
  for (const [who, settings, says] of rows) {
    test(`${who} with ${JSON.stringify(settings)}: ${says === undefined ? 'yes' : 'no'}`, async (t) => {
      const house = await startStsHouse(t);
      const isSession = who.includes('assumed-role') || who.includes('federated');
      const keys = isSession ? house.identities.session(who) : house.identities.keysOf(who);
      const asked = verify(await house.verifier(settings), await house.proof({ keys }));
      if (says === undefined) assert.ok(await asked, 'refused');
      else assert.match(await refusalOf(asked, house.identities.secrets), says);
    });
  }

  test('is not whose keys were revoked, have ended, or who signed for another', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const revoked = house.session();
    const proof = await house.proof({ keys: revoked });
    house.identities.revoke(revoked);
    assert.match(await refusalOf(verify(verifier, proof), []), /InvalidClientTokenId/);
    const ended = house.identities.session(sessionArn, -1000);
    assert.match(await refusalOf(verify(verifier, await house.proof({ keys: ended })), []), /ExpiredToken/);
    // Signed for another server, and shown with our name.
    const other = await house.proof({ audience: 'evil.example.com' });
    const renamed = other.replace('evil.example.com', audience);
    assert.match(await refusalOf(verify(verifier, renamed), []), /SignatureDoesNotMatch/);
    const changed = (await house.proof()).replace(
      /Signature=(.)/,
      (_, c) => `Signature=${c === '0' ? 1 : 0}`,
    );
    assert.match(await refusalOf(verify(verifier, changed), []), /SignatureDoesNotMatch/);
    const post = await house.proof({ method: 'POST' });
    assert.match(await refusalOf(verify(verifier, post), []), /SignatureDoesNotMatch/);
  });
});

describe('a request for another audience', () => {
  test('is left to another verifier, and noted once in a while', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const proof = await house.proof({ audience: 'other.example.com' });
    assert.equal(await verify(verifier, proof), undefined);
    assert.equal(await verify(verifier, proof), undefined);
    assert.deepEqual(house.world.requests, []);
    const lines = house.log.entries.filter(({ message }) => /another audience/.test(message));
    assert.deepEqual(
      lines.map(({ fields }) => fields),
      [{ id: 'aws', audiences: ['other.example.com'], expected: [audience], address: '192.0.2.1' }],
    );
  });

  test('finds its own of two in a chain, and nobody else is shown it', async (t) => {
    const house = await startStsHouse(t);
    let asked = 0;
    const chain = new ChainVerifier(
      new Map([
        [
          'local',
          {
            verify: async () => {
              asked++;
              return undefined;
            },
            close: async () => {},
          },
        ],
        ['one', await house.verifier({}, 'one')],
        ['two', await house.verifier({ audiences: ['other.example.com'] }, 'two')],
      ]),
    );
    const proof = await house.proof({ audience: 'other.example.com' });
    assert.equal((await verify(chain, proof))?.verifier, 'two');
    assert.equal(asked, 0);
  });
});

describe('a request that is shown again', () => {
  test('counts from the same address, and from no other (threat 20)', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    for (let i = 0; i < 3; i++) assert.ok(await verify(verifier, proof, '192.0.2.1'), 'the same address');
    const reason = await refusalOf(verify(verifier, proof, '192.0.2.2'), house.identities.secrets);
    assert.match(reason, /bound to 192\.0\.2\.1 at its first use .*now shown by 192\.0\.2\.2/);
    assert.ok(await verify(verifier, proof, '192.0.2.1'), 'the first one goes on');
    house.clock.advance(14 * minute);
    assert.ok(await verify(verifier, proof, '192.0.2.1'), 'near its end');
    await refusalOf(verify(verifier, proof, '192.0.2.2'), []);
  });

  test('in another order and coding is the same one', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    assert.ok(await verify(verifier, proof, '192.0.2.1'), 'first');
    const [before, query = ''] = proof.split('?');
    const turned = `${before}?${query.split('&').reverse().join('&').replaceAll('%2F', '/')}`;
    await refusalOf(verify(verifier, turned, '192.0.2.2'), []);
  });

  test('counts from the whole /64 of an IPv6 address', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    assert.ok(await verify(verifier, proof, '2001:db8::1'), 'first');
    assert.ok(await verify(verifier, proof, '2001:db8::2'), 'the same network');
    await refusalOf(verify(verifier, proof, '2001:db8:0:1::1'), []);
  });

  test('counts from anywhere without firstUse', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier({ firstUse: 'none' });
    const proof = await house.proof();
    assert.ok(await verify(verifier, proof, '192.0.2.1'), 'one');
    assert.ok(await verify(verifier, proof, '192.0.2.2'), 'another');
  });

  test('of two that are first at once one is', async (t) => {
    const house = await startStsHouse(t);
    const verifier = await house.verifier();
    const proof = await house.proof();
    const both = await Promise.allSettled(['192.0.2.1', '192.0.2.2'].map((a) => verify(verifier, proof, a)));
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  });

  test('is not bound by one who is refused', async (t) => {
    const house = await startStsHouse(t);
    const [one, two] = [await house.verifier({ roles: ['x'] }, 'same'), await house.verifier({}, 'same')];
    const proof = await house.proof();
    await refusalOf(verify(one, proof, '192.0.2.1'), []);
    assert.ok(await verify(two, proof, '192.0.2.2'), 'it was not bound');
  });
});

test('one session has so many proofs that count, and others go on', { timeout: 120_000 }, async (t) => {
  const house = await startStsHouse(t);
  const verifier = await house.verifier();
  const keys = house.session();
  const now = house.clock.now();
  // Each is another signature.
  const nth = (i: number) =>
    house.proof({ keys, now: now - Math.floor(i / 500) * 1000, life: 400 + (i % 500) });
  const first = await nth(0);
  for (let i = 0; i < maxLive; i++) assert.ok(await verify(verifier, await nth(i)), `proof ${i}`);
  const error = await verify(verifier, await nth(maxLive)).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof RegistryError, 'it is taken');
  assert.deepEqual([error.code, error.reason?.includes(sessionArn)], ['TOOMANYREQUESTS', true]);
  assert.ok((error.retryAfter ?? 0) > 390 && (error.retryAfter ?? 0) <= 400, `${error.retryAfter}`);
  assert.ok(await verify(verifier, first), 'one that is bound goes on');
  const other = house.identities.session(sessionArn.replace(/i-\w+$/, 'i-0fedcba9876543210'));
  assert.ok(await verify(verifier, await house.proof({ keys: other })), 'another session of the role');
  house.clock.advance(401_000);
  // The cloud's own clock goes on as ever.
  assert.ok(await verify(verifier, await house.proof({ keys, now })), 'one has ended');
});

test('a machine’s name is nobody else’s: a password for it is refused', async (t) => {
  const house = await startStsHouse(t);
  const verifier = await house.verifier();
  assert.equal(verifier.recognises?.(shown('password')), true);
  assert.match(await refusalOf(verifier.verify(shown('password'), { signal }), []), /no presigned request/);
  assert.match(await refusalOf(verifier.verify(shown('drp-id1'), { signal }), []), /envelope .* is damaged/);
  assert.match(await refusalOf(verifier.verify(shown('drp-id2.x'), { signal }), []), /of version 2/);
});

describe('a configuration', () => {
  const good = { accounts: [owner], audiences: [audience] };
  const rows: readonly (readonly [settings: object, says: RegExp])[] = [
    [{ ...good, accounts: undefined }, /expected a list of accounts: without it those of everybody/],
    [{ ...good, accounts: [] }, /expected at least one account/],
    [{ ...good, accounts: ['*'] }, /expected the 12 digits/],
    [{ ...good, accounts: [123456789012] }, /expected the 12 digits of an account, in quotes/],
    [{ ...good, audiences: undefined }, /expected a list of audiences/],
    [{ ...good, audiences: [] }, /expected at least one audience/],
    [{ ...good, audiences: [''] }, /expected a name without spaces/],
    [{ ...good, audiences: ['a?b'] }, /expected a name without spaces and question marks/],
    [{ ...good, audiences: ['a b'] }, /expected a name without spaces/],
    [{ ...good, audiences: ['a\nb'] }, /expected a name without spaces/],
    [{ ...good, roles: [] }, /leaves nobody/],
    [{ ...good, roles: 'node' }, /expected a list of roles/],
    [{ ...good, regions: [] }, /expected at least one region/],
    [{ ...good, regions: ['evil.com'] }, /expected a region such as eu-west-1/],
    [{ ...good, regions: ['cn-north-1'] }, /expected regions of `partitions`: cn-north-1 is of aws-cn/],
    [{ ...good, partitions: ['mars'] }, /expected one of aws-cn, .*aws/],
    [{ ...good, partitions: [] }, /expected at least one partition/],
    [{ ...good, maxLife: '16m' }, /at most 15m/],
    [{ ...good, clockSkew: '6m' }, /at most 5m/],
    [{ ...good, firstUse: 'nonce' }, /expected address or none/],
    [{ ...good, endpoint: 'https://evil.example.com' }, /endpoint/],
  ];
  for (const [settings, says] of rows) {
    test(`${JSON.stringify(settings)} is refused`, () => {
      const { success, error } = driver.config.safeParse(settings);
      assert.equal(success, false, 'it is taken');
      assert.match(error?.issues.map(({ message }) => message).join('; ') ?? '', says);
    });
  }
});
