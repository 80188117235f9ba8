import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { request } from 'undici';
import type { Credential, CredentialSource } from '../../src/contracts/index.js';
import { driver } from '../../src/credential-sources/azure-identity.js';
import { describeError } from '../../src/errors.js';
import { azureNonce } from '../../src/protocol/azure-nonce.js';
import { proofIn } from '../../src/protocol/identity-envelope.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { revealCredential } from '../../src/testing/conformance/credential-source.js';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { describeCredentialSourceConformance } from '../../src/testing/index.js';
import { requireProgram } from '../../src/testing/programs.js';
import { createAzureMachine } from './harness/azure-attested.js';
import { azureVariables } from './harness/azure-house.js';
import { type IdentityEndpointFake, startIdentityEndpoint } from './harness/azure-identity-endpoint.js';
import {
  type AzureIdentityHouse,
  appId,
  o,
  openAzureIdentityHouse,
  openAzureVerifier,
  outcome,
} from './harness/azure-identity-house.js';

const minute = 60_000;
const target = (host: string) => ({
  registry: parseRegistryHost(host),
  name: parseRepositoryName('team/app'),
});
const known = target('docker.example.com');

interface Opened {
  readonly house: AzureIdentityHouse;
  readonly imds: IdentityEndpointFake;
  readonly source: CredentialSource;
}

async function open(t: TestContext, settings: object = {}): Promise<Opened> {
  const house = await openAzureIdentityHouse(t);
  const imds = await startIdentityEndpoint(house.entra, 'imds', house.identity);
  imds.machine = house.machine;
  t.after(() => imds.close());
  azureVariables(t, { AZURE_POD_IDENTITY_AUTHORITY_HOST: imds.url });
  return { house, imds, source: await openSource(t, house, settings) };
}

async function openSource(t: TestContext, { directory, clock }: AzureIdentityHouse, settings: object) {
  const source = await driver.open(driver.config.parse(settings), {
    ...{ id: 'test', baseDirectory: directory, clock, log: new FakeLog(), metrics: new FakeMetrics() },
  });
  t.after(() => source.close());
  return source;
}

const token = { method: 'token', audience: appId };
const leftOut = [
  'it has none for a repository it does not know',
  'a rejected credential does not come again from a cache',
];

for (const [method, settings] of [
  ['document', {}],
  ['token', token],
] as const) {
  describeCredentialSourceConformance(
    `azure-identity, ${method}`,
    async (t) => {
      const { source, imds, house } = await open(t, settings);
      // Each token has an identifier of its own, but Azure keeps them.
      const kept = house.entra.issue(house.identity, appId);
      house.entra.issue = () => kept;
      return { source, known, break: () => imds.close(), now: () => house.clock.now() };
    },
    leftOut,
  );
}

const proofOf = (credential: Credential | undefined): string => {
  assert.equal(credential?.kind, 'basic');
  const password = credential?.kind === 'basic' ? credential.password.reveal() : '';
  const envelope = proofIn(password);
  assert.ok(envelope !== undefined && 'proof' in envelope, 'no envelope');
  return envelope.proof;
};

