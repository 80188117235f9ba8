import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { azureNonce } from '../../src/protocol/azure-nonce.js';
import { machineUsers } from '../../src/protocol/identity-envelope.js';
import { document, startAwsDocuments } from '../clouds/harness/aws-documents.js';
import { createAzureMachine } from '../clouds/harness/azure-attested.js';
import { type Front, type Scope, sharedScope } from '../harness/index.js';
import {
  account,
  assertNotLogged,
  audience,
  gcpToken,
  login,
  type MachineHouse,
  openMachineHouse,
  otherAccount,
  type Shown,
  sessionOf,
  shown,
  stsProofOf,
  subscription,
} from './machine-house.js';

const first = '203.0.113.1';
const thief = '198.51.100.7';

const names = ['aws-sts', 'gcp-identity', 'azure document', 'azure token', 'aws-identity'];

/** One way to log in, as it is met through the whole proxy. */
interface Way {
  readonly name: string;
  readonly verifier: string;
  /** A proof of a machine that is allowed; another one each time, but for what never ends. */
  good(): Promise<Shown>;
  /** The same proof, written otherwise. */
  respelled?(one: Shown): Shown;
  /** Some that are refused, the first of them of somebody else's machine; others each time. */
  bad(): Promise<readonly Shown[]>;
}

function changed({ user, password }: Shown, change: (proof: string) => string): Shown {
  return shown(user, change(password.slice('drp-id1.'.length)));
}

/** Without its envelope. */
function bare({ user, password }: Shown): Shown {
  return { user, password: password.slice('drp-id1.'.length) };
}

/** The last character of a signature in base64url has bits that nobody reads. */
function otherLastCharacter(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return token.slice(0, -1) + alphabet[alphabet.indexOf(token.slice(-1)) ^ 1];
}

function waysOf(house: MachineHouse, scope: Scope): readonly Way[] {
  const { identities, google, entra, azureSigner, azureVerifier, way } = house;
  const documents = startAwsDocuments(['eu-west-1']);
  scope.after(() => documents.close());
  let count = 0;
  const documentOf = (more: object = {}) => {
    const instanceId = `i-${(count++).toString(16).padStart(17, '0')}`;
    const text = documents.sign({ ...document, instanceId, ...more });
    return Buffer.from(text, 'base64').toString('base64url');
  };
  const azureDocument = (whom = audience, subscriptionId = subscription) => {
    const machine = createAzureMachine({ signer: azureSigner, subscriptionId });
    return machine.document(azureNonce(whom, Date.now())).toString('base64url');
  };
  const vm = (of: string) =>
    `/subscriptions/${of}/resourcegroups/builders/providers/Microsoft.Compute/virtualMachines/one`;
  const identity = entra.register({ claims: { xms_mirid: vm(subscription) } });
  const azureToken = (whom = audience, claims = {}) => entra.issue(identity, whom, claims);
  return [
    {
      name: 'aws-sts',
      verifier: `{ id: sts, type: aws-sts, audiences: [${audience}], accounts: ["${account}"], ${way} }`,
      good: async () => shown(machineUsers.sts, await stsProofOf(sessionOf(identities))),
      respelled: (one) =>
        changed(one, (proof) => {
          const [whom, query = ''] = proof.split('?');
          return `${whom}?${query.split('&').reverse().join('&')}`;
        }),
      bad: async () => [
        shown(machineUsers.sts, await stsProofOf(sessionOf(identities, otherAccount))),
        shown(machineUsers.sts, await stsProofOf(sessionOf(identities), 'other.example.com')),
        { user: machineUsers.sts, password: await stsProofOf(sessionOf(identities), 'other.example.com') },
        shown(machineUsers.sts, `nonsense-${count++}`),
      ],
    },
    {
      name: 'gcp-identity',
      verifier: `{ id: gcp, type: gcp-identity, audiences: [${audience}], projects: [acme-build], ${way} }`,
      good: async () => shown(machineUsers.gcp, gcpToken(google)),
      respelled: (one) => changed(one, otherLastCharacter),
      bad: async () => [
        shown(machineUsers.gcp, gcpToken(google, audience, 'somebody-elses')),
        shown(machineUsers.gcp, gcpToken(google, 'other.example.com')),
        { user: machineUsers.gcp, password: gcpToken(google, 'other.example.com') },
        shown(machineUsers.gcp, google.standardToken(audience, { jti: String(count++) })),
        shown(machineUsers.gcp, `nonsense-${count++}`),
      ],
    },
    {
      name: 'azure document',
      verifier: azureVerifier,
      good: async () => shown(machineUsers.azure, azureDocument()),
      respelled: (one) => changed(one, (proof) => Buffer.from(proof, 'base64url').toString('base64')),
      bad: async () => [
        shown(machineUsers.azure, azureDocument(audience, randomUUID())),
        shown(machineUsers.azure, azureDocument('other.example.com')),
        shown(machineUsers.azure, `nonsense${count++}`),
      ],
    },
    {
      name: 'azure token',
      verifier: azureVerifier,
      good: async () => shown(machineUsers.azure, azureToken()),
      respelled: (one) => changed(one, otherLastCharacter),
      bad: async () => [
        shown(machineUsers.azure, azureToken(audience, { xms_mirid: vm(randomUUID()) })),
        shown(machineUsers.azure, azureToken(audience, { xms_mirid: undefined })),
        shown(machineUsers.azure, azureToken('other.example.com')),
        { user: machineUsers.azure, password: azureToken('other.example.com') },
      ],
    },
    {
      name: 'aws-identity',
      verifier: `{ id: doc, type: aws-identity, certificates: "${documents.directory}", accounts: ["${account}"] }`,
      good: async () => shown(machineUsers.aws, documentOf()),
      respelled: (one) => changed(one, (proof) => Buffer.from(proof, 'base64url').toString('base64')),
      bad: async () => [
        shown(machineUsers.aws, documentOf({ accountId: otherAccount })),
        shown(machineUsers.aws, `nonsense${count++}`),
        { user: machineUsers.aws, password: `nonsense${count++}` },
      ],
    },
  ];
}

