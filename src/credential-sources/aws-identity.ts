import { resolve } from 'node:path';
import { z } from 'zod';
import {
  type CallOptions,
  type Clock,
  type Credential,
  type CredentialSource,
  type DriverDependencies,
  defineDriver,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { HttpCaller } from '../outgoing/http-caller.js';
import { openDirectCaller } from '../outgoing/metadata/direct-caller.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { duration } from '../settings/duration.js';
import { writtenFile } from '../settings/file-path.js';
import { fetchDocument } from './aws-identity/metadata-document.js';
import { nonceIn, readNonce } from './aws-identity/nonce-file.js';
import { machineCredential } from './machine/machine-credential.js';

const config = z.strictObject({
  nonce: writtenFile()
    .optional()
    .describe(
      'A file with a secret of this machine, shown together with the document, for a verifier with `firstUse: nonce`. It is made where it is absent, and kept for ever: the machine is bound to it. Nobody else may read or write it (mode 0600).',
    ),
  timeout: duration({ min: '100ms', max: '1m' })
    .prefault('5s')
    .describe("How long to wait for each answer of the instance's metadata service."),
});

/** Milliseconds. The document stays the same as long as the instance runs. */
const refreshAfter = 3_600_000;
const heldFor = 12 * refreshAfter;

/**
 * The identity document of the EC2 instance we run on, for the verifier `aws-identity`. It says nothing of whom it is
 * for: whoever it is shown to can show it on.
 */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'aws-identity',
  config,
  async open({ nonce, timeout }: z.output<typeof config>, { baseDirectory, clock }: DriverDependencies) {
    const file = nonce && resolve(baseDirectory, nonce.text);
    // It is made when it is first shown: `check` opens us, too, and writes nothing.
    if (file !== undefined) await readNonce(file);
    return new AwsIdentitySource(openDirectCaller({ timeout }), file, clock);
  },
});

class AwsIdentitySource implements CredentialSource {
  readonly #direct: HttpCaller;
  readonly #nonceFile: string | undefined;
  readonly #clock: Clock;

  constructor(direct: HttpCaller, nonceFile: string | undefined, clock: Clock) {
    this.#direct = direct;
    this.#nonceFile = nonceFile;
    this.#clock = clock;
  }

  keyFor(): string {
    return '';
  }

  /** What was refused is fetched anew: nothing is kept here. */
  async credentialFor(_target: unknown, { signal }: CallOptions): Promise<Credential> {
    signal.throwIfAborted();
    const document = (await fetchDocument(this.#direct, { signal })).toString('base64url');
    const nonce = await this.#nonce();
    const proof = nonce === undefined ? document : `${document}.${nonce}`;
    const now = this.#clock.now();
    return machineCredential(machineUsers.aws, proof, {
      refreshAt: now + refreshAfter,
      expiresAt: now + heldFor,
    });
  }

  close(): Promise<void> {
    return this.#direct.close();
  }

  async #nonce(): Promise<string | undefined> {
    if (this.#nonceFile === undefined) return undefined;
    return nonceIn(this.#nonceFile).catch((cause: unknown) => {
      throw new RegistryError('UNAVAILABLE', { reason: 'the nonce of this machine cannot be had', cause });
    });
  }
}
