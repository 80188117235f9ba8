import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { RegistryError } from '../../src/errors.js';
import { machineUsers } from '../../src/protocol/identity-envelope.js';
import { MemoryStateStore } from '../../src/state-stores/memory.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  passwordCredentials,
} from '../../src/testing/conformance/verifier.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { document, lines, startAwsDocuments } from './harness/aws-documents.js';
import {
  accepted,
  openVerifier,
  realVectors,
  refusal,
  shown,
  withPassword,
} from './harness/aws-identity-house.js';

const documents = startAwsDocuments(['eu-west-1', 'us-east-1', 'cn-north-1', 'zz-upper-1']);
after(() => documents.close());
const { directory } = documents;
const name = `${document.accountId}/${document.instanceId}`;
const good = documents.sign(document);
const bytes = Buffer.from(good, 'base64');

describeVerifierConformance(
  'aws-identity',
  async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    const verifier = await openVerifier(t, { certificates: directory }, { clock, state });
    return {
      verifier,
      id: 'aws',
      valid: [{ credentials: shown(good), principal: { name, kind: 'machine', groups: [] } }],
      invalid: [
        shown(documents.sign({ ...document, accountId: '210987654321' })),
        withPassword('drp-id1.AAAA'),
        withPassword('drp-id2.AAAA'),
        withPassword('hunter2-hunter2'),
      ],
      foreign: [
        passwordCredentials('alice', good.replace(/\s/g, '')),
        passwordCredentials(machineUsers.sts, 'x'),
        bearerCredentials('x'),
      ],
      break: () => {
        const broken = new RegistryError('UNAVAILABLE', { reason: 'the state is broken' });
        state.get = () => Promise.reject(broken);
      },
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('an instance', () => {
  test('is what its document says', async (t) => {
    const verifier = await openVerifier(t, { certificates: directory });
    assert.deepEqual(await accepted(verifier, shown(good)), {
      verifier: 'aws',
      name,
      kind: 'machine',
      groups: [],
      attributes: {
        accountId: '123456789012',
        instanceId: 'i-0a1b2c3d4e5f60718',
        region: 'eu-west-1',
        partition: 'aws',
        availabilityZone: 'eu-west-1b',
        instanceType: 'm6i.large',
        imageId: 'ami-0123456789abcdef0',
        architecture: 'x86_64',
        privateIp: '10.0.0.209',
        pendingTime: '2026-01-01T00:00:00Z',
      },
    });
  });

  const bare = good.replace(/\s/g, '');
  const forms: Readonly<Record<string, string>> = {
    'in an envelope, as its source writes it': `drp-id1.${bytes.toString('base64url')}`,
    'in an envelope, as the metadata service writes it': `drp-id1.${bare}`,
    'without an envelope': bare,
    'without an envelope, in the other alphabet': bytes.toString('base64url'),
    'with a nonce that nobody asks for': `drp-id1.${bytes.toString('base64url')}.${'n'.repeat(43)}`,
  };
  for (const [form, password] of Object.entries(forms)) {
    test(`logs in ${form}`, async (t) => {
      const verifier = await openVerifier(t, { certificates: directory });
      assert.equal((await accepted(verifier, withPassword(password))).name, name);
    });
  }

  test('has what AWS leaves out not among its attributes, and new fields are no matter', async (t) => {
    const verifier = await openVerifier(t, { certificates: directory });
    const { architecture: _, ...rest } = document;
    const text = documents.sign({ ...rest, privateIp: null, imageId: null, soon: { more: [1, 2] } });
    const { attributes } = await accepted(verifier, shown(text));
    assert.deepEqual(Object.keys(attributes).sort(), [
      ...[
        'accountId',
        'availabilityZone',
        'instanceId',
        'instanceType',
        'partition',
        'pendingTime',
        'region',
      ],
    ]);
  });

  test('stays good after years, for its document never ends', async (t) => {
    const clock = new FakeClock(Date.now());
    const verifier = await openVerifier(t, { certificates: directory }, { clock });
    await accepted(verifier, shown(good));
    clock.advance(80 * 24 * 3_600_000);
    assert.equal((await accepted(verifier, shown(good))).name, name);
  });
});

const rules: Readonly<
  Record<string, readonly [settings: object, change: object, says: RegExp, allowed?: object]>
> = {
  'another account': [
    {},
    { accountId: '210987654321' },
    /the account 210987654321 is not one of `accounts` \(210987654321\/i-0a1b2c3d4e5f60718\)/,
  ],
  'another region': [
    { regions: ['eu-west-1'] },
    { region: 'us-east-1' },
    /the region us-east-1 is not one of `regions` \(123456789012\/i-0a1b2c3d4e5f60718\)/,
  ],
  'another type': [
    { instanceTypes: ['t3.*', 'm6i.*'] },
    { instanceType: 'am6i.large' },
    /the instance type am6i\.large is not one of `instanceTypes` \(123/,
  ],
  'a type that only begins so': [
    { instanceTypes: ['m6i.large'] },
    { instanceType: 'm6i.large2' },
    /the instance type m6i\.large2 is/,
  ],
  'no type': [{ instanceTypes: ['*.large'] }, { instanceType: null }, /the instance type \(none\) is not/],
  'another image': [
    { imageIds: ['ami-0123456789abcdef0'] },
    { imageId: 'ami-0123456789abcdef1' },
    /the image ami-0123456789abcdef1 is not one of `imageIds` \(123/,
  ],
  'no image': [{ imageIds: ['ami-*'] }, { imageId: null }, /the image \(none\) is not/],
};
describe('what is not allowed is refused:', () => {
  for (const [what, [settings, change, says]] of Object.entries(rules)) {
    test(what, async (t) => {
      const verifier = await openVerifier(t, { certificates: directory, ...settings });
      assert.match(await refusal(verifier, shown(documents.sign({ ...document, ...change }))), says);
      assert.equal((await accepted(verifier, shown(good))).name, name, 'and nothing else is');
    });
  }
});

describe('another partition of AWS,', () => {
  const china = documents.sign({ ...document, region: 'cn-north-1' });

  test('where somebody else may have the number of an account, is refused', async (t) => {
    const verifier = await openVerifier(t, { certificates: directory });
    assert.match(
      await refusal(verifier, shown(china)),
      /the partition aws-cn is not one of `partitions` \(cn-north-1, aws-cn\/123456789012\/i-0a1b2c3d4e5f60718\)/,
    );
  });

  test('has names and bindings of its own', async (t) => {
    const clock = new FakeClock(Date.now());
    const state = new MemoryStateStore(clock);
    const settings = { certificates: directory, partitions: ['aws', 'aws-cn'] };
    const verifier = await openVerifier(t, settings, { clock, state });
    const principal = await accepted(verifier, shown(china, { address: '192.0.2.1' }));
    assert.equal(principal.name, `aws-cn/${name}`);
    assert.equal(principal.attributes.partition, 'aws-cn');
    assert.equal((await accepted(verifier, shown(good, { address: '192.0.2.2' }))).name, name);
    const keys = (await state.list('', { signal: new AbortController().signal })).map(({ key }) => key);
    assert.deepEqual(keys, [`first-use/aws/${name}`, `first-use/aws/aws-cn/${name}`]);
  });

  test('can be the only one', async (t) => {
    const verifier = await openVerifier(t, { certificates: directory, partitions: ['aws-cn'] });
    assert.match(await refusal(verifier, shown(good)), /the partition aws is not one of `partitions`/);
    assert.equal((await accepted(verifier, shown(china))).name, `aws-cn/${name}`);
  });

  test('that is not known here is none by chance: its region must be named', async (t) => {
    const upper = documents.sign({ ...document, region: 'zz-upper-1' });
    const verifier = await openVerifier(t, { certificates: directory });
    assert.match(await refusal(verifier, shown(upper)), /the region zz-upper-1 is none that is known here/);
    const named = await openVerifier(t, { certificates: directory, regions: ['zz-upper-1'] });
    assert.equal((await accepted(named, shown(upper))).name, name);
  });

  for (const [settings, says] of [
    [{ regions: ['cn-north-1'] }, /expected regions of `partitions`: cn-north-1 is of aws-cn/],
    [{ partitions: [] }, /expected at least one partition/],
    [{ partitions: ['mars'] }, /expected one of aws-cn, /],
  ] as const) {
    test(`is not what ${JSON.stringify(settings)} says`, async (t) => {
      await assert.rejects(openVerifier(t, { certificates: directory, ...settings }), says);
    });
  }
});

describe('what AWS would not write is refused:', () => {
  const fields: Readonly<Record<string, readonly [change: object | string, says: RegExp]>> = {
    'an account that is a number': [{ accountId: 123456789012 }, /the field accountId of its document/],
    'an account of 11 digits': [{ accountId: '12345678901' }, /the field accountId/],
    'no instance': [{ instanceId: undefined }, /the field instanceId/],
    'an instance with a slash': [{ instanceId: 'i-0a1b2c3d/../x' }, /the field instanceId/],
    'an instance with more behind it': [{ instanceId: 'i-0a1b2c3d4e5f60718\n' }, /the field instanceId/],
    'a region that is a host': [{ region: 'eu-west-1.evil.example' }, /the field region/],
    'no launch': [{ pendingTime: null }, /the field pendingTime/],
    'a launch that is no time': [{ pendingTime: 'yesterday' }, /the field pendingTime/],
    'a type that is a list': [{ instanceType: ['m6i.large'] }, /the field instanceType/],
    'an address that is none': [{ privateIp: 'localhost' }, /the field privateIp/],
    'a list': ['[]', /what AWS signed is no identity document/],
    'no JSON': ['accountId=123456789012', /what AWS signed is no identity document/],
    nothing: [' ', /what AWS signed is no identity document/],
    'a key twice': [
      JSON.stringify(document).replace('{', '{"accountId":"210987654321",'),
      /is no identity document, or one that says something twice/,
    ],
  };
  for (const [what, [change, says]] of Object.entries(fields)) {
    test(what, async (t) => {
      const verifier = await openVerifier(t, { certificates: directory });
      const content = typeof change === 'string' ? change : { ...document, ...change };
      const text = documents.sign(content, documents.signer('eu-west-1'));
      assert.match(await refusal(verifier, shown(text)), says);
    });
  }
});

describe('a signature that proves nothing is refused:', () => {
  const stranger = documents.stranger('stranger');
  const other = documents.signer('us-east-1');
  const cases: Readonly<Record<string, readonly [text: string, says: RegExp]>> = {
    'of a certificate that nobody pinned': [
      documents.sign(document, stranger),
      /signed by a certificate that is not pinned \(serial number [0-9a-f]{20,40}\)/,
    ],
    'of a stranger, whose certificate is embedded': [
      documents.sign(document, stranger, { embedded: true }),
      /certificates are embedded in its document/,
    ],
    'of the region, with its certificate embedded': [
      documents.sign(document, undefined, { embedded: true }),
      /certificates are embedded in its document/,
    ],
    'of another region': [
      documents.sign(document, other),
      /the document of i-0a1b2c3d4e5f60718 says that it is of eu-west-1, and us-east-1 signed it/,
    ],
    'of two': [documents.sign(document, undefined, { second: other }), /its document cannot be read: /],
    'of a stranger beside the region': [
      documents.sign(document, undefined, { second: stranger }),
      /its document cannot be read: /,
    ],
    'by SHA-1': [documents.sign(document, undefined, { digest: 'sha1' }), /its document cannot be read: /],
    'without signed attributes': [
      documents.sign(document, undefined, { withoutAttributes: true }),
      /its document is not signed well: /,
    ],
    'with bytes behind it': [
      lines(Buffer.concat([bytes, Buffer.from([0])])),
      /its document cannot be read: /,
    ],
    'with another document behind it': [
      lines(Buffer.concat([bytes, bytes])),
      /its document cannot be read: /,
    ],
    'cut short': [lines(bytes.subarray(0, -3)), /its document cannot be read: /],
    'over another content': [
      lines(Buffer.from(bytes.toString('latin1').replace('123456789012', '210987654321'), 'latin1')),
      /its document is not signed well: /,
    ],
    'of nothing at all': [
      lines(Buffer.from('{"accountId":"123456789012"}')),
      /its document cannot be read: /,
    ],
  };
  for (const [what, [text, says]] of Object.entries(cases)) {
    test(what, async (t) => {
      const verifier = await openVerifier(t, { certificates: directory });
      assert.match(await refusal(verifier, shown(text)), says);
    });
  }

  test('of a certificate that has ended', async (t) => {
    const clock = new FakeClock(Date.now());
    const verifier = await openVerifier(t, { certificates: directory, firstUse: 'none' }, { clock });
    await accepted(verifier, shown(good));
    clock.advance(400 * 24 * 3_600_000);
    assert.match(await refusal(verifier, shown(good)), /the certificate .* is not valid now \(eu-west-1\)/);
  });
});

describe('a proof of another form is refused:', () => {
  const cases: Readonly<Record<string, readonly [password: string, says: RegExp]>> = {
    'no base64': ['drp-id1.{"accountId":"123456789012"}', /it is no identity document in base64/],
    'with a short nonce': [
      `drp-id1.${bytes.toString('base64url')}.short`,
      /no identity document in base64, with a nonce of 22/,
    ],
    'with two nonces': [
      `drp-id1.${bytes.toString('base64url')}.${'n'.repeat(30)}.${'m'.repeat(30)}`,
      /no identity document in base64/,
    ],
    'with an empty nonce': [`drp-id1.${bytes.toString('base64url')}.`, /no identity document in base64/],
    empty: ['drp-id1.', /no identity document in base64/],
    giant: [`drp-id1.${'A'.repeat(11_000)}`, /it is over 10000 characters/],
    'giant, without an envelope': ['A'.repeat(1_000_000), /it is over 10000 characters/],
    'deeply nested': [
      `drp-id1.${Buffer.from('3080'.repeat(3000), 'hex').toString('base64url')}`,
      /its document cannot be read: /,
    ],
    'in an envelope of later': [`drp-id7.${bytes.toString('base64url')}`, /of version 7/],
  };
  for (const [what, [password, says]] of Object.entries(cases)) {
    test(what, async (t) => {
      const verifier = await openVerifier(t, { certificates: directory });
      assert.match(await refusal(verifier, withPassword(password)), says);
    });
  }
});

describe('the real document', () => {
  test('is accepted by the certificates that AWS publishes', async (t) => {
    const real = realVectors(t);
    if (real === undefined) return;
    const { certificates, text, accountId, instanceId } = real;
    const verifier = await openVerifier(t, { certificates, accounts: [accountId], regions: ['us-west-2'] });
    const principal = await accepted(verifier, shown(text));
    assert.equal(principal.name, `${accountId}/${instanceId}`);
    assert.equal(principal.attributes.instanceType, 't2.medium');
  });

  test('is refused without the certificate of its region', async (t) => {
    const real = realVectors(t);
    if (real === undefined) return;
    const verifier = await openVerifier(t, { certificates: directory, accounts: [real.accountId] });
    const says = /signed by a certificate that is not pinned \(serial number b64bde5ad00924cc\)/;
    assert.match(await refusal(verifier, shown(real.text)), says);
  });

  test('is nobody else with any single bit changed', { timeout: 120_000 }, async (t) => {
    const real = realVectors(t);
    if (real === undefined) return;
    const { certificates, text, accountId } = real;
    const verifier = await openVerifier(t, { certificates, accounts: [accountId], firstUse: 'none' });
    const original = await accepted(verifier, shown(text));
    const der = Buffer.from(text, 'base64');
    let immaterial = 0;
    for (let bit = 0; bit < der.length * 8; bit++) {
      const changed = Buffer.from(der);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const credentials = withPassword(changed.toString('base64url'));
      const outcome = await verifier
        .verify(credentials, { signal: new AbortController().signal })
        .catch((error: { code?: string }) => error.code);
      if (outcome === 'UNAUTHORIZED') continue;
      assert.deepEqual(outcome, original, `bit ${bit} gives another principal`);
      immaterial++;
    }
    assert.ok(immaterial < 100, `${immaterial} bits are covered by nothing`);
  });
});