function verifiersOf(ways: readonly Way[]): readonly string[] {
  return [...new Set(ways.map(({ verifier }) => verifier))];
}

describe('threat 20: what a machine shows is copied and shown again', () => {
  const life = sharedScope();
  const ready = (async () => {
    const house = await openMachineHouse(life);
    const ways = waysOf(house, life);
    const open = (scope: Scope, settings?: (verifier: string) => string) =>
      house.open(
        scope,
        verifiersOf(ways).map((verifier) => settings?.(verifier) ?? verifier),
      );
    return { ways, open, front: await open(life) };
  })();
  const wayOf = async (name: string) => {
    const { ways, front } = await ready;
    const way = ways.find((one) => one.name === name) ?? assert.fail(`no way ${name}`);
    return { way, front };
  };

  for (const name of names) {
    describe(name, () => {
      test('from another address it is refused, and the first one goes on', async (t) => {
        const { way, front } = await wayOf(name);
        const good = await way.good();
        assertNotLogged(t, front, good);
        const { principal, reason: why } = await login(front, good, first);
        assert.ok(principal, why);
        for (let i = 0; i < 3; i++) {
          const { status, reason } = await login(front, good, thief);
          assert.equal(status, 401);
          assert.match(
            reason,
            /was bound to 203\.0\.113\.1 at its first use .* now shown by 198\.51\.100\.7/,
          );
          assert.equal((await login(front, good, first)).principal, principal);
        }
      });

      test('written otherwise it is the same one', async () => {
        const { way, front } = await wayOf(name);
        const good = await way.good();
        const again = way.respelled?.(good) ?? assert.fail('there is no other spelling');
        assert.notEqual(again.password, good.password);
        assert.equal((await login(front, good, first)).status, 200);
        const { status, reason } = await login(front, again, thief);
        assert.equal(status, 401, 'it counts as another one');
        assert.match(reason, /was bound|signature/);
        assert.equal((await login(front, good, first)).status, 200);
      });

      test('of two addresses at once one is first', async () => {
        const { way, front } = await wayOf(name);
        const good = await way.good();
        const addresses = Array.from({ length: 8 }, (_, i) => `203.0.113.${10 + i}`);
        const all = await Promise.all(addresses.map((address) => login(front, good, address)));
        assert.equal(all.filter(({ status }) => status === 200).length, 1, 'one is let in');
        assert.equal(all.filter(({ status }) => status === 401).length, 7, 'all others are refused');
      });

      test('many logins of one machine at once are all let in', async () => {
        const { way, front } = await wayOf(name);
        const good = await way.good();
        const all = await Promise.all(Array.from({ length: 8 }, () => login(front, good, first)));
        assert.deepEqual(
          all.map(({ status }) => status),
          all.map(() => 200),
        );
      });

      test('a neighbour within the /64 is the same address, one outside is not', async () => {
        const { way, front } = await wayOf(name);
        const good = await way.good();
        for (const [address, status] of [
          ['2001:db8:1:2::1', 200],
          ['2001:db8:1:2:ffff::2', 200],
          ['2001:db8:1:3::1', 401],
          ['::ffff:203.0.113.1', 401],
        ] as const) {
          assert.equal((await login(front, good, address)).status, status, address);
        }
      });

      test('an address that nobody trusted has told does not count', async () => {
        const { way, front } = await wayOf(name);
        const good = await way.good();
        assert.equal((await login(front, good, first)).status, 200);
        // 127.0.0.2 is not among `trustedProxies`.
        const { status, reason } = await login(front, good, first, '127.0.0.2');
        assert.equal(status, 401);
        assert.match(reason, /now shown by 127\.0\.0\.2/);
      });

      test('`firstUse: none` lets it in from anywhere', async (t) => {
        const { ways, open } = await ready;
        const way = ways.find((one) => one.name === name) ?? assert.fail(`no way ${name}`);
        const front = await open(t, (verifier) => verifier.replace(' }', ', firstUse: none }'));
        const good = await way.good();
        for (const address of [first, thief]) assert.equal((await login(front, good, address)).status, 200);
      });
    });
  }
});

