import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { widerNetwork } from '../decorators/client-network.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { AttestedDocuments } from './azure-identity/attested-documents.js';
import { CertificateChain } from './azure-identity/certificate-chain.js';
import { IssuerCertificates } from './azure-identity/issuer-certificates.js';
import { ManagedIdentityTokens } from './azure-identity/managed-identity-tokens.js';
import type { ProvenMachine } from './azure-identity/proven-machine.js';
import { openRoots } from './azure-identity/roots.js';
import { type AzureIdentitySettings, azureIdentitySettings } from './azure-identity/settings.js';
import { FirstUse } from './machine/first-use.js';
import { isMachine, shownProof } from './machine/shown-proof.js';

/** Lets in machines by what Azure signs for them: an attested document, or the token of a managed identity. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'azure-identity',
  config: azureIdentitySettings,
  async open(settings: AzureIdentitySettings, given): Promise<Verifier> {
    const { id, baseDirectory, clock, log, state } = given;
    const authorities = await openRoots(settings, baseDirectory);
    const caller = await HttpCaller.open(settings, baseDirectory);
    const fetched = new IssuerCertificates(caller, clock);
    const chain = new CertificateChain({ ...authorities, fetched });
    const tokens = new ManagedIdentityTokens(settings, { id, caller, clock, log });
    return new AzureIdentityVerifier(id, {
      documents: new AttestedDocuments(settings, chain, clock),
      tokens,
      ...(settings.firstUse === 'address' && { firstUse: new FirstUse(id, state) }),
      clockSkew: settings.clockSkew,
      clock,
      close: async () => {
        fetched.close();
        await tokens.close();
        await caller.close();
      },
    });
  },
});

interface Parts {
  readonly documents: AttestedDocuments;
  readonly tokens: ManagedIdentityTokens;
  /** Absent: proofs count from anywhere. */
  readonly firstUse?: FirstUse;
  /** Milliseconds. */
  readonly clockSkew: number;
  readonly clock: Clock;
  close(): Promise<void>;
}

class AzureIdentityVerifier implements Verifier {
  readonly givesGroups = false;
  readonly #id: string;
  readonly #parts: Parts;

  constructor(id: string, parts: Parts) {
    this.#id = id;
    this.#parts = parts;
  }

  /** A token may be shown as a bearer token too; a document is none. */
  recognises(credentials: ClientCredentials): boolean {
    const { shown } = credentials;
    if (shown.kind === 'bearer') return this.#parts.tokens.isOurs(shown.token.reveal());
    return isMachine(credentials, machineUsers.azure);
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    o.signal.throwIfAborted();
    if (!this.recognises(credentials)) return undefined;
    const { shown, connection } = credentials;
    const proof =
      shown.kind === 'bearer' ? shown.token.reveal() : (shownProof(credentials, machineUsers.azure) ?? '');
    const { documents, tokens } = this.#parts;
    const claims = unverifiedClaims(proof);
    // Another verifier may be for other audiences.
    if (claims !== undefined && !tokens.isForUs(claims, connection.address)) return undefined;
    const network = widerNetwork(connection.address);
    const machine = await (claims === undefined
      ? documents.verify(proof, { ...o, network })
      : tokens.verify(proof, claims, o));
    await this.#bind(machine, credentials, o);
    const { name, attributes, expiresAt } = machine;
    return { verifier: this.#id, name, kind: 'machine', groups: [], attributes, expiresAt };
  }

  close(): Promise<void> {
    return this.#parts.close();
  }

  async #bind(machine: ProvenMachine, credentials: ClientCredentials, { signal }: CallOptions) {
    const { firstUse, clockSkew, clock } = this.#parts;
    const { digest, expiresAt, name: who } = machine;
    const proof = { digest, who, endsAt: expiresAt + clockSkew };
    await firstUse?.bindProof(proof, credentials, { now: clock.now(), signal });
  }
}
