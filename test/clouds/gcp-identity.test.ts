import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, type TestContext, test } from 'node:test';
import type { ClientCredentials, Principal, StateStore, Verifier } from '../../src/contracts/index.js';
import { secretIn } from '../../src/contracts/verifier.js';
import { describeError, RegistryError } from '../../src/errors.js';
import { identityEnvelope } from '../../src/protocol/identity-envelope.js';
import { Secret } from '../../src/secret.js';
import { MemoryStateStore } from '../../src/state-stores/memory.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import {
  bearerCredentials,
  describeVerifierConformance,
  FakeClock,
  passwordCredentials,
} from '../../src/testing/index.js';
import { driver } from '../../src/verifiers/gcp-identity.js';
import {
  computeEngine,
  type GoogleIdentity,
  signed,
  startGoogleIdentity,
  virtualMachine,
} from './harness/google-identity.js';
import { startWorld, type World } from './harness/world.js';

const o = { signal: new AbortController().signal };
const audience = 'docker.example.com';
const email = 'builder@acme-build.iam.gserviceaccount.com';
const usual = { projects: ['acme-build'], audiences: [audience] };

let world: World;
let google: GoogleIdentity;
beforeEach(async () => {
  world = await startWorld();
  google = startGoogleIdentity(world);
});
afterEach(() => world.close());

interface House {
  readonly verifier: Verifier;
  readonly clock: FakeClock;
  readonly log: FakeLog;
  readonly state: StateStore;
}

async function open(
  t: TestContext,
  settings: object = {},
  given: { state?: StateStore } = {},
): Promise<House> {
  const baseDirectory = mkdtempSync(join(tmpdir(), 'gcp-identity-'));
  t.after(() => rmSync(baseDirectory, { recursive: true }));
  writeFileSync(join(baseDirectory, 'world.pem'), world.authority);
  const clock = new FakeClock(Date.now());
  const log = new FakeLog();
  const state = given.state ?? new MemoryStateStore(clock);
  const verifier = await driver.open(
    driver.config.parse({ ...usual, proxy: world.proxyUrl, ca: 'world.pem', ...settings }),
    { id: 'gce', baseDirectory, clock, log, metrics: new FakeMetrics(), state },
  );
  t.after(() => verifier.close());
  return { verifier, clock, log, state };
}

const shown = (proof: string, address = '192.0.2.1'): ClientCredentials => ({
  shown: { kind: 'password', username: '_gcp', password: new Secret(identityEnvelope(proof)) },
  connection: { address },
});
const full = (more: Readonly<Record<string, unknown>> = {}) =>
  google.fullToken(audience, virtualMachine, email, more);
/** A token with some of the machine's claims changed; `undefined` takes one out. */
const machine = (more: Readonly<Record<string, unknown>>) =>
  full({ google: { compute_engine: { ...computeEngine(virtualMachine), ...more } } });

/** @returns the principal, or the error's code and reason */
async function outcome(verifier: Verifier, credentials: ClientCredentials): Promise<Principal | string> {
  try {
    return (await verifier.verify(credentials, o)) ?? 'not mine';
  } catch (error) {
    assert.ok(error instanceof RegistryError, describeError(error));
    if (error.code === 'UNAUTHORIZED') {
      assert.deepEqual([error.isProof, error.knownUser], [true, true], 'it counts as a guess');
    }
    const signature = secretIn(credentials.shown)?.reveal().slice(-40) ?? '';
    assert.ok(!describeError(error).includes(signature), 'the token is told');
    return `${error.code} ${error.reason}`;
  }
}

