import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ClientCredentials, Principal, StateStore, Verifier } from '../../../src/contracts/index.js';
import { RegistryError } from '../../../src/errors.js';
import { identityEnvelope } from '../../../src/protocol/identity-envelope.js';
import { Secret } from '../../../src/secret.js';
import { MemoryStateStore } from '../../../src/state-stores/memory.js';
import { FakeClock } from '../../../src/testing/fake-clock.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import { driver } from '../../../src/verifiers/aws-identity.js';
import { document } from './aws-documents.js';

/** A real document of a real instance, and the certificates that AWS publishes; elsewhere than in this repository. */
const vectors = fileURLToPath(new URL('../../../../shared/vectors/aws-identity/', import.meta.url));

export interface Vectors {
  readonly certificates: string;
  /** As the metadata service gave it. */
  readonly text: string;
  readonly accountId: string;
  readonly instanceId: string;
}

/** @returns undefined where the test was skipped */
export function realVectors(t: TestContext): Vectors | undefined {
  if (!existsSync(vectors)) {
    t.skip('the shared vectors are not here');
    return undefined;
  }
  return {
    certificates: `${vectors}rsa2048`,
    text: readFileSync(`${vectors}i-078517ca8a70a1dde.us-west-2.rsa2048.p7b64`, 'latin1'),
    accountId: '278576220453',
    instanceId: 'i-078517ca8a70a1dde',
  };
}

export interface OpenOptions {
  readonly state?: StateStore;
  readonly clock?: FakeClock;
  readonly log?: FakeLog;
}

/** Closed with the test. @param settings beside `accounts`, which is that of `document` */
export async function openVerifier(
  t: TestContext,
  settings: object,
  {
    clock = new FakeClock(Date.now()),
    state = new MemoryStateStore(clock),
    log = new FakeLog(),
  }: OpenOptions = {},
): Promise<Verifier> {
  const config = driver.config.parse({ accounts: [document.accountId], ...settings });
  const given = { id: 'aws', baseDirectory: '/', clock, log, metrics: new FakeMetrics(), state };
  const verifier = await driver.open(config, given);
  t.after(() => verifier.close());
  return verifier;
}

/** As an envelope carries it. @param text as the metadata service gives it */
export function shown(
  text: string,
  { nonce, address = '192.0.2.1' }: { nonce?: string; address?: string } = {},
) {
  const proof = Buffer.from(text, 'base64').toString('base64url');
  return withPassword(identityEnvelope(nonce === undefined ? proof : `${proof}.${nonce}`), address);
}

export function withPassword(password: string, address = '192.0.2.1'): ClientCredentials {
  return {
    shown: { kind: 'password', username: '_aws', password: new Secret(password) },
    connection: { address },
  };
}

const signal = new AbortController().signal;

export async function accepted(verifier: Verifier, credentials: ClientCredentials): Promise<Principal> {
  const principal = await verifier.verify(credentials, { signal });
  assert.ok(principal, 'it is left to another verifier');
  return principal;
}

/** Why it is not accepted, in one sentence for operators that tells nothing of the proof. */
export async function refusal(
  verifier: Verifier,
  credentials: ClientCredentials,
  code: 'UNAUTHORIZED' | 'UNAVAILABLE' = 'UNAUTHORIZED',
): Promise<string> {
  const error = await verifier.verify(credentials, { signal }).then(
    (principal) => assert.fail(`it is accepted as ${principal?.name}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, `no RegistryError: ${String(error)}`);
  assert.equal(error.code, code, error.reason ?? '');
  if (code === 'UNAUTHORIZED') assert.equal(error.isProof, true, 'nobody guesses it');
  const reason = error.reason ?? '';
  assert.match(reason, /^[^\n]+$/);
  const password = credentials.shown.kind === 'password' ? credentials.shown.password.reveal() : '';
  for (let at = 0; at + 40 < password.length; at += 20) {
    assert.ok(!reason.includes(password.slice(at, at + 40)), 'the proof is told');
  }
  return reason;
}