describe('a document', () => {
  test('is for the registry that is asked, and lets the machine in there alone', async (t) => {
    const { source, house, imds } = await open(t);
    const { verifier } = await openAzureVerifier(t, house);
    const [here, there] = [known, target('other.example.com:5000')];
    assert.notEqual(source.keyFor?.(here), source.keyFor?.(there));
    for (const [where, nonce] of [
      [here, azureNonce('docker.example.com', house.clock.now())],
      [there, azureNonce('other.example.com:5000', house.clock.now())],
    ] as const) {
      const credential = await source.credentialFor(where, o);
      const path = `/metadata/attested/document?api-version=2025-04-07&nonce=${nonce}`;
      assert.deepEqual(imds.requests.at(-1)?.path, path);
      assert.ok(credential?.kind === 'basic' && credential.isConfigured === true, 'no password');
      const { username, password, expiresAt } = credential;
      assert.equal(username, '_azure');
      assert.equal(expiresAt, house.clock.now() + 14 * minute);
      assert.equal(
        Buffer.from(proofOf(credential), 'base64url').toString('base64'),
        house.machine.given.at(-1),
      );
      const shown = { kind: 'password', username, password } as const;
      const found = await outcome(verifier, { shown, connection: { address: '192.0.2.1' } });
      if (where === here) assert.ok(typeof found !== 'string', String(found));
      else assert.match(String(found), /^UNAUTHORIZED.*has another nonce/);
    }
  });

  test('is for the configured audience wherever it is shown', async (t) => {
    const { source, house, imds } = await open(t, { audience: 'registry' });
    assert.equal(source.keyFor?.(known), source.keyFor?.(target('other.example.com')));
    await source.credentialFor(known, o);
    const nonce = azureNonce('registry', house.clock.now());
    assert.match(imds.requests.at(-1)?.path ?? '', new RegExp(`&nonce=${nonce}$`));
  });

  test('that Azure had kept serves for a shorter time, and one for somebody else not at all', async (t) => {
    const { source, house, imds } = await open(t);
    imds.keepsDocuments = true;
    await source.credentialFor(known, o);
    house.clock.advance(6 * minute);
    const again = await source.credentialFor(known, o);
    assert.equal(again?.expiresAt, house.clock.now() + 4 * minute);
    const error = await rejectsWith(
      () => source.credentialFor(target('other.example.com'), o),
      'UNAVAILABLE',
    );
    assert.match(String(error.reason), /made for somebody else's nonce; it keeps them for a while/);
    house.clock.advance(15 * minute);
    await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
  });

  for (const [what, spoil, reason] of [
    [
      'not a virtual machine',
      ({ imds }) => (imds.machine = undefined),
      /answers 404: .*is this a virtual machine/,
    ],
    ['many questions', fault(429), /answers 429: it slows us down/],
    ['an update', fault(410), /answers 410: it is being updated/],
    ['trouble', fault(500), /answers 500: it is in trouble/],
    ['a refusal', fault(400), /answers 400: it refuses our request/],
    ['a redirect', fault(302), /answers 302: it redirects, which is not followed/],
    ['something else', fault(200), /answers 200: that is no attested document/],
    [
      'nobody',
      ({ imds }) => imds.close(),
      /no answer from the instance metadata service .*set method: token/,
    ],
    [
      'a document that no header could carry',
      ({ imds, house }) => {
        const { signer } = house;
        const large = createAzureMachine({ signer });
        imds.machine = {
          ...large,
          document: (nonce) => Buffer.concat([large.document(nonce), Buffer.alloc(9000)]),
        };
      },
      /what this machine has to show as _azure is too long for a login: a proof of 1\d{4} characters/,
    ],
  ] as readonly (readonly [string, (opened: Opened) => unknown, RegExp])[]) {
    test(`cannot be had: ${what}: ${reason.source}`, async (t) => {
      const opened = await open(t);
      await spoil(opened);
      const error = await rejectsWith(() => opened.source.credentialFor(known, o), 'UNAVAILABLE');
      assert.match(String(error.reason), reason);
      assert.ok(!describeError(error).includes('nonce='), 'the question is told');
    });
  }
});

function fault(status: number) {
  return ({ imds }: Opened) => {
    imds.fault = { kind: 'status', status, headers: { location: 'http://127.0.0.1:1/' } };
  };
}

describe('a token', () => {
  test('is for the configured audience, and lets the identity in', async (t) => {
    const { source, house, imds } = await open(t, token);
    const credential = await source.credentialFor(known, o);
    assert.equal(new URL(imds.requests.at(-1)?.path ?? '', imds.url).searchParams.get('resource'), appId);
    const proof = proofOf(credential);
    assert.equal(proof, house.entra.given.at(-1));
    const claims = house.entra.verify(proof);
    assert.equal(credential?.expiresAt, Number(claims?.exp) * 1000);
    assert.equal(credential?.refreshAt, Number(claims?.exp) * 1000 - 5 * minute);
    const { verifier } = await openAzureVerifier(t, house);
    assert.ok(credential?.kind === 'basic', 'no password');
    const { username, password } = credential;
    const shown = { kind: 'password', username, password } as const;
    const found = await outcome(verifier, { shown, connection: { address: '192.0.2.1' } });
    assert.ok(typeof found !== 'string', String(found));
  });

  test('is of the identity that is named, where there are several', async (t) => {
    const { house, imds, source } = await open(t, token);
    const second = house.entra.register({ claims: house.identity.claims });
    imds.assigned.push(second);
    const error = await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
    assert.match(String(error.reason), /there are several identities: say which by `clientId`/);
    const named = await openSource(t, house, { ...token, clientId: second.clientId });
    const proof = proofOf(await named.credentialFor(known, o));
    assert.equal(house.entra.verify(proof)?.appid, second.clientId);
  });

  test('cannot be had for what Entra ID does not know', async (t) => {
    const { source } = await open(t, { ...token, audience: 'api://unknown' });
    const error = await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
    assert.match(String(error.reason), /look at `audience`/);
  });

  test('cannot be had where nobody answers, and no other way is advised than there is', async (t) => {
    const { source, imds } = await open(t, token);
    await imds.close();
    const error = await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE');
    assert.match(
      String(error.reason),
      /does this run in Azure\? this source is for machines and apps of Azure/,
    );
  });
});

describe('the settings of the source', () => {
  for (const [what, settings, message] of [
    [
      'a token for nobody',
      { method: 'token' },
      /audience.*is missing: Entra ID gives tokens for what it knows/s,
    ],
    ['a document of an identity', { clientId: other() }, /clientId.*is for method: token/s],
    ['a client that is none', { ...token, clientId: 'ci' }, /expected a client ID such as/],
    ['another method', { method: 'certificate' }, /expected document or token/],
    ['a proxy', { proxy: 'http://127.0.0.1:1' }, /proxy/],
  ] as const) {
    test(`refuse ${what}`, () => {
      assert.match(JSON.stringify(driver.config.safeParse(settings).error?.issues), message);
    });
  }
});

function other(): string {
  return '11111111-2222-3333-4444-555555555555';
}

describe('the fake of the metadata service', () => {
  for (const [what, path, headers, status] of [
    ['the right question', 'api-version=2025-04-07&nonce=1234567890', { metadata: 'true' }, 200],
    ['no header', 'api-version=2025-04-07&nonce=1234567890', {}, 400],
    [
      'a forwarded question',
      'api-version=2025-04-07&nonce=1',
      { metadata: 'true', 'x-forwarded-for': '192.0.2.1' },
      400,
    ],
    ['no version', 'nonce=1234567890', { metadata: 'true' }, 400],
    ['a nonce that is too long', `api-version=2025-04-07&nonce=${'1'.repeat(33)}`, { metadata: 'true' }, 400],
    ['two nonces', 'api-version=2025-04-07&nonce=1&nonce=2', { metadata: 'true' }, 400],
  ] as const) {
    test(`answers ${what} with ${status}`, async (t) => {
      const { imds } = await open(t);
      const answer = await request(`${imds.url}/metadata/attested/document?${path}`, { headers });
      await answer.body.dump();
      assert.equal(answer.statusCode, status);
    });
  }

  test('signs documents that OpenSSL takes', async (t) => {
    const openssl = requireProgram(t, 'openssl', 'openssl');
    if (openssl === undefined) return;
    const { house } = await open(t);
    const { directory, authorities, machine } = house;
    const document = machine.document('1234567890');
    writeFileSync(join(directory, 'document.der'), document);
    const { root, crossSigned, issuing } = authorities;
    writeFileSync(join(directory, 'all.pem'), `${root.pem}${crossSigned.pem}${issuing.pem}`);
    const verify = [
      'smime',
      '-verify',
      '-binary',
      '-inform',
      'DER',
      '-in',
      'document.der',
      '-purpose',
      'any',
    ];
    const { stdout } = await promisify(execFile)(openssl, [...verify, '-CAfile', 'all.pem'], {
      cwd: directory,
    });
    assert.equal(stdout, machine.content('1234567890').toString());
  });
});

test('what a source gives is in no text of it', async (t) => {
  const { source } = await open(t);
  const credential = await source.credentialFor(known, o);
  assert.ok(credential, 'no credential');
  assert.ok(
    !JSON.stringify(credential).includes(revealCredential(credential).slice(-40)),
    'the proof is told',
  );
});
