import { resolve } from 'node:path';
import { type DriverDependencies, defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { openAwsCallers } from '../outgoing/aws/aws-callers.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { parseInstant } from '../settings/instant.js';
import type { IdentityDocument } from './aws-identity/identity-document.js';
import { attributesOf, instanceName, requireAllowed } from './aws-identity/instance-rules.js';
import { RegionCertificates } from './aws-identity/region-certificates.js';
import { RunningInstances } from './aws-identity/running-instances.js';
import {
  type AwsIdentitySettings,
  awsIdentitySettings,
  type DescribeInstancesSettings,
} from './aws-identity/settings.js';
import { readShownDocument } from './aws-identity/shown-document.js';
import { readVerifiedDocument } from './aws-identity/verified-document.js';
import { FirstUse, type Holder, holderByAddress, holderByNonce } from './machine/first-use.js';
import { isMachine, refused, shownProof } from './machine/shown-proof.js';

/** Ignored files that the log names. */
const maxTold = 10;

/** Lets in instances of Amazon EC2 by the document that AWS signs for each (Amazon EC2 user guide, "Instance identity documents"). */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'aws-identity',
  config: awsIdentitySettings,
  async open(settings: AwsIdentitySettings, { id, baseDirectory, clock, log, state }): Promise<Verifier> {
    const directory = resolve(baseDirectory, settings.certificates.text);
    const certificates = await RegionCertificates.read(directory);
    const missing = settings.regions?.find((region) => !certificates.regions.has(region));
    if (missing !== undefined) {
      throw new Error(`${directory} has no ${missing}.pem, and ${missing} is one of \`regions\``);
    }
    for (const { region, certificate } of certificates.outside(clock.now())) {
      const { validFrom, validTo } = certificate;
      log.warn({ id, region, validFrom, validTo }, 'a certificate for documents of AWS is not valid now');
    }
    const { ignored } = certificates;
    if (ignored.length > 0) {
      const files = ignored.slice(0, maxTold);
      log.warn(
        { id, directory, files, count: ignored.length },
        'files whose names do not end in .pem are ignored',
      );
    }
    const { describeInstances } = settings;
    const running = describeInstances && (await openRunning(describeInstances, { baseDirectory, clock }));
    const firstUse = new FirstUse(id, state);
    return new AwsIdentityVerifier({ id, settings, certificates, running, firstUse, clock });
  },
});

async function openRunning(
  { ca, proxy, timeout, ...settings }: DescribeInstancesSettings,
  given: Pick<DriverDependencies, 'baseDirectory' | 'clock'>,
): Promise<RunningInstances> {
  const callers = await openAwsCallers({ ca, proxy, timeout }, given);
  return new RunningInstances({ settings, callers, clock: given.clock });
}

interface Parts {
  readonly id: string;
  readonly settings: AwsIdentitySettings;
  readonly certificates: RegionCertificates;
  /** Absent: EC2 is not asked. */
  readonly running: RunningInstances | undefined;
  readonly firstUse: FirstUse;
  readonly clock: Clock;
}

/** Every instance shows its document as the password of one user name. */
class AwsIdentityVerifier implements Verifier {
  readonly givesGroups = false;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  recognises(credentials: ClientCredentials): boolean {
    return isMachine(credentials, machineUsers.aws);
  }

  async verify(credentials: ClientCredentials, { signal }: CallOptions): Promise<Principal | undefined> {
    signal.throwIfAborted();
    const proof = shownProof(credentials, machineUsers.aws);
    if (proof === undefined) return undefined;
    const { id, settings, certificates, running, clock } = this.#parts;
    const { signed, nonce } = readShownDocument(proof);
    const document = readVerifiedDocument(signed, certificates, clock.now());
    requireAllowed(document, settings);
    const holder = this.#holderOf(document, nonce, credentials);
    await running?.require(document, { signal });
    if (holder !== undefined) await this.#bind(document, holder, { signal });
    return {
      verifier: id,
      name: instanceName(document),
      kind: 'machine',
      groups: [],
      attributes: attributesOf(document),
    };
  }

  async close(): Promise<void> {
    await this.#parts.running?.close();
  }

  /** @returns undefined where documents are bound to nobody */
  #holderOf(
    document: IdentityDocument,
    nonce: string | undefined,
    credentials: ClientCredentials,
  ): Holder | undefined {
    const { firstUse } = this.#parts.settings;
    if (firstUse === 'none') return undefined;
    if (firstUse === 'address') return holderByAddress(credentials);
    if (nonce === undefined) {
      throw refused(
        `${instanceName(document)} shows no nonce, and firstUse: nonce demands one (\`nonce\` of its credential source)`,
      );
    }
    return holderByNonce(nonce);
  }

  #bind(document: IdentityDocument, holder: Holder, { signal }: CallOptions): Promise<void> {
    const { firstUse, settings, clock } = this.#parts;
    const now = clock.now();
    return firstUse.bind(instanceName(document), holder, {
      ...{ signal, now, ttl: settings.bindingIdle },
      mayBeFirst: () => requireYoung(document, settings.maxAge, now),
    });
  }
}

/** @throws RegistryError UNAUTHORIZED */
function requireYoung(document: IdentityDocument, maxAge: number | undefined, now: number): void {
  const { pendingTime } = document;
  if (maxAge === undefined || now - (parseInstant(pendingTime) ?? 0) <= maxAge) return;
  throw refused(
    `${instanceName(document)} was launched at ${pendingTime}, longer ago than \`maxAge\` at its first use`,
  );
}
