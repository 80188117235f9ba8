import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { azureNonce } from '../../src/protocol/azure-nonce.js';
import { machineUsers } from '../../src/protocol/identity-envelope.js';
import { CheckedDirectory, run } from '../cli/checking.js';
import { document, startAwsDocuments } from '../clouds/harness/aws-documents.js';
import { createAzureMachine } from '../clouds/harness/azure-attested.js';
import { issueCertificate, signMessage } from '../clouds/harness/azure-pki.js';
import { computeEngine, virtualMachine } from '../clouds/harness/google-identity.js';
import { type Scope, sharedScope, startFront } from '../harness/index.js';
import {
  account,
  audience,
  login,
  type MachineHouse,
  openMachineHouse,
  otherAccount,
  shown,
  subscription,
} from './machine-house.js';

type Settings = Readonly<Record<string, unknown>>;

/** A verifier that starts. */
const whole: Readonly<Record<string, Settings>> = {
  'aws-sts': { audiences: [audience], accounts: [account] },
  'gcp-identity': { audiences: [audience], projects: ['acme-build'] },
  'azure-identity': { audiences: [audience], subscriptions: [subscription] },
  'aws-identity': { certificates: 'certificates', accounts: [account] },
};

/** What it must not start with, by the settings that change, and the key that is told. */
const tooOpen: readonly (readonly [type: string, change: Settings, told: RegExp])[] = [
  ...['aws-sts', 'aws-identity'].flatMap((type) => [
    [type, { accounts: undefined }, /accounts: is missing; .*without it those of everybody/] as const,
    [type, { accounts: [] }, /accounts: expected at least one account/] as const,
    [type, { accounts: ['*'] }, /accounts\[0\]: expected the 12 digits/] as const,
    [type, { accounts: [''] }, /accounts\[0\]: expected the 12 digits/] as const,
  ]),
  ['gcp-identity', { projects: undefined }, /projects: is missing; .*without it the machines of ever/],
  ['gcp-identity', { projects: [] }, /projects: expected at least one project/],
  ['gcp-identity', { projects: ['*'] }, /projects\[0\]: expected the id of a project/],
  ['gcp-identity', { projects: [''] }, /projects\[0\]: expected the id of a project/],
  ['azure-identity', { subscriptions: undefined }, /subscriptions: is missing: without it, or `tenants`/],
  ['azure-identity', { subscriptions: [] }, /subscriptions: expected at least one/],
  ['azure-identity', { subscriptions: undefined, tenants: [] }, /tenants: expected at least one/],
  ['azure-identity', { tenants: [] }, /tenants: expected at least one/],
  ['azure-identity', { subscriptions: ['*'] }, /subscriptions\[0\]: expected an ID/],
  ['azure-identity', { tenants: ['common'] }, /tenants\[0\]: expected an ID/],
  ...['aws-sts', 'gcp-identity', 'azure-identity'].flatMap((type) => [
    [type, { audiences: undefined }, /audiences: is missing/] as const,
    [type, { audiences: [] }, /audiences: expected at least one audience/] as const,
  ]),
  ['aws-identity', { certificates: undefined }, /certificates: /],
  ['aws-identity', { regions: [] }, /regions: expected at least one/],
  ['gcp-identity', { zones: [] }, /zones: expected at least one/],
  ['gcp-identity', { serviceAccounts: [] }, /serviceAccounts: expected at least one/],
  ['aws-sts', { roles: [] }, /roles: leaves nobody/],
];

