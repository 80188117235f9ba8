import { z } from 'zod';
import { type CallOptions, type Clock, type CredentialSource, defineDriver } from '../contracts/index.js';
import type { HttpCaller } from '../outgoing/http-caller.js';
import { openDirectCaller } from '../outgoing/metadata/direct-caller.js';
import { azureMetadata } from '../outgoing/metadata/metadata-servers.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { unverifiedClaims } from '../protocol/jwt-form.js';
import { isGuid } from '../reference/guid.js';
import { serverKeys } from '../settings/server-keys.js';
import { identityEndpoint, ManagedIdentity } from './acr/managed-identity.js';
import { askAttestedDocument } from './azure-identity/attested-document.js';
import { machineCredential } from './machine/machine-credential.js';
import { proofSource } from './machine/proof-source.js';

const expectedClientId = 'expected a client ID such as 11111111-2222-3333-4444-555555555555';

const config = z
  .strictObject({
    method: z
      .enum(['document', 'token'], { error: 'expected document or token' })
      .default('document')
      .describe(
        '`document`: the attested document of a virtual machine, which needs nothing set up in Azure. `token`: the token of a managed identity, also in apps and containers; it needs an app registration to be the audience.',
      ),
    audience: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Whom the proof is for: one of `audiences` there. Where it is missing, a document is for the registry that is asked (`docker.example.com`). For a token it is required: the App ID URI of an app registration, such as `api://docker-registry-proxy`.',
      ),
    clientId: z
      .string({ error: expectedClientId })
      .refine(isGuid, expectedClientId)
      .optional()
      .describe('For tokens: which of the managed identities, where a machine has several.'),
    timeout: serverKeys.timeout,
  })
  .refine(({ method, audience }) => method !== 'token' || audience !== undefined, {
    path: ['audience'],
    error: 'is missing: Entra ID gives tokens for what it knows alone, such as api://docker-registry-proxy',
  })
  .refine(({ method, clientId }) => method === 'token' || clientId === undefined, {
    path: ['clientId'],
    error: 'is for method: token; a document is of the machine, and not of an identity',
  });

type Settings = z.output<typeof config>;

/** How this machine or app proves who it is, by what Azure signs for it: for the verifier of the same name. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'azure-identity',
  config,
  async open(settings: Settings, { clock }): Promise<CredentialSource> {
    const [http, prove] =
      settings.method === 'document' ? documents(settings, clock) : tokens(settings, clock);
    return proofSource(settings.audience, {
      prove: async (audience, o) => {
        const { proof, ...times } = await prove(audience, o);
        return machineCredential(machineUsers.azure, proof, times);
      },
      close: () => http.close(),
    });
  },
});

const notThere = 'this source is for machines and apps of Azure';

/** @param audience of a document; a token has that of the settings */
type Prove = (
  audience: string,
  o: CallOptions,
) => Promise<{ readonly proof: string; readonly expiresAt?: number; readonly refreshAt?: number }>;

/** @throws an Error with a one-line message for a metadata service that cannot be asked */
function documents({ timeout }: Settings, clock: Clock): readonly [HttpCaller, Prove] {
  const service = azureMetadata(process.env);
  const http = openDirectCaller({ timeout });
  const prove: Prove = async (audience, { signal }) => {
    const question = { service, audience, now: clock.now(), signal };
    const { bytes, expiresAt } = await askAttestedDocument(http, question);
    return { proof: bytes.toString('base64url'), expiresAt };
  };
  return [http, prove];
}

/** @throws an Error with a one-line message for an identity endpoint that cannot be asked */
function tokens({ audience = '', clientId, timeout }: Settings, clock: Clock): readonly [HttpCaller, Prove] {
  const endpoint = identityEndpoint(process.env, notThere);
  const http = openDirectCaller({ timeout });
  const named = clientId !== undefined && { clientId };
  const identity = new ManagedIdentity({ http, endpoint, audience, elsewhere: notThere, ...named });
  return [http, (_audience, o) => tokenOf(identity, clock, o)];
}

/** Milliseconds: before that Azure may have no other token yet, for it keeps them for a day. */
const renewedBefore = 5 * 60_000;

async function tokenOf(identity: ManagedIdentity, clock: Clock, o: CallOptions): ReturnType<Prove> {
  const proof = (await identity.accessToken(o)).reveal();
  const exp = unverifiedClaims(proof)?.exp;
  if (typeof exp !== 'number') return { proof };
  const [now, expiresAt] = [clock.now(), exp * 1000];
  return { proof, expiresAt, refreshAt: Math.max(expiresAt - renewedBefore, (now + expiresAt) / 2) };
}
