import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, type TestContext, test } from 'node:test';
import type { Credential, CredentialSource } from '../../src/contracts/index.js';
import { driver } from '../../src/credential-sources/gcp-identity.js';
import { describeError } from '../../src/errors.js';
import { proofIn } from '../../src/protocol/identity-envelope.js';
import { unverifiedClaims } from '../../src/protocol/jwt-form.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { describeCredentialSourceConformance } from '../../src/testing/conformance/credential-source.js';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { type GceMetadata, type MetadataFault, startGceMetadata } from './harness/gce-metadata.js';
import { type GoogleIdentity, startGoogleIdentity, virtualMachine } from './harness/google-identity.js';
import { googleAccounts } from './harness/google-token-endpoint-accounts.js';
import { startWorld, type World } from './harness/world.js';

const o = { signal: new AbortController().signal };
const known = { registry: parseRegistryHost('docker.example.com'), name: parseRepositoryName('acme/app') };

let world: World;
let google: GoogleIdentity;
let metadata: GceMetadata;
before(async () => {
  world = await startWorld();
  google = startGoogleIdentity(world);
});
after(() => world.close());
beforeEach(async () => {
  metadata = await startGceMetadata(googleAccounts(), google);
  process.env.GCE_METADATA_HOST = metadata.host;
});
afterEach(async () => {
  delete process.env.GCE_METADATA_HOST;
  await metadata.close();
});

async function open(t: TestContext, settings: object = {}, clock = new FakeClock(Date.now())) {
  const source = await driver.open(driver.config.parse(settings), {
    ...{ id: 'gce', baseDirectory: '/', clock, log: new FakeLog(), metrics: new FakeMetrics() },
  });
  t.after(() => source.close());
  return source;
}

async function given(source: CredentialSource, target = known) {
  const credential = await source.credentialFor(target, o);
  assert.equal(credential?.kind, 'basic', 'no user and password');
  const { username, password, ...times } = credential as Extract<Credential, { kind: 'basic' }>;
  const envelope = proofIn(password.reveal());
  assert.ok(envelope !== undefined && 'proof' in envelope, 'it is in no envelope');
  return { username, proof: envelope.proof, claims: unverifiedClaims(envelope.proof), ...times };
}

const fails = async (source: CredentialSource) =>
  describeError(await rejectsWith(() => source.credentialFor(known, o), 'UNAVAILABLE'));

describe('the identity of a machine', () => {
  test('is a token in full format for the registry that is asked', async (t) => {
    const clock = new FakeClock(Date.now());
    const { username, proof, claims, expiresAt, refreshAt } = await given(await open(t, {}, clock));
    assert.equal(username, '_gcp');
    assert.equal(proof, google.given.at(-1));
    assert.deepEqual([claims?.aud, claims?.email], ['docker.example.com', 'vm@acme.iam.gserviceaccount.com']);
    assert.match(JSON.stringify(claims?.google), /"instance_name":"builder-1"/);
    assert.deepEqual(metadata.asked, [
      '/computeMetadata/v1/instance/service-accounts/default/identity?audience=docker.example.com&format=full',
    ]);
    assert.equal(expiresAt, Number(claims?.exp) * 1000);
    assert.equal(refreshAt, Number(expiresAt) - 4 * 60_000);
  });

  test('that lives for minutes is renewed at half its life', async (t) => {
    const clock = new FakeClock(Date.now());
    google.tokenLife = 300;
    t.after(() => Object.assign(google, { tokenLife: 3600 }));
    const { expiresAt = 0, refreshAt } = await given(await open(t, {}, clock));
    assert.equal(refreshAt, clock.now() + (expiresAt - clock.now()) / 2);
  });

  test('is another one for another registry', async (t) => {
    const source = await open(t);
    const other = { registry: parseRegistryHost('localhost:5000') };
    assert.equal((await given(source, { ...known, ...other })).claims?.aud, 'localhost:5000');
    assert.notEqual(source.keyFor?.(known), source.keyFor?.(other));
  });

  test('is for the audience and of the service account that are configured', async (t) => {
    const audience = 'https://docker.example.com/?a=b&format=standard#c';
    const source = await open(t, { audience, serviceAccount: metadata.serviceAccount });
    const { claims } = await given(source);
    assert.deepEqual([claims?.aud, typeof claims?.google], [audience, 'object']);
    assert.equal(source.keyFor?.(known), source.keyFor?.({ registry: parseRegistryHost('localhost:5000') }));
    assert.match(
      metadata.asked[0] ?? '',
      /\/service-accounts\/vm@acme\.iam\.gserviceaccount\.com\/identity\?/,
    );
  });
});