describe('threat 4: a verifier without a list of whom it lets in', () => {
  const documents = startAwsDocuments(['eu-west-1']);
  const directory = new CheckedDirectory();
  after(() => {
    documents.close();
    directory.remove();
  });
  const verifierOf = (type: string, change: Settings, id = 'cloud') => {
    const settings = { id, type, ...whole[type], ...change };
    const placed = Object.entries(settings).map(
      ([key, value]) => [key, value === 'certificates' ? documents.directory : value] as const,
    );
    return Object.fromEntries(placed.filter(([, value]) => value !== undefined));
  };
  const start = (scope: Scope, verifier: Settings) =>
    startFront(
      scope,
      `
upstreams: { one: { url: "http://127.0.0.1:9" } }
routes: [{ prefix: "", upstream: one }]
${stringify({ verifiers: [verifier] })}
policy: [{ names: ["cloud:*"], repositories: ["**"], actions: [pull] }]
`,
    );

  for (const type of Object.keys(whole)) {
    test(`${type} starts with one`, async (t) => {
      await start(t, verifierOf(type, {}));
    });
  }

  for (const [type, change, told] of tooOpen) {
    test(`${type} does not start with ${JSON.stringify(change, (_, one) => one ?? 'nothing')}`, async (t) => {
      const error = await start(t, verifierOf(type, change)).then(
        () => assert.fail('it starts'),
        (thrown: unknown) => thrown as Error,
      );
      assert.match(error.message, told);
    });
  }

  test('`check` lists all of them, and exits with 2', async () => {
    const upstreams = { one: { url: 'https://gcr.io', credentials: { type: 'anonymous' } } };
    const verifiers = tooOpen.map(([type, change], i) => verifierOf(type, change, `v${i}`));
    const policy = [{ names: ['v0:*'], repositories: ['**'], actions: ['pull'] }];
    const file = directory.configuration('config.yaml', upstreams, { verifiers, policy });
    const { code, stderr } = await run(['check', '--config', file]);
    assert.equal(code, 2, stderr);
    for (const [i, [, , told]] of tooOpen.entries()) {
      const lines = stderr.split('\n').filter((line) => line.includes(`verifiers[${i}].`));
      assert.ok(
        lines.some((line) => told.test(line)),
        `nothing of verifiers[${i}]: ${told}`,
      );
    }
  });
});

