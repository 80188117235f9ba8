import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { azureNonce } from '../../src/protocol/azure-nonce.js';
import { identityEnvelope } from '../../src/protocol/identity-envelope.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  FakeClock,
  passwordCredentials,
} from '../../src/testing/index.js';
import { driver } from '../../src/verifiers/azure-identity.js';
import { azureTime, createAzureMachine } from './harness/azure-attested.js';
import {
  type AzureIdentityHouse,
  appId,
  audience,
  documentOf,
  o,
  openAzureIdentityHouse,
  openAzureVerifier,
  outcome,
  publisher,
  shown,
} from './harness/azure-identity-house.js';
import { element, signMessage } from './harness/azure-pki.js';

const minute = 60_000;

let house: AzureIdentityHouse;
const closers: (() => Promise<void> | void)[] = [];
before(async () => {
  house = await openAzureIdentityHouse({ after: (close) => void closers.unshift(close) });
});
after(async () => {
  for (const close of closers) await close();
});

describeVerifierConformance(
  'azure-identity',
  async (t) => {
    const own = await openAzureIdentityHouse(t);
    const { verifier } = await openAzureVerifier(t, own);
    const { subscriptionId, vmId } = own.machine;
    const document = documentOf(own);
    const token = own.entra.issue(own.identity, appId);
    const byToken = { name: `${own.entra.tenant}/${own.identity.objectId}`, kind: 'machine' } as const;
    const byDocument = { name: `${subscriptionId}/${vmId}`, kind: 'machine', groups: [] } as const;
    const forged = token.replace(/\.[^.]{4}([^.]*)$/, '.AAAA$1');
    return {
      verifier,
      id: 'azure',
      valid: [
        { credentials: shown(document), principal: byDocument },
        { credentials: passwordCredentials('_azure', document.toString('base64')), principal: byDocument },
        { credentials: shown(token), principal: byToken },
        { credentials: passwordCredentials('_azure', token), principal: byToken },
        { credentials: bearerCredentials(token), principal: byToken },
      ],
      invalid: [
        shown(forged),
        bearerCredentials(forged),
        passwordCredentials('_azure', 'wonderland'),
        passwordCredentials('_azure', 'drp-id1'),
        passwordCredentials('_azure', identityEnvelope(token).replace('drp-id1', 'drp-id2')),
        shown(document.subarray(1)),
        shown(documentOf(own, 'other.example.com')),
      ],
      foreign: [
        passwordCredentials('alice', 'wonderland'),
        passwordCredentials('alice', token),
        bearerCredentials('a.b.c'),
        bearerCredentials(document.toString('base64url')),
        bearerCredentials(own.entra.issue(own.identity, 'https://management.azure.com')),
        bearerCredentials(own.entra.issue(own.identity, appId, { xms_mirid: undefined })),
      ],
      break: () => own.world.remove(publisher),
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('a virtual machine', () => {
  test('is named by subscription and ID, and its login ends with its document', async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const { machine, clock } = house;
    const content = machine.content(azureNonce(audience, clock.now()), {
      subscriptionId: machine.subscriptionId.toUpperCase(),
      plan: { name: 'basic', product: 'builder', publisher: 'acme' },
    });
    const found = await outcome(verifier, shown(signMessage({ content, signer: house.signer })));
    assert.deepEqual(found, {
      verifier: 'azure',
      name: `${machine.subscriptionId}/${machine.vmId}`,
      kind: 'machine',
      groups: [],
      attributes: {
        subscriptionId: machine.subscriptionId,
        vmId: machine.vmId,
        sku: '22_04-lts-gen2',
        planName: 'basic',
        planProduct: 'builder',
        planPublisher: 'acme',
      },
      expiresAt: Math.floor(clock.now() / 1000) * 1000 + 15 * minute,
    });
  });

  for (const [what, passed, settings, accepted] of [
    ['at once', 0, {}, true],
    ['after a quarter of an hour', 15 * minute, {}, true],
    ['after more than that and what clocks may differ', 16 * minute + 1000, {}, false],
    ['after five hours, where that is wanted', 300 * minute, { maxAge: '6h' }, true],
    ['after six minutes, where five are wanted', 6 * minute + 1000, { maxAge: '5m' }, false],
    ['where our clock is slow', -minute + 1000, {}, true],
    ['where our clock is very slow', -2 * minute, {}, false],
  ] as const) {
    test(`${what} is ${accepted ? 'let in' : 'refused'}`, async (t) => {
      const own = { ...house, clock: new FakeClock(house.clock.now()) };
      const { verifier } = await openAzureVerifier(t, own, settings);
      const document = documentOf(house);
      own.clock.advance(passed);
      const found = await outcome(verifier, shown(document));
      if (accepted) assert.ok(typeof found !== 'string', String(found));
      else assert.match(String(found), /^UNAUTHORIZED.*(?:is too old: made 20|was made in the future: 20)/);
    });
  }
});

describe('a document that is refused', () => {
  const content = (more: Readonly<Record<string, unknown>> = {}, whom = audience, passed = 0) =>
    house.machine.content(azureNonce(whom, house.clock.now() + passed), more);
  const signed = (more?: Readonly<Record<string, unknown>>) =>
    signMessage({ content: content(more), signer: house.signer });
  const times = (created: number, expires: number) => ({
    timeStamp: {
      createdOn: azureTime(house.clock.now() + created),
      expiresOn: azureTime(house.clock.now() + expires),
    },
  });
  const other = randomUUID();
  const rows: Readonly<
    Record<string, readonly [proof: () => Buffer | string, reason: RegExp, settings?: object]>
  > = {
    'another subscription': [
      () =>
        createAzureMachine({ signer: house.signer, now: () => house.clock.now() }).document(
          azureNonce(audience, house.clock.now()),
        ),
      /the subscription [0-9a-f-]{36} is not one of `subscriptions` \(the virtual machine [0-9a-f-]{36}\)/,
    ],
    'no subscriptions in the settings': [
      () => signed(),
      /an attested document was shown, and no `subscriptions` are configured/,
      { subscriptions: undefined },
    ],
    'another audience': [
      () => documentOf(house, 'other.example.com'),
      /of the virtual machine .* has another nonce: it was made for none of docker\.example\.com, .*or too long ago, or the machine's clock is wrong$/,
    ],
    'the nonce that Azure makes by itself': [() => signed({ nonce: '20260101-120000' }), /has another nonce/],
    'no nonce': [() => signed({ nonce: undefined }), /is no attested document/],
    'a nonce that is a list': [
      () => signed({ nonce: [azureNonce(audience, house.clock.now())] }),
      /is no attested document/,
    ],
    'a nonce of long ago': [
      () => signMessage({ content: content({}, audience, -25 * minute), signer: house.signer }),
      /has another nonce/,
    ],
    'a nonce of what is to come': [
      () => signMessage({ content: content({}, audience, 10 * minute), signer: house.signer }),
      /has another nonce/,
    ],
    'made long ago': [() => signed(times(-20 * minute, 340 * minute)), /is too old: made 20/],
    'made in the future': [() => signed(times(5 * minute, 360 * minute)), /was made in the future: 20/],
    'an end that has come': [() => signed(times(-5 * minute, -2 * minute)), /is too old/],
    'no times': [() => signed({ timeStamp: undefined }), /is no attested document/],
    'times of another form': [
      () => signed({ timeStamp: { createdOn: new Date().toISOString(), expiresOn: '2099-01-01' } }),
      /is no attested document/,
    ],
    'a day that is not there': [
      () =>
        signed({ timeStamp: { createdOn: '13/45/26 01:00:00 -0000', expiresOn: '01/01/99 01:00:00 -0000' } }),
      /is no attested document/,
    ],
    'no subscription, as machines of the classic kind': [
      () => signed({ subscriptionId: '' }),
      /is no attested document with vmId, subscriptionId/,
    ],
    'a subscription that only begins as an ID': [
      () => signed({ subscriptionId: `${house.machine.subscriptionId}/../x` }),
      /is no attested document/,
    ],
    'no machine': [() => signed({ vmId: '' }), /is no attested document/],
    'content that is no JSON': [
      () => signMessage({ content: Buffer.from('{'), signer: house.signer }),
      /is no attested document/,
    ],
    'a subscription twice': [
      () => {
        const text = content().toString().replace('{', `{"subscriptionId":"${other}",`);
        return signMessage({ content: Buffer.from(text), signer: house.signer });
      },
      /is no attested document with .*, each once/,
    ],
    'a time twice, within': [
      () => {
        const text = content().toString().replace('"timeStamp":{', `"timeStamp":{"created\\u004fn":"",`);
        return signMessage({ content: Buffer.from(text), signer: house.signer });
      },
      /is no attested document with .*, each once/,
    ],
    'bytes that are no UTF-8': [
      () => {
        const text = content({ sku: '\u00ff' }).toString();
        return signMessage({ content: Buffer.from(text, 'latin1'), signer: house.signer });
      },
      /is no attested document/,
    ],
    'content that is a list': [
      () => signMessage({ content: Buffer.from('[]'), signer: house.signer }),
      /is no attested document/,
    ],
    'other content than what was signed': [
      () => signMessage({ content: content({ vmId: other }), shown: content(), signer: house.signer }),
      /the signature of the document is not by its signer's key/,
    ],
    'something behind it': [
      () => Buffer.concat([signed(), Buffer.from([0])]),
      /it is no attested document: /,
    ],
    'two in one': [() => Buffer.concat([signed(), signed()]), /it is no attested document: /],
    'its end missing': [() => signed().subarray(0, -1), /it is no attested document: /],
    'a giant': [() => Buffer.alloc(8_900, 0x30), /it is no attested document: /],
    'a deep one': [() => nested(500), /it is no attested document: /],
    nothing: [() => '', /it is neither an attested document nor a token/],
    'no base64': [() => '{"signature":"MIIL"}', /it is neither an attested document nor a token/],
  };
  for (const [what, [proof, reason, settings]] of Object.entries(rows)) {
    test(`${what}: ${reason.source}`, async (t) => {
      const { verifier, state } = await openAzureVerifier(t, house, settings);
      const found = await outcome(verifier, shown(proof()));
      assert.match(String(found), new RegExp(`^UNAUTHORIZED.*${reason.source}`));
      assert.deepEqual(await state.list('', o), [], 'what is refused is bound');
    });
  }

  test('with one bit changed it is refused, or it is the same machine', { timeout: 120_000 }, async (t) => {
    const { verifier } = await openAzureVerifier(t, house);
    const document = documentOf(house);
    const right = await outcome(verifier, shown(document));
    assert.ok(typeof right !== 'string', String(right));
    let refusals = 0;
    for (let i = 0; i < document.length; i++) {
      const changed = Buffer.from(document);
      changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
      const found = await outcome(verifier, shown(changed));
      if (typeof found === 'string') refusals++;
      else assert.deepEqual(found, right, `another principal by a bit of byte ${i}`);
    }
    assert.ok(refusals > document.length * 0.9, `only ${refusals} of ${document.length} are refused`);
  });
});

function nested(depth: number): Buffer {
  let inner = element(0x05);
  for (let i = 0; i < depth; i++) inner = element(0x30, inner);
  return inner;
}

describe('a proof is bound to the address that showed it first', () => {
  const bound =
    /^UNAUTHORIZED a machine's proof is refused: the proof of [0-9a-f-]{36}\/[0-9a-f-]{36} was bound to 192\.0\.2\.1 at its first use/;
  const respelled: Readonly<Record<string, () => readonly [Buffer | string, Buffer | string]>> = {
    'a document': () => {
      const document = documentOf(house);
      return [document, document];
    },
    'a document in another spelling': () => {
      const document = documentOf(house);
      return [document, document.toString('base64')];
    },
    'a document with more certificates in it': () => {
      const content = house.machine.content(azureNonce(audience, house.clock.now()));
      const { signer, authorities } = house;
      const more = signMessage({ content, signer, certificates: [signer, authorities.issuing] });
      return [signMessage({ content, signer }), more];
    },
    'a token': () => {
      const token = house.entra.issue(house.identity, appId);
      return [token, token];
    },
    'a token whose signature is spelled in another way': () => {
      const token = house.entra.issue(house.identity, appId);
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const last = alphabet.indexOf(token.slice(-1));
      return [token, `${token.slice(0, -1)}${alphabet[last ^ 1]}`];
    },
  };
  for (const [what, proofs] of Object.entries(respelled)) {
    test(what, async (t) => {
      const { verifier, state } = await openAzureVerifier(t, house);
      const [first, second] = proofs();
      for (const [proof, address] of [
        [first, '192.0.2.1'],
        [second, '192.0.2.1'],
      ] as const) {
        const found = await outcome(verifier, shown(proof, address));
        assert.ok(typeof found !== 'string', `${address}: ${found}`);
      }
      assert.match(String(await outcome(verifier, shown(second, '192.0.2.2'))), bound);
      const kept = await state.list('', o);
      assert.deepEqual([kept.length, kept[0]?.key.startsWith('first-use/azure/proof/')], [1, true]);
    });
  }

  test('and counts from anywhere where that is wanted', async (t) => {
    const { verifier, state } = await openAzureVerifier(t, house, { firstUse: 'none' });
    const document = documentOf(house);
    for (const address of ['192.0.2.1', '192.0.2.2']) {
      const found = await outcome(verifier, shown(document, address));
      assert.ok(typeof found !== 'string', String(found));
    }
    assert.deepEqual(await state.list('', o), []);
  });

  test('until it ends', async (t) => {
    const own = await openAzureIdentityHouse(t);
    const { verifier, state } = await openAzureVerifier(t, own);
    const found = await outcome(verifier, shown(documentOf(own)));
    assert.ok(typeof found !== 'string', String(found));
    own.clock.advance(16 * minute);
    assert.deepEqual(await state.list('', o), []);
  });
});

describe('the settings', () => {
  const id = randomUUID();
  for (const [what, settings, message] of [
    ['nobody in particular', { audiences: ['a'] }, /subscriptions.*is missing: without it, or `tenants`/s],
    [
      'no subscription',
      { audiences: ['a'], subscriptions: [] },
      /expected at least one of the subscriptions/,
    ],
    ['no tenant', { audiences: ['a'], tenants: [] }, /expected at least one of the tenants/],
    [
      'a name of a tenant',
      { audiences: ['a'], tenants: ['contoso.onmicrosoft.com'] },
      /expected an ID such as/,
    ],
    ['no audience', { subscriptions: [id], audiences: [] }, /expected at least one audience/],
    ['audiences missing', { subscriptions: [id] }, /expected a list of audiences/],
    ['what there is not', { subscriptions: [id], audiences: ['a'], regions: [] }, /regions/],
  ] as const) {
    test(`refuse ${what}`, () => {
      const parsed = driver.config.safeParse(settings);
      assert.match(JSON.stringify(parsed.error?.issues), message);
    });
  }

  for (const [what, pem, message] of [
    ['no certificate', 'nothing', /roots\.pem holds no certificate/],
    ['that of no authority', () => house.signer.pem, /certificate 1 is not an authority/],
  ] as const) {
    test(`refuse a file of roots with ${what}, at the start`, async (t) => {
      house.write('roots.pem', typeof pem === 'string' ? pem : pem());
      await assert.rejects(openAzureVerifier(t, house, { roots: 'roots.pem' }), message);
    });
  }

  test('trust no other root than those of DigiCert and Microsoft by themselves', async (t) => {
    const { verifier } = await openAzureVerifier(t, house, { roots: undefined });
    assert.match(String(await outcome(verifier, shown(documentOf(house)))), /^UNAUTHORIZED.*is not known/);
  });
});