describe('what goes wrong', () => {
  test('a token that no login carries', async (t) => {
    const server = await startLoopbackServer((_request, response) => {
      const token = google.fullToken('x', virtualMachine, 'a@b.c', { more: 'x'.repeat(10_000) });
      response.writeHead(200, { 'metadata-flavor': 'Google' }).end(token);
    });
    t.after(() => server.close());
    process.env.GCE_METADATA_HOST = new URL(server.url).host;
    assert.match(
      await fails(await open(t)),
      /^UNAVAILABLE: what this machine has to show as _gcp is too long for a login: a proof of 1\d{4} characters cannot/,
    );
  });

  const faults: Readonly<Record<MetadataFault, RegExp>> = {
    fails: /the metadata server 127\.0\.0\.1:\d+ answers 500$/,
    'is not Google': /is not Google's metadata server; not on Google Cloud\? gcp-identity is for its virtual/,
    'is cut': /no answer from 127\.0\.0\.1:\d+.*; not on Google Cloud\?/,
    hangs: /no answer from 127\.0\.0\.1:\d+.*; not on Google Cloud\?/,
    'says nonsense': /gives no identity token$/,
    'gives no life': /gives no identity token$/,
  };
  for (const [fault, expected] of Object.entries(faults)) {
    test(`it ${fault}: ${expected.source}`, async (t) => {
      metadata.fault = fault as MetadataFault;
      assert.match(await fails(await open(t, { timeout: fault === 'hangs' ? '300ms' : '30s' })), expected);
    });
  }

  const states: Readonly<Record<string, readonly [change: () => void, expected: RegExp]>> = {
    'a machine without a service account': [
      () => {
        metadata.serviceAccount = undefined;
      },
      /answers 404: this machine has no service account; attach one; in a pod of GKE use kubernetes-token/,
    ],
    'a pod without an account of Google’s': [
      () => {
        metadata.serves = 'none';
      },
      /answers 404: .*in a pod of GKE use kubernetes-token/,
    ],
    'a pod with one': [
      () => {
        metadata.serves = 'pods';
      },
      /gives a token that names no virtual machine, as in GKE with Workload Identity, Cloud Run/,
    ],
    'a host that is none': [
      () => {
        process.env.GCE_METADATA_HOST = 'a b';
      },
      /GCE_METADATA_HOST is not a host/,
    ],
  };
  for (const [what, [change, expected]] of Object.entries(states)) {
    test(`${what}: ${expected.source}`, async (t) => {
      change();
      assert.match(await fails(await open(t)), expected);
    });
  }

  test('another service account than it has', async (t) => {
    const source = await open(t, { serviceAccount: 'other@acme.iam.gserviceaccount.com' });
    assert.match(await fails(source), /this machine has no service account other@acme/);
  });

  for (const [what, token] of [
    ['a token without an end', () => google.fullToken('x', virtualMachine, 'a@b.c', { exp: undefined })],
    ['an end that is none', () => google.fullToken('x', virtualMachine, 'a@b.c', { exp: 'tomorrow' })],
  ] as const) {
    test(what, async (t) => {
      const server = await startLoopbackServer((_request, response) => {
        response.writeHead(200, { 'metadata-flavor': 'Google' }).end(token());
      });
      t.after(() => server.close());
      process.env.GCE_METADATA_HOST = new URL(server.url).host;
      assert.match(await fails(await open(t)), /gives a token without an end$/);
    });
  }
});

describe('the settings', () => {
  for (const wrong of [
    { audience: '' },
    { serviceAccount: '../../../project' },
    { serviceAccount: 'a@b.c?x' },
    { proxy: 'http://127.0.0.1:1' },
    { timeout: '1h' },
  ]) {
    test(`refuse ${JSON.stringify(wrong)}`, () =>
      assert.equal(driver.config.safeParse(wrong).success, false));
  }

  test('nothing is asked at the start', async (t) => {
    await open(t);
    assert.deepEqual(metadata.asked, []);
  });
});

// Each call gets a token of its own, and the program shares one: those who ask at once do not get the same from here.
describeCredentialSourceConformance(
  'gcp-identity',
  async (t) => ({
    source: await open(t),
    known,
    break: () => metadata.close(),
  }),
  [
    'it has none for a repository it does not know',
    'asked many times at once it gives the same',
    'a rejected credential does not come again from a cache',
  ],
);
