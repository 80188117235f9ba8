import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { ClientCredentials, Credential, CredentialSource } from '../../src/contracts/index.js';
import { defaultTokenFile, driver } from '../../src/credential-sources/kubernetes-token.js';
import { ChainVerifier } from '../../src/decorators/chain-verifiers.js';
import { describeError, RegistryError } from '../../src/errors.js';
import { identityEnvelope, proofIn } from '../../src/protocol/identity-envelope.js';
import { parseRegistryHost } from '../../src/reference/registry-host.js';
import { parseRepositoryName } from '../../src/reference/repository-name.js';
import { describeCredentialSourceConformance } from '../../src/testing/conformance/credential-source.js';
import { rejectsWith } from '../../src/testing/conformance/suite.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import { FakeClock, passwordCredentials } from '../../src/testing/index.js';
import { driver as verifierDriver } from '../../src/verifiers/kubernetes.js';
import { startKubernetesApi } from '../identity/harness/kubernetes-api.js';
import { openVerifier } from '../identity/harness/open-verifier.js';

const o = { signal: new AbortController().signal };
const known = { registry: parseRegistryHost('docker.example.com'), name: parseRepositoryName('acme/app') };
const now = Math.floor(Date.now() / 1000) * 1000;

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** As the API server makes them; nothing here looks at the signature. */
const tokenOf = (claims: Readonly<Record<string, unknown>> = {}) => {
  const times = { iat: now / 1000, nbf: now / 1000, exp: now / 1000 + 3600 };
  const sub = 'system:serviceaccount:ci:builder';
  const all = { iss: 'https://k8s.example.com', sub, aud: ['docker.example.com'], ...times, ...claims };
  return `${part({ alg: 'RS256', kid: 'k' })}.${part(all)}.c2lnbmF0dXJl`;
};

/** A projected volume, as the kubelet's atomic writer keeps it: `token` -> `..data/token`, `..data` -> `..N`. */
class Volume {
  readonly directory: string;
  #generation = 0;

  constructor(t: TestContext) {
    this.directory = mkdtempSync(join(tmpdir(), 'volume-'));
    t.after(() => rmSync(this.directory, { recursive: true }));
  }

  get file(): string {
    return join(this.directory, 'token');
  }