describeVerifierConformance(
  'gcp-identity',
  async (t) => {
    const { verifier } = await open(t);
    const principal = { name: 'acme-build/europe-west1-b/builder-1', kind: 'machine', groups: [] } as const;
    const token = full();
    const forged = token.replace(/\.[^.]{4}([^.]*)$/, '.AAAA$1');
    return {
      verifier,
      id: 'gce',
      valid: [
        { credentials: shown(token), principal },
        { credentials: passwordCredentials('_gcp', token), principal },
        { credentials: bearerCredentials(token), principal },
      ],
      invalid: [
        shown(forged),
        bearerCredentials(forged),
        passwordCredentials('_gcp', 'wonderland'),
        passwordCredentials('_gcp', 'drp-id1'),
        passwordCredentials('_gcp', identityEnvelope(token).replace('drp-id1', 'drp-id2')),
        shown(machine({ project_id: 'mallory', project_number: 1 })),
      ],
      foreign: [
        passwordCredentials('alice', 'wonderland'),
        passwordCredentials('alice', token),
        bearerCredentials('a.b.c'),
        bearerCredentials(google.fullToken('other.example.com', virtualMachine, email)),
        bearerCredentials(google.standardToken(audience, { email, email_verified: true })),
        bearerCredentials(full({ iss: 'https://token.actions.githubusercontent.com' })),
      ],
      break: () => world.remove('accounts.google.com'),
    };
  },
  [
    'recheck finds a principal it vouched for, and not one that is gone',
    'recheck is UNAVAILABLE where it cannot find out',
  ],
);

describe('a machine', () => {
  test('is named by project, zone and name, and ends with its token', async (t) => {
    const { verifier } = await open(t);
    const token = full();
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      exp: number;
    };
    assert.deepEqual(await outcome(verifier, shown(token)), {
      verifier: 'gce',
      name: 'acme-build/europe-west1-b/builder-1',
      kind: 'machine',
      groups: [],
      attributes: {
        projectId: 'acme-build',
        projectNumber: '739419398126',
        zone: 'europe-west1-b',
        instanceId: '4520031799277581759',
        instanceName: 'builder-1',
        serviceAccount: email,
        subject: '112179062720391305885',
      },
      expiresAt: exp * 1000,
    });
  });

  test('has no service account as an attribute that Google has not verified', async (t) => {
    const { verifier } = await open(t);
    for (const more of [{ email_verified: false }, { email_verified: undefined }, { email: undefined }]) {
      const found = await outcome(verifier, shown(full(more)));
      assert.ok(typeof found !== 'string', String(found));
      assert.equal(found.attributes.serviceAccount, undefined, JSON.stringify(more));
    }
  });

  const allowed: Readonly<Record<string, object>> = {
    'the id of the project': {},
    'the number of the project': { projects: ['739419398126'] },
    'one of several projects': { projects: ['other', 'acme-build'] },
    'one of several audiences': { audiences: ['other', audience] },
    'the zone': { zones: ['us-*', 'europe-west1-*'] },
    'the service account': { serviceAccounts: ['*@acme-build.iam.gserviceaccount.com'] },
  };
  for (const [what, settings] of Object.entries(allowed)) {
    test(`is let in by ${what}`, async (t) => {
      const { verifier } = await open(t, settings);
      const found = await outcome(verifier, shown(full()));
      assert.ok(typeof found !== 'string', String(found));
    });
  }

  test('of a domain’s project of old is let in by its whole id', async (t) => {
    const { verifier } = await open(t, { projects: ['example.com:acme'] });
    const found = await outcome(verifier, shown(machine({ project_id: 'example.com:acme' })));
    assert.ok(typeof found !== 'string', String(found));
    assert.equal(found.name, 'example.com:acme/europe-west1-b/builder-1');
    assert.match(
      String(await outcome(verifier, shown(machine({ project_id: 'acme' })))),
      /is not one of `projects`/,
    );
  });
});