describe('threat 27: refused machines lock out a good one behind the same address', () => {
  const life = sharedScope();
  const ready = (async () => {
    const house = await openMachineHouse(life);
    const ways = waysOf(house, life);
    const front: Front = await house.open(life, verifiersOf(ways));
    return { ways, front };
  })();

  for (const name of names) {
    test(name, async () => {
      const { ways, front } = await ready;
      const way = ways.find((one) => one.name === name) ?? assert.fail(`no way ${name}`);
      const kinds = (await way.bad()).length;
      for (let kind = 0; kind < kinds; kind++) {
        for (let i = 0; i < 12; i++) {
          const bad = (await way.bad())[kind] ?? assert.fail('none');
          const { status, reason } = await login(front, bad, first);
          // Without an envelope it may be anybody's password, and is slowed down like one.
          const expected = bad.password.startsWith('drp-id1.') ? [401] : [401, 429];
          assert.ok(expected.includes(status), `${status} to the ${i + 1}. of kind ${kind}: ${reason}`);
        }
        const { status, reason } = await login(front, await way.good(), first);
        assert.equal(status, 200, `after those of kind ${kind}: ${reason}`);
      }
    });

    test(`${name}, shown as it is`, async () => {
      const { ways, front } = await ready;
      const way = ways.find((one) => one.name === name) ?? assert.fail(`no way ${name}`);
      for (let i = 0; i < 12; i++) {
        const [bad] = await way.bad();
        const { status, reason } = await login(front, bare(bad ?? assert.fail('none')), thief);
        assert.equal(status, 401, reason);
      }
      const { status, reason } = await login(front, bare(await way.good()), thief);
      assert.equal(status, 200, reason);
    });
  }

  test('guesses under an ordinary name are slowed down all the same', async () => {
    const { front } = await ready;
    let last = 0;
    for (let i = 0; i < 12; i++) {
      const guess = { user: 'alice' as Shown['user'], password: `guess-${i}` };
      last = (await login(front, guess, first)).status;
    }
    assert.equal(last, 429);
  });
});