describe('threat 5: one thing is verified, and another is believed', () => {
  const life = sharedScope();
  const ready = (async () => {
    const house: MachineHouse = await openMachineHouse(life);
    const documents = startAwsDocuments(['eu-west-1', 'us-east-1']);
    life.after(() => documents.close());
    const settings = `certificates: "${documents.directory}", accounts: ["${account}"]`;
    const front = await house.open(life, [
      `{ id: doc, type: aws-identity, ${settings} }`,
      `{ id: gcp, type: gcp-identity, audiences: [${audience}], projects: [acme-build], ${house.way} }`,
      house.azureVerifier,
    ]);
    return { house, documents, front };
  })();
  const theirs = { ...document, accountId: otherAccount };

  for (const [what, forge] of [
    ['is changed after it was signed', async () => replaced(await signed(theirs), otherAccount, account)],
    ['has another one behind it', async () => Buffer.concat([await signed(theirs), await signed(document)])],
    [
      'has our text behind it',
      async () => Buffer.concat([await signed(theirs), Buffer.from(JSON.stringify(document))]),
    ],
    [
      'says the account twice',
      () => signed(JSON.stringify(theirs).replace('}', `,"accountId":"${account}"}`)),
    ],
    [
      'says the account twice, ours first',
      () => signed(JSON.stringify(theirs).replace('{', `{"accountId":"${account}",`)),
    ],
    [
      'is signed by a stranger with the certificate of the region within',
      async () => {
        const { documents } = await ready;
        const stranger = documents.stranger('forger');
        return der(documents.sign(document, stranger, { second: documents.signer('eu-west-1') }));
      },
    ],
    [
      'is signed by a stranger whose certificate is within',
      async () => {
        const { documents } = await ready;
        return der(documents.sign(document, documents.stranger('embedded'), { embedded: true }));
      },
    ],
    [
      'is signed for another region',
      async () => {
        const { documents } = await ready;
        return der(documents.sign(document, documents.signer('us-east-1')));
      },
    ],
  ] as const) {
    test(`a document of AWS that ${what}`, async () => {
      const { front } = await ready;
      const proof = (await forge()).toString('base64url');
      const { status, reason } = await login(front, shown(machineUsers.aws, proof), '203.0.113.1');
      assert.equal(status, 401, reason);
    });
  }

  test('a document of AWS that is whole', async () => {
    const { front } = await ready;
    const proof = (await signed(document)).toString('base64url');
    const { principal } = await login(front, shown(machineUsers.aws, proof), '203.0.113.1');
    assert.equal(principal, `doc:${account}/${document.instanceId}`);
  });

  for (const [what, claims] of [
    [
      'beside what Google says of it',
      {
        project_id: 'acme-build',
        google: { compute_engine: computeEngine({ ...virtualMachine, projectId: 'theirs' }) },
      },
    ],
    [
      'under a name of its own',
      { google: undefined, 'google.compute_engine': computeEngine(virtualMachine) },
    ],
    ['at the top', { google: undefined, compute_engine: computeEngine(virtualMachine) }],
    ['as a text', { google: { compute_engine: JSON.stringify(computeEngine(virtualMachine)) } }],
    ['as a list', { google: [{ compute_engine: computeEngine(virtualMachine) }] }],
    ['in a list', { google: { compute_engine: [computeEngine(virtualMachine)] } }],
  ] as const) {
    test(`a token of Google that names our project ${what}`, async () => {
      const { front, house } = await ready;
      const token = house.google.fullToken(
        audience,
        virtualMachine,
        'vm@acme.iam.gserviceaccount.com',
        claims,
      );
      const { status, reason } = await login(front, shown(machineUsers.gcp, token), '203.0.113.1');
      assert.equal(status, 401, reason);
    });
  }

  for (const [what, is401] of [
    ['is whole', false],
    ['is signed by a stranger, with the certificate of a metadata service before', true],
    ['is signed by a stranger, with the certificate of a metadata service behind', true],
    ['names a metadata service as its signer, and a stranger signed it', true],
    ['shows other content than was signed', true],
    ['is of another subscription, with ours behind', true],
  ] as const) {
    test(`a document of Azure that ${what}`, async () => {
      const { front, house } = await ready;
      const { azureSigner: signer, azure } = house;
      const machine = createAzureMachine({ signer, subscriptionId: subscription });
      const other = createAzureMachine({ signer });
      const nonce = azureNonce(audience, Date.now());
      const content = machine.content(nonce);
      const stranger = await issueCertificate({
        ...{ subject: 'CN=metadata.azure.com', dnsNames: ['metadata.azure.com'] },
        keysOf: 'a stranger',
      });
      const made: Readonly<Record<typeof what, () => Buffer>> = {
        'is whole': () => signMessage({ content, signer }),
        'is signed by a stranger, with the certificate of a metadata service before': () =>
          signMessage({ content, signer: stranger, certificates: [signer, azure.issuing, stranger] }),
        'is signed by a stranger, with the certificate of a metadata service behind': () =>
          signMessage({ content, signer: stranger, certificates: [stranger, signer, azure.issuing] }),
        'names a metadata service as its signer, and a stranger signed it': () =>
          signMessage({ content, signer, key: stranger.key }),
        'shows other content than was signed': () =>
          signMessage({ content: other.content(nonce), shown: content, signer }),
        'is of another subscription, with ours behind': () =>
          Buffer.concat([signMessage({ content: other.content(nonce), signer }), content]),
      };
      const proof = made[what]().toString('base64url');
      const { status, reason } = await login(front, shown(machineUsers.azure, proof), '203.0.113.1');
      assert.equal(status, is401 ? 401 : 200, reason);
    });
  }

  async function signed(content: object | string): Promise<Buffer> {
    const { documents } = await ready;
    return der(documents.sign(content, documents.signer('eu-west-1')));
  }
});

function der(text: string): Buffer {
  return Buffer.from(text, 'base64');
}

/** Bytes for as many others. */
function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const at = bytes.indexOf(from);
  assert.ok(at > 0 && from.length === to.length, 'it cannot be replaced');
  const copy = Buffer.from(bytes);
  copy.write(to, at, 'latin1');
  return copy;
}