describe('what is refused', () => {
  const hour = 3600;
  const now = () => Math.floor(Date.now() / 1000);
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const claimsOf = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
  const kid = () => String(JSON.parse(Buffer.from(full().split('.')[0] ?? '', 'base64url').toString()).kid);
  const rows: Readonly<
    Record<
      string,
      readonly [proof: () => string, reason: RegExp, settings?: Readonly<Record<string, unknown>>]
    >
  > = {
    'another project': [
      () => machine({ project_id: 'mallory', project_number: 42 }),
      /the project mallory is not one of `projects` \(the instance builder-1 of the project mallory \(42\)\)/,
    ],
    'a project that begins alike': [
      () => machine({ project_id: 'acme-build-2' }),
      /is not one of `projects`/,
    ],
    'a project in capitals': [() => machine({ project_id: 'Acme-build' }), /project_id is missing or wrong/],
    'another zone': [
      full,
      /the zone europe-west1-b is not one of `zones` \(the instance/,
      { zones: ['us-*'] },
    ],
    'another service account': [
      full,
      /the service account builder@\S+ is not one of `serviceAccounts` \(the instance/,
      { serviceAccounts: ['deployer@*'] },
    ],
    'a service account that is not verified': [
      () => full({ email_verified: false }),
      /no service account that Google has verified/,
      { serviceAccounts: ['*'] },
    ],
    'no service account where one must be': [
      () => full({ email: undefined }),
      /no service account that Google has verified/,
      { serviceAccounts: ['*'] },
    ],
    'format=standard': [
      () => google.standardToken(audience),
      /names no virtual machine \(google\.compute_engine\): was it asked for without format=full\?/,
    ],
    'a pod of GKE, Cloud Run': [
      () => google.standardToken(audience, { email, email_verified: true }),
      /names no virtual machine .*: it is of a service account, as in GKE with Workload Identity/,
    ],
    'a person': [
      () => google.standardToken(audience, { email: 'alice@gmail.com', email_verified: true }),
      /names no virtual machine .*: it is of a person/,
    ],
    'a person whose domain ends alike': [
      () => google.standardToken(audience, { email: 'alice@evilgserviceaccount.com' }),
      /: it is of a person/,
    ],
    'a google that is a text': [() => full({ google: 'compute_engine' }), /names no virtual machine/],
    'a compute_engine that is a text': [
      () => full({ google: { compute_engine: 'acme-build' } }),
      /its claim google\.compute_engine is missing or wrong/,
    ],
    'the machine’s claims at the top': [
      () => full({ google: undefined, compute_engine: computeEngine(virtualMachine) }),
      /names no virtual machine/,
    ],
    'a project that is a list': [
      () => machine({ project_id: ['acme-build'] }),
      /its claim google\.compute_engine\.project_id is missing or wrong/,
    ],
    'a project number that is a text': [() => machine({ project_number: '739419398126' }), /project_number/],
    'a fraction of a project number': [() => machine({ project_number: 7394.5 }), /project_number/],
    'no zone': [() => machine({ zone: undefined }), /compute_engine\.zone is missing or wrong/],
    'a name that looks like two': [
      () => machine({ instance_name: 'a/b' }),
      /instance_name is missing or wrong/,
    ],
    'an instance id that is a number': [() => machine({ instance_id: 4520031799277 }), /instance_id/],
    'no sub': [() => full({ sub: undefined }), /its claim sub is missing or wrong/],
    'no iat': [() => full({ iat: undefined }), /its claim iat is missing or wrong/],
    'no exp': [() => full({ exp: undefined }), /its claim exp is missing or wrong/],
    'an end in the past': [() => full({ exp: now() - hour, iat: now() - 2 * hour }), /it has expired/],
    'a beginning in the future': [() => full({ iat: now() + hour }), /issued in the future/],
    'the issuer without https': [
      () => full({ iss: 'accounts.google.com' }),
      /its token is not issued by https:\/\/accounts\.google\.com \(iss\)/,
    ],
    'an issuer with a slash': [() => full({ iss: 'https://accounts.google.com/' }), /is not issued by/],
    'a token of Kubernetes': [() => full({ iss: 'https://kubernetes.default.svc' }), /is not issued by/],
    'another key': [
      () => signed({ alg: 'RS256', kid: kid(), typ: 'JWT' }, claimsOf(full()), other),
      /its signature is wrong/,
    ],
    'another key with a name of its own': [
      () => signed({ alg: 'RS256', kid: 'mine', typ: 'JWT' }, claimsOf(full()), other),
      /it is by no key of its issuer/,
    ],
    'another algorithm': [
      () => signed({ alg: 'RS384', kid: kid(), typ: 'JWT' }, claimsOf(full()), google.key),
      /its algorithm is not one that is allowed/,
    ],
    'no algorithm': [
      () => full().replace(/^[^.]+/, Buffer.from('{"alg":"none"}').toString('base64url')),
      /its algorithm is not one that is allowed/,
    ],
    'a secret in place of a key': [
      () => {
        const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
        const input = `${part({ alg: 'HS256', kid: kid() })}.${part(claimsOf(full()))}`;
        return `${input}.${createHmac('sha256', 'secret').update(input).digest('base64url')}`;
      },
      /its algorithm is not one that is allowed/,
    ],
    'claims that were changed': [
      () => {
        const [head, , signature] = full().split('.');
        const [, body] = machine({ instance_name: 'builder-2' }).split('.');
        return `${head}.${body}.${signature}`;
      },
      /its signature is wrong/,
    ],
    'two tokens in one': [() => `${full()}.${full()}`, /is no identity token of Google Cloud/],
    'a giant': [() => `${full()}${'A'.repeat(8_000)}`, /its signature is wrong/],
  };
  for (const [what, [proof, reason, settings]] of Object.entries(rows)) {
    test(`${what}: ${reason.source}`, async (t) => {
      const { verifier, state } = await open(t, settings);
      assert.match(
        String(await outcome(verifier, shown(proof()))),
        new RegExp(`^UNAUTHORIZED.*${reason.source}`),
      );
      assert.deepEqual(await state.list('', o), [], 'what is refused is bound');
    });
  }

  test('a token for somebody else is left to other verifiers, and noted once in a while', async (t) => {
    const { verifier, log, clock } = await open(t);
    for (const _ of [1, 2, 3]) {
      assert.equal(
        await outcome(verifier, shown(google.fullToken('gcr.io', virtualMachine, email))),
        'not mine',
      );
    }
    const notes = () => log.entries.filter(({ message }) => /is for other audiences/.test(message));
    assert.equal(notes().length, 1);
    assert.deepEqual(notes()[0]?.fields, {
      ...{ id: 'gce', audiences: ['gcr.io'], expected: [audience] },
      address: '192.0.2.1',
    });
    clock.advance(60_000);
    await outcome(verifier, shown(google.fullToken('gcr.io', virtualMachine, email)));
    assert.equal(notes().length, 2);
    assert.deepEqual(world.requests, [], 'somebody was asked for a token that is for others');
  });
});

describe('the keys', () => {
  test('are asked for once, and again for a token by a new one', async (t) => {
    const { verifier, clock } = await open(t);
    const all = Array.from({ length: 8 }, () => outcome(verifier, shown(full())));
    for (const found of await Promise.all(all)) assert.ok(typeof found !== 'string', String(found));
    assert.deepEqual(
      world.requests.map(({ host, path }) => `${host}${path}`),
      ['accounts.google.com/.well-known/openid-configuration', 'www.googleapis.com/oauth2/v3/certs'],
    );
    google.rotateKeys();
    clock.advance(10_000);
    const found = await outcome(verifier, shown(full()));
    assert.ok(typeof found !== 'string', String(found));
  });

  test('are not had: 503 that names the server, and nobody is let in', async (t) => {
    const { verifier } = await open(t);
    world.remove('www.googleapis.com');
    assert.match(String(await outcome(verifier, shown(full()))), /^UNAVAILABLE .*www\.googleapis\.com/);
  });
});

describe('a token that is shown from elsewhere', () => {
  const first = '192.0.2.1';
  const thief = '198.51.100.7';

  test('is refused, and goes on serving whom it is of', async (t) => {
    const { verifier, state } = await open(t);
    const token = full();
    const many = Array.from({ length: 8 }, () => outcome(verifier, shown(token, first)));
    for (const found of await Promise.all(many)) assert.ok(typeof found !== 'string', String(found));
    assert.match(
      String(await outcome(verifier, shown(token, thief))),
      /^UNAUTHORIZED a machine's proof is refused: the proof of the instance builder-1 of the project acme-build \(\d+\) was bound to 192\.0\.2\.1 .*shown by 198\.51\.100\.7/,
    );
    for (const form of [bearerCredentials(token), passwordCredentials('_gcp', token)]) {
      const elsewhere = { ...form, connection: { address: thief } };
      assert.match(String(await outcome(verifier, elsewhere)), /^UNAUTHORIZED .*was bound to/);
    }
    assert.ok(typeof (await outcome(verifier, shown(token, first))) !== 'string', 'its owner is shut out');
    assert.equal((await state.list('first-use/gce/proof/', o)).length, 1);
    assert.ok(
      typeof (await outcome(verifier, shown(full({ jti: '2' }), thief))) !== 'string',
      'another token',
    );
  });

  test('is the same one, however its signature is written', async (t) => {
    const { verifier } = await open(t);
    const token = full();
    assert.ok(typeof (await outcome(verifier, shown(token, first))) !== 'string', 'it is not accepted');
    // Of the last character of 256 bytes in base64url only two bits count.
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = digits.indexOf(token.at(-1) ?? '');
    for (let bits = 0; bits < 16; bits++) {
      const same = `${token.slice(0, -1)}${digits[(last & 0b110000) | bits]}`;
      const found = String(await outcome(verifier, shown(same, thief)));
      assert.match(found, /^UNAUTHORIZED .*(?:was bound to|signature is wrong|not a signed JWT)/);
    }
  });

  test('counts where it comes from the same /64, or where firstUse is none', async (t) => {
    const { verifier } = await open(t);
    const token = full();
    for (const address of ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9']) {
      assert.ok(typeof (await outcome(verifier, shown(token, address))) !== 'string', address);
    }
    assert.match(String(await outcome(verifier, shown(token, '2001:db8:1:3::1'))), /was bound to/);
    const open2 = await open(t, { firstUse: 'none' });
    for (const address of [first, thief]) {
      assert.ok(typeof (await outcome(open2.verifier, shown(token, address))) !== 'string', address);
    }
    assert.deepEqual(await open2.state.list('', o), []);
  });

  test('is forgotten when it can be shown no more, and not before', async (t) => {
    const { verifier, state, clock } = await open(t);
    const token = full();
    await outcome(verifier, shown(token, first));
    const [entry] = await state.list('first-use/', o);
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      exp: number;
    };
    assert.equal(entry?.expiresAt, exp * 1000 + 60_000);
    clock.advance(exp * 1000 + 58_000 - clock.now());
    assert.match(String(await outcome(verifier, shown(token, thief))), /was bound to/);
    clock.advance(3_000);
    assert.match(String(await outcome(verifier, shown(token, thief))), /has expired/);
    assert.deepEqual(await state.list('first-use/', o), []);
  });

  test('is UNAVAILABLE where the state cannot tell', async (t) => {
    const broken = new MemoryStateStore(new FakeClock());
    broken.get = () => Promise.reject(new RegistryError('UNAVAILABLE', { reason: 'the disk is gone' }));
    const { verifier } = await open(t, {}, { state: broken });
    assert.match(String(await outcome(verifier, shown(full()))), /^UNAVAILABLE .*the disk is gone/);
  });
});

describe('the settings', () => {
  const rows: Readonly<Record<string, readonly [settings: object, path: string, message: RegExp]>> = {
    'no projects': [{ audiences: [audience] }, 'projects', /the machines of everybody would count/],
    'an empty list of projects': [{ ...usual, projects: [] }, 'projects', /everybody would count/],
    'a pattern of projects': [
      { ...usual, projects: ['acme-*'] },
      'projects.0',
      /expected the id of a project/,
    ],
    'a project in capitals': [{ ...usual, projects: ['Acme'] }, 'projects.0', /expected the id of a project/],
    'a number without quotes': [{ ...usual, projects: [739419398126] }, 'projects.0', /number in quotes/],
    'no audiences': [{ projects: ['acme'] }, 'audiences', /expected a list of audiences/],
    'an empty list of audiences': [{ ...usual, audiences: [] }, 'audiences', /at least one audience/],
    'an empty list of zones': [{ ...usual, zones: [] }, 'zones', /at least one zone/],
    'an empty list of service accounts': [
      { ...usual, serviceAccounts: [] },
      'serviceAccounts',
      /at least one/,
    ],
    'another key': [{ ...usual, issuer: 'https://evil.example.com' }, '', /issuer/],
  };
  for (const [what, [settings, path, message]] of Object.entries(rows)) {
    test(`${what}: ${message.source}`, () => {
      const [issue] = driver.config.safeParse(settings).error?.issues ?? [];
      assert.equal(issue?.path.join('.'), path);
      assert.match(issue?.message ?? '', message);
    });
  }

  test('nothing is asked of anybody at the start, and a server that is down keeps nobody from starting', async (t) => {
    world.remove('accounts.google.com');
    await open(t);
    assert.deepEqual([world.requests, world.unknownNames], [[], []]);
  });
});