  write(token: string): void {
    const name = `..${this.#generation++}`;
    mkdirSync(join(this.directory, name));
    writeFileSync(join(this.directory, name, 'token'), token, { mode: 0o600 });
    symlinkSync(name, join(this.directory, '..next'));
    renameSync(join(this.directory, '..next'), join(this.directory, '..data'));
    if (this.#generation === 1) symlinkSync(join('..data', 'token'), this.file);
    else rmSync(join(this.directory, `..${this.#generation - 2}`), { recursive: true });
  }

  remove(): void {
    for (const name of [this.file, join(this.directory, '..data')]) rmSync(name, { force: true });
  }
}

async function open(t: TestContext, settings: object = {}) {
  const volume = new Volume(t);
  const clock = new FakeClock(now);
  const log = new FakeLog();
  const source = await driver.open(driver.config.parse({ file: volume.file, ...settings }), {
    ...{ id: 'pod', baseDirectory: volume.directory, clock, log, metrics: new FakeMetrics() },
  });
  t.after(() => source.close());
  return { source, volume, clock, log };
}

async function given(source: CredentialSource, target = known) {
  const credential = await source.credentialFor(target, o);
  assert.equal(credential?.kind, 'basic', 'no user and password');
  return credential as Extract<Credential, { kind: 'basic' }>;
}

const tokenIn = ({ password }: { readonly password: { reveal(): string } }) => {
  const envelope = proofIn(password.reveal());
  assert.ok(envelope !== undefined && 'proof' in envelope, 'it is in no envelope');
  return envelope.proof;
};

const fails = async (source: CredentialSource, target = known) =>
  describeError(await rejectsWith(() => source.credentialFor(target, o), 'UNAVAILABLE'));

describe('the token of a pod', () => {
  test('is shown as _kubernetes, with its end, and is asked for again when the kubelet has renewed it', async (t) => {
    const { source, volume } = await open(t);
    const token = tokenOf();
    volume.write(`${token}\n`);
    const credential = await given(source);
    assert.deepEqual([credential.username, tokenIn(credential)], ['_kubernetes', token]);
    assert.equal(credential.expiresAt, now + 3600_000);
    assert.equal(credential.refreshAt, now + 0.85 * 3600_000);
  });

  test('of days is asked for again after one', async (t) => {
    const { source, volume } = await open(t);
    volume.write(tokenOf({ exp: now / 1000 + 30 * 86_400 }));
    assert.equal((await given(source)).refreshAt, now + 86_400_000);
  });

  test('that does not say when it was made is asked for again as usual', async (t) => {
    const { source, volume } = await open(t);
    volume.write(tokenOf({ iat: undefined }));
    assert.equal((await given(source)).refreshAt, undefined);
  });

  test('is read again after each swap of the volume', async (t) => {
    const { source, volume, log } = await open(t);
    for (const jti of ['1', '2', '3']) {
      const token = tokenOf({ jti });
      volume.write(token);
      assert.equal(tokenIn(await given(source)), token);
    }
    assert.deepEqual(log.entries, []);
  });

  test('may come after the start; goes on being shown while the volume is gone; not beyond its end', async (t) => {
    const { source, volume, clock, log } = await open(t);
    assert.match(
      await fails(source),
      /cannot read \S+token: ENOENT.*; mount a projected volume with serviceAccountToken: \{ audience: docker\.example\.com \} there, or name its file/,
    );
    volume.write(tokenOf());
    const { expiresAt = 0 } = await given(source);
    volume.remove();
    assert.equal((await given(source)).expiresAt, expiresAt);
    assert.match(log.text, /cannot be read again; the last one stays/);
    clock.advance(expiresAt - now);
    assert.match(await fails(source), /has expired \d{4}-.*a volume mounted by subPath never is/);
  });

  test('is one for all where the audience is configured, and of each registry where it is not', async (t) => {
    const other = { ...known, registry: parseRegistryHost('other.example.com') };
    const fixed = await open(t, { audience: 'registries' });
    fixed.volume.write(tokenOf({ aud: ['registries'] }));
    assert.equal(fixed.source.keyFor?.(known), fixed.source.keyFor?.(other));
    await given(fixed.source, other);
    const each = await open(t);
    each.volume.write(tokenOf({ aud: ['a', 'docker.example.com'] }));
    assert.notEqual(each.source.keyFor?.(known), each.source.keyFor?.(other));
    await given(each.source);
    assert.match(
      await fails(each.source, other),
      /is for a, docker\.example\.com, and not for other\.example/,
    );
  });

  test('has its audience as a text, too', async (t) => {
    const { source, volume } = await open(t);
    volume.write(tokenOf({ aud: 'docker.example.com' }));
    await given(source);
  });

  test('of several clusters has a name of its own', async (t) => {
    const { source, volume } = await open(t, { username: '_kubernetes-b' });
    volume.write(tokenOf());
    assert.equal((await given(source)).username, '_kubernetes-b');
  });
});

describe('what is not shown', () => {
  const rows: Readonly<Record<string, readonly [content: string, expected: RegExp]>> = {
    'the token for the API server': [
      tokenOf({ aud: ['https://kubernetes.default.svc.cluster.local'] }),
      /is for https:\/\/kubernetes\.default\.svc\.cluster\.local, and not for docker\.example\.com: nothing is shown/,
    ],
    'a token for nobody': [tokenOf({ aud: undefined }), /is for nobody \(it has no aud\), and not for/],
    'an audience that begins alike': [tokenOf({ aud: ['docker.example.com.evil'] }), /and not for docker\./],
    'one that never ends': [tokenOf({ exp: undefined }), /never ends: it is of the old kind, from a Secret/],
    'an end that is no time': [tokenOf({ exp: 1e300 }), /never ends/],
    'one that has ended': [tokenOf({ exp: now / 1000 - 1 }), /has expired/],
    'what is no token': ['hunter2-hunter2', /it is not a token of a ServiceAccount \(a signed JWT\)/],
    'an empty file': ['', /it is not a token/],
    'two tokens': [`${tokenOf()}\n${tokenOf()}`, /it is not a token/],
    'one that no login carries': [
      tokenOf({ more: 'x'.repeat(10_000) }),
      /^UNAVAILABLE: what this machine has to show as _kubernetes is too long for a login: a proof of 1\d{4} characters/,
    ],
    'a giant': ['A'.repeat(70_000), /over 65536 bytes/],
  };
  for (const [what, [content, expected]] of Object.entries(rows)) {
    test(`${what}: ${expected.source}`, async (t) => {
      const { source, volume } = await open(t);
      volume.write(content);
      const why = await fails(source);
      assert.match(why, expected);
      assert.doesNotMatch(why, /\n|hunter2|c2lnbmF0dXJl/);
    });
  }

  test('a volume that cannot be read', async (t) => {
    const { source } = await open(t, { file: '.' });
    assert.match(await fails(source), /not a regular file|EISDIR/);
  });
});

describe('the settings', () => {
  for (const wrong of [
    { file: '' },
    { file: { path: 'x' } },
    { audience: '' },
    { username: 'alice' },
    { username: '_kubernetes:x' },
    { username: '_kubernetes-' },
    { token: 'x' },
  ]) {
    test(`refuse ${JSON.stringify(wrong)}`, () =>
      assert.equal(driver.config.safeParse(wrong).success, false));
  }

  test('need not be there', () => {
    assert.deepEqual(driver.config.parse({}), { file: defaultTokenFile, username: '_kubernetes' });
  });

  test('have a relative file count from the configuration', async (t) => {
    const { source, volume } = await open(t, { file: 'token' });
    volume.write(tokenOf());
    await given(source);
  });
});

describe('the kubernetes verifier', () => {
  const audiences = ['docker.example.com'];

  async function shownTo(t: TestContext, username = '_kubernetes') {
    const api = await startKubernetesApi(t);
    const { source, volume } = await open(t, { username });
    const ids = { audiences, issuer: api.issuer, ca: api.caFile };
    const { verifier } = await openVerifier(t, verifierDriver, ids, { id: 'prod' });
    return { api, source, volume, verifier };
  }
  const shown = ({ username, password }: { username: string; password: { reveal(): string } }) =>
    passwordCredentials(username, password.reveal());

  for (const username of ['_kubernetes', '_kubernetes-a']) {
    test(`takes what the source shows as ${username}`, async (t) => {
      const { api, source, volume, verifier } = await shownTo(t, username);
      volume.write(await api.token({ namespace: 'ci', name: 'builder' }));
      const credentials = shown(await given(source));
      assert.equal(verifier.recognises?.(credentials), true);
      assert.equal((await verifier.verify(credentials, o))?.name, 'ci/builder');
    });
  }

  test('has a chain show the envelope to nobody else', async (t) => {
    const { api, source, volume, verifier } = await shownTo(t);
    volume.write(await api.token());
    const asked: string[] = [];
    const other = { verify: async () => void asked.push('other'), close: async () => {} };
    const chain = new ChainVerifier(new Map(Object.entries({ other, prod: verifier })));
    assert.equal((await chain.verify(shown(await given(source)), o))?.name, 'prod/default');
    assert.deepEqual(asked, []);
  });

  const rows: Readonly<
    Record<
      string,
      readonly [
        credentials: (token: string, forged: string) => ClientCredentials,
        expected: string | RegExp,
        isProof?: boolean,
      ]
    >
  > = {
    'a bare token of this user': [(token) => passwordCredentials('_kubernetes', token), 'prod/default'],
    'a bare token of anybody': [(token) => passwordCredentials('alice', token), 'prod/default'],
    'an envelope of anybody': [(token) => passwordCredentials('alice', identityEnvelope(token)), 'not mine'],
    'an envelope of another machine': [
      (token) => passwordCredentials('_gcp', identityEnvelope(token)),
      'not mine',
    ],
    'an envelope with something else': [
      () => passwordCredentials('_kubernetes', identityEnvelope('x')),
      'not mine',
    ],
    'a cut envelope': [() => passwordCredentials('_kubernetes', 'drp-id1'), /envelope .* is damaged/, true],
    'a later version': [
      (token) => passwordCredentials('_kubernetes', identityEnvelope(token).replace('id1', 'id7')),
      /envelope is of version 7/,
      true,
    ],
    'a forged token in an envelope': [
      (_, forged) => passwordCredentials('_kubernetes', identityEnvelope(forged)),
      /its signature is wrong/,
      true,
    ],
    'a forged token of anybody': [
      (_, forged) => passwordCredentials('alice', forged),
      /its signature is wrong/,
      false,
    ],
  };
  for (const [what, [credentials, expected, isProof]] of Object.entries(rows)) {
    test(`${what}: ${typeof expected === 'string' ? expected : expected.source}`, async (t) => {
      const { api, verifier } = await shownTo(t);
      const token = await api.token();
      const asked = credentials(token, token.replace(/\.[^.]{4}([^.]*)$/, '.AAAA$1'));
      const found = await verifier.verify(asked, o).catch((error: unknown) => error);
      if (typeof expected === 'string') {
        assert.equal((found as { name?: string } | undefined)?.name ?? 'not mine', expected);
        assert.equal(verifier.recognises?.(asked), expected !== 'not mine');
        return;
      }
      assert.ok(found instanceof RegistryError, describeError(found));
      assert.match(`${found.code} ${found.reason}`, new RegExp(`^UNAUTHORIZED .*${expected.source}`));
      assert.deepEqual([found.isProof, found.knownUser], [isProof, isProof]);
      assert.equal(verifier.recognises?.(asked), true);
    });
  }
});

describeCredentialSourceConformance(
  'kubernetes-token',
  async (t) => {
    const { source, volume, clock } = await open(t);
    const token = tokenOf();
    volume.write(token);
    return {
      source,
      known,
      expected: `_kubernetes:${identityEnvelope(token)}`,
      rotate: () => volume.write(tokenOf({ jti: 'next' })),
      break: () => volume.remove(),
      now: () => clock.now(),
    };
  },
  ['it has none for a repository it does not know'],
);
