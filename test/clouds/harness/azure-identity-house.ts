import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  CallOptions,
  ClientCredentials,
  Principal,
  StateStore,
  Verifier,
} from '../../../src/contracts/index.js';
import { secretIn } from '../../../src/contracts/verifier.js';
import { describeError, RegistryError } from '../../../src/errors.js';
import { azureNonce } from '../../../src/protocol/azure-nonce.js';
import { identityEnvelope } from '../../../src/protocol/identity-envelope.js';
import { Secret } from '../../../src/secret.js';
import { MemoryStateStore } from '../../../src/state-stores/memory.js';
import { FakeClock } from '../../../src/testing/fake-clock.js';
import { FakeLog } from '../../../src/testing/fake-log.js';
import { FakeMetrics } from '../../../src/testing/fake-metrics.js';
import { driver } from '../../../src/verifiers/azure-identity.js';
import {
  type AzureAuthorities,
  type AzureMachine,
  createAzureMachine,
  startAzureAuthorities,
} from './azure-attested.js';
import { type Entra, type EntraApplication, startEntra } from './azure-entra.js';
import type { Issued } from './azure-pki.js';
import { startWorld, type World } from './world.js';

export const o: CallOptions = { signal: new AbortController().signal };
export const audience = 'docker.example.com';
/** An App ID URI: whom tokens are for. */
export const appId = 'api://docker-registry-proxy';
/** Where certificates of authorities are. */
export const publisher = 'www.microsoft.com';

/** A virtual machine with a managed identity, in a subscription of a tenant. */
export interface AzureIdentityHouse {
  readonly world: World;
  readonly authorities: AzureAuthorities;
  /** The certificate of the metadata service. */
  readonly signer: Issued;
  readonly machine: AzureMachine;
  readonly entra: Entra;
  /** System-assigned. */
  readonly identity: EntraApplication;
  /** Holds `world.pem` and `root.pem`. */
  readonly directory: string;
  /** Of the verifier and the machine. */
  readonly clock: FakeClock;
  /** Of the verifier, without its type: lets in this subscription and this tenant. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Writes a file beside them. */
  write(name: string, text: string): void;
}

export const resourceOf = (subscriptionId: string, rest: string) =>
  `/subscriptions/${subscriptionId}/resourcegroups/Builders/providers/${rest}`;

/** @param scope ends it all */
export async function openAzureIdentityHouse(scope: {
  after(close: () => Promise<void> | void): void;
}): Promise<AzureIdentityHouse> {
  const directory = mkdtempSync(join(tmpdir(), 'azure-identity-'));
  scope.after(() => rmSync(directory, { recursive: true, force: true }));
  const world = await startWorld();
  scope.after(() => world.close());
  const authorities = await startAzureAuthorities(world);
  const signer = await authorities.certificate();
  const clock = new FakeClock(Date.now());
  const machine = createAzureMachine({ signer, now: () => clock.now() });
  const entra = startEntra(world, undefined, () => clock.now());
  entra.audiences.push(appId);
  const vm = resourceOf(machine.subscriptionId, 'Microsoft.Compute/virtualMachines/builder-1');
  const identity = entra.register({ claims: { xms_mirid: vm } });
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  write('world.pem', world.authority);
  write('root.pem', authorities.root.pem);
  const settings = {
    ...{ subscriptions: [machine.subscriptionId], tenants: [entra.tenant], audiences: [audience, appId] },
    ...{ roots: 'root.pem', proxy: world.proxyUrl, ca: 'world.pem' },
  };
  return { world, authorities, signer, machine, entra, identity, directory, clock, settings, write };
}

export interface OpenedVerifier {
  readonly verifier: Verifier;
  readonly log: FakeLog;
  readonly state: StateStore;
}

/** Opens the driver as the program does. */
export async function openAzureVerifier(
  scope: { after(close: () => Promise<void>): void },
  { directory, settings, clock }: AzureIdentityHouse,
  more: object = {},
  { state = new MemoryStateStore(clock) }: { readonly state?: StateStore } = {},
): Promise<OpenedVerifier> {
  const log = new FakeLog();
  const verifier = await driver.open(driver.config.parse({ ...settings, ...more }), {
    ...{ id: 'azure', baseDirectory: directory, clock, log, metrics: new FakeMetrics(), state },
  });
  scope.after(() => verifier.close());
  return { verifier, log, state };
}

/** A document as its machine has it now. */
export const documentOf = ({ machine, clock }: AzureIdentityHouse, whom = audience): Buffer =>
  machine.document(azureNonce(whom, clock.now()));

/** As the source shows it: a text is shown as it is. */
export const shown = (proof: Buffer | string, address = '192.0.2.1'): ClientCredentials => {
  const text = typeof proof === 'string' ? proof : proof.toString('base64url');
  return {
    shown: { kind: 'password', username: '_azure', password: new Secret(identityEnvelope(text)) },
    connection: { address },
  };
};

/** @returns the principal, or the error's code and reason, which tells nothing of the proof */
export async function outcome(
  verifier: Verifier,
  credentials: ClientCredentials,
): Promise<Principal | string> {
  try {
    return (await verifier.verify(credentials, o)) ?? 'not mine';
  } catch (error) {
    assert.ok(error instanceof RegistryError, describeError(error));
    if (error.code === 'UNAUTHORIZED') {
      assert.deepEqual([error.isProof, error.knownUser], [true, true], 'it counts as a guess');
    }
    const proof = secretIn(credentials.shown)?.reveal() ?? '';
    const told = describeError(error);
    assert.ok(!/[\r\n]/.test(told), 'more than a line is told');
    if (proof.length > 100) assert.ok(!told.includes(proof.slice(-40)), 'the proof is told');
    return `${error.code} ${error.reason}`;
  }
}
